//! The kernel's list of mounts, proc_pid_mountinfo(5), and the options of overlays
//! in it. Bytes in, bytes out: names need not be text, and whoever mounted chose them.
//!
//! Pure. What does not parse is left out and counted, so that who reads can say so.

use congruent_protocol::path::escape;

/// The most mounts taken of one namespace; the kernel's own limit is this.
pub const MAX_MOUNTS: usize = 100_000;
/// The most lower directories taken of one overlay; the kernel takes 500.
pub const MAX_LOWERS: usize = 1_000;

/// One line, with escapes undone but in the lists of options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's id.
    pub id: u64,
    /// Major and minor number of the file system.
    pub device: (u32, u32),
    /// Which directory of the file system is mounted.
    pub root: Vec<u8>,
    /// Where, as the process sees it.
    pub path: Vec<u8>,
    /// Options of the mount, as they stand there.
    pub options: Vec<u8>,
    /// The kind of file system.
    pub filesystem: Vec<u8>,
    /// What the mounter called the source.
    pub source: Vec<u8>,
    /// Options of the file system, as they stand there.
    pub super_options: Vec<u8>,
}

impl Mount {
    /// Whether either list of options has `option`.
    pub fn has(&self, option: &[u8]) -> bool {
        [&self.options, &self.super_options]
            .into_iter()
            .any(|list| list.split(|&b| b == b',').any(|one| one == option))
    }

    /// The options of mount and file system, as inert text.
    pub fn all_options(&self) -> Vec<String> {
        let lists = [&self.options, &self.super_options];
        let options = lists.into_iter().flat_map(|list| list.split(|&b| b == b','));
        options.map(|option| escape(&decode_octal(option)).into_owned()).collect()
    }

    /// Whether it may be written: `ro` of either, mount or file system, forbids it.
    pub fn is_writable(&self) -> bool {
        !self.has(b"ro")
    }
}

/// Reads a whole list; gives the mounts, and how many lines were not understood.
pub fn parse(listing: &[u8]) -> (Vec<Mount>, usize) {
    let mut mounts = Vec::new();
    let mut strange = 0;
    for line in listing.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
        match parse_line(line) {
            Some(mount) if mounts.len() < MAX_MOUNTS => mounts.push(mount),
            _ => strange += 1,
        }
    }
    (mounts, strange)
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
pub fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let id = number(fields.next()?)?;
    let device = fields.nth(1)?;
    let colon = device.iter().position(|&b| b == b':')?;
    let device = (number(&device[..colon])?, number(&device[colon + 1..])?);
    let (root, path) = (decode_octal(fields.next()?), decode_octal(fields.next()?));
    let options = fields.next()?.to_vec();
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    Some(Mount {
        id,
        device,
        root,
        path,
        options,
        filesystem: decode_octal(rest.next()?),
        source: decode_octal(rest.next().unwrap_or_default()),
        super_options: rest.next().unwrap_or_default().to_vec(),
    })
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Option<N> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Undoes the kernel's escapes: a backslash and three octal digits.
pub fn decode_octal(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| tail.get(..3).and_then(octal)).flatten();
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    bytes
}

fn octal(digits: &[u8]) -> Option<u8> {
    let plain = digits.iter().all(u8::is_ascii_digit);
    plain.then(|| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()).flatten()
}

/// The directories of an overlay, as whoever mounted it named them. They may be
/// relative to where that was done from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Lower directories, highest first.
    pub lowers: Vec<Vec<u8>>,
    /// What is written to; none where it is read-only.
    pub upper: Option<Vec<u8>>,
    /// Whether there are lower directories that give only data.
    pub has_data_only: bool,
}

/// Why the options of an overlay are not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// There is no lower directory.
    #[error("the overlay names no lower directory")]
    NoLower,
    /// There are more lower directories than any kernel takes.
    #[error("the overlay has over {MAX_LOWERS} lower directories")]
    TooMany,
}

impl Overlay {
    /// Reads the options of an overlay's file system.
    ///
    /// The kernel escapes once what the mounter had escaped already: `a,b` was given
    /// as `a\,b` and is shown as `a\134\054b`. So raw commas part options, then octal
    /// is undone, then unescaped colons part directories, then backslashes go. What
    /// was given one by one (`lowerdir+`) was never escaped by the mounter.
    ///
    /// # Errors
    /// When there is no lower directory, or there are too many.
    pub fn parse(options: &[u8]) -> Result<Self, OverlayError> {
        let mut overlay = Self::default();
        for option in options.split(|&b| b == b',') {
            let Some(equals) = option.iter().position(|&b| b == b'=') else { continue };
            let value = decode_octal(&option[equals + 1..]);
            match &option[..equals] {
                b"lowerdir" => overlay.take_lowers(&value),
                b"lowerdir+" => overlay.lowers.push(value),
                b"datadir+" => overlay.has_data_only = true,
                b"upperdir" => overlay.upper = Some(unescape(&value)),
                _ => {}
            }
            if overlay.lowers.len() > MAX_LOWERS {
                return Err(OverlayError::TooMany);
            }
        }
        if overlay.lowers.is_empty() { Err(OverlayError::NoLower) } else { Ok(overlay) }
    }

    fn take_lowers(&mut self, value: &[u8]) {
        for lower in split_unescaped(value) {
            // Two colons: all that follow give only data.
            if lower.is_empty() {
                self.has_data_only = true;
                return;
            }
            self.lowers.push(unescape(lower));
        }
    }
}

/// Parts `a:b` at colons that no backslash stands before.
fn split_unescaped(value: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < value.len() {
        match value[at] {
            b'\\' => at += 1,
            b':' => {
                pieces.push(&value[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    pieces.push(&value[begin..]);
    pieces
}

/// Takes away each backslash that stands before something.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(&byte) = rest.next() {
        match (byte, rest.as_slice().first()) {
            (b'\\', Some(&next)) => {
                bytes.push(next);
                rest.next();
            }
            _ => bytes.push(byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_and_escapes_undone() {
        let line =
            b"36 35 98:7 /a\\040b /c\\134d rw,noexec shared:1 master:2 - ext4 /dev/my\\040disk ro,x=\\054";
        let mount = parse_line(line).unwrap();
        assert_eq!((mount.id, mount.device), (36, (98, 7)));
        assert_eq!((&mount.root[..], &mount.path[..]), (&b"/a b"[..], &b"/c\\d"[..]));
        assert_eq!((&mount.filesystem[..], &mount.source[..]), (&b"ext4"[..], &b"/dev/my disk"[..]));
        assert_eq!(mount.all_options(), ["rw", "noexec", "ro", "x=,"]);
        assert!(mount.has(b"noexec") && !mount.is_writable() && !mount.has(b"exec"));
        for odd in [
            &b""[..],
            b"x",
            b"1 2 3",
            b"1 2 3:4 / / rw shared:1",
            b"1 2 3:4 / / rw -",
            b"1 2 34 / / rw - a b c",
            b"-1 2 3:4 / / rw - a b c",
        ] {
            assert_eq!(parse_line(odd), None);
        }
        assert_eq!(parse(b"\nnone\n1 2 3:4 / / rw - tmpfs\n").1, 1);
    }

    #[test]
    fn octal_is_undone_only_where_it_is_octal() {
        let check = |shown: &str, is: &[u8]| assert_eq!(decode_octal(shown.as_bytes()), is, "{shown}");
        check("\\040\\011\\012\\134\\054", b" \t\n\\,");
        check("\\377", b"\xff");
        check("\\400", b"\\400");
        check("\\+40", b"\\+40");
        check("\\08x\\", b"\\08x\\");
        check("\\04", b"\\04");
    }

    #[test]
    fn overlays_are_read_as_they_were_mounted() {
        let check = |options: &str, lowers: &[&str], upper: Option<&str>| {
            let overlay = Overlay::parse(options.as_bytes()).unwrap();
            let found: Vec<_> = overlay.lowers.iter().map(|lower| String::from_utf8_lossy(lower)).collect();
            assert_eq!(found, lowers, "{options}");
            assert_eq!(overlay.upper.as_deref(), upper.map(str::as_bytes), "{options}");
        };
        check("rw,lowerdir=/l2:/l1,upperdir=/u,workdir=/w,uuid=on", &["/l2", "/l1"], Some("/u"));
        check("ro,lowerdir=l/A:l/B", &["l/A", "l/B"], None);
        check("rw,lowerdir+=/a:b,lowerdir+=/c,upperdir=/u", &["/a:b", "/c"], Some("/u"));
        // A comma, a colon, a space and a backslash in names.
        check("lowerdir=/a\\134\\054b:/c,upperdir=/u\\134\\054v", &["/a,b", "/c"], Some("/u,v"));
        check("lowerdir=/a\\134:b:/c", &["/a:b", "/c"], None);
        check("lowerdir=/a\\040b\\011:/c\\012d", &["/a b\t", "/c\nd"], None);
        check("lowerdir=/a\\134\\134b:/c", &["/a\\b", "/c"], None);
        check("lowerdir=/a\\134\\134:/c", &["/a\\", "/c"], None);
        check("lowerdir+=/a\\134b,lowerdir+=/c\\054d", &["/a\\b", "/c,d"], None);
        check("lowerdir=/a\\134", &["/a\\"], None);
        // Names with an equals sign, as the kernel leaves them.
        check("lowerdir=/a=b:/c,upperdir=/u=v", &["/a=b", "/c"], Some("/u=v"));
    }

    #[test]
    fn what_is_no_overlay_is_refused() {
        assert_eq!(Overlay::parse(b"rw,upperdir=/u"), Err(OverlayError::NoLower));
        assert_eq!(Overlay::parse(b""), Err(OverlayError::NoLower));
        let many = format!("lowerdir={}", vec!["/a"; MAX_LOWERS + 1].join(":"));
        assert_eq!(Overlay::parse(many.as_bytes()), Err(OverlayError::TooMany));
        let data = Overlay::parse(b"lowerdir=/a::/data").unwrap();
        assert!(data.has_data_only && data.lowers == [b"/a"]);
        assert!(Overlay::parse(b"lowerdir+=/a,datadir+=/d").unwrap().has_data_only);
    }
}
