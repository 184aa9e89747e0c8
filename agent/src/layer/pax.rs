//! The records of a PAX extended header.
//!
//! Format: POSIX.1-2017, pax, "pax Extended Header": `LENGTH KEY=VALUE\n`, where
//! LENGTH counts the whole record. A value may hold anything, newlines too: file
//! capabilities do.

use congruent_protocol::entry::{Timestamp, Xattrs};
use congruent_protocol::path::escape;

/// Where Go's archive/tar, and so every image builder, puts extended attributes.
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";
/// What overlay keeps in layers is no image's to say.
const OVERLAYS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// `XATTR_SIZE_MAX`, of linux/limits.h.
const MAX_XATTR_BYTES: usize = 65_536;
/// The most records of a sparse map.
const MAX_SPARSE_RECORDS: usize = 1 << 20;

/// What a header says of the member that follows it. None: the member's own header says it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Xattrs,
    pub(super) sparse: SparseRecords,
}

/// What is said of a sparse file, in the three forms that GNU tar has had.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct SparseRecords {
    /// 0 in the forms 0.0 and 0.1.
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Offsets and lengths, one after the other.
    pub(super) map: Vec<u64>,
}

impl Pax {
    /// Reads all records of a header; where a key stands twice, the later one counts.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, String> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or("its extended header has a malformed record")?;
            pax.take(key, value)?;
            bytes = rest;
        }
        pax.xattrs.sort();
        Ok(pax)
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        match key {
            b"path" => self.path = text(value),
            b"linkpath" => self.link = text(value),
            b"size" => self.size = number(key, value)?,
            b"uid" => self.uid = number(key, value)?,
            b"gid" => self.gid = number(key, value)?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value).ok_or("its extended header has a malformed mtime")?),
            b"GNU.sparse.major" => self.sparse.major = number(key, value)?.unwrap_or(0),
            b"GNU.sparse.minor" => self.sparse.minor = number(key, value)?.unwrap_or(0),
            b"GNU.sparse.name" => self.sparse.name = text(value),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = number(key, value)?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.extend_map(std::iter::once(number(key, value)?.unwrap_or(0)))?;
            }
            b"GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> = value.split(|&b| b == b',').map(decimal).collect();
                self.extend_map(numbers.ok_or("its sparse map is malformed")?.into_iter())?;
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR_PREFIX) {
                    self.take_xattr(name, value)?;
                }
            }
        }
        Ok(())
    }

    fn extend_map(&mut self, numbers: impl Iterator<Item = u64>) -> Result<(), String> {
        self.sparse.map.extend(numbers);
        if self.sparse.map.len() > MAX_SPARSE_RECORDS {
            return Err(format!("its sparse map has over {MAX_SPARSE_RECORDS} records"));
        }
        Ok(())
    }

    fn take_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), String> {
        if name.iter().position(|&b| b == b'.').is_none_or(|at| at == 0) || name.contains(&0) {
            return Err("it has an xattr whose name has no namespace".to_owned());
        }
        if OVERLAYS.iter().any(|own| name.starts_with(own)) {
            let name = escape(name);
            return Err(format!(
                "it has the xattr {name}, by which overlay file systems show something else"
            ));
        }
        if value.len() > MAX_XATTR_BYTES {
            return Err(format!(
                "it has an xattr of {} bytes, and Linux takes {MAX_XATTR_BYTES}",
                value.len()
            ));
        }
        self.xattrs.retain(|(known, _)| known != name);
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

/// The first record: its key, its value, and what follows it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&b| b == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|&b| b == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    (!key.is_empty() && !key.contains(&0)).then_some((key, value, &bytes[length..]))
}

/// An empty value takes back what was said before.
fn text(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

fn number(key: &[u8], value: &[u8]) -> Result<Option<u64>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let malformed = || format!("its extended header has a malformed {}", String::from_utf8_lossy(key));
    decimal(value).map(Some).ok_or_else(malformed)
}

pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds since 1970, perhaps negative, perhaps with a fraction.
fn time(value: &[u8]) -> Option<Timestamp> {
    let (is_negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    let mut parts = digits.splitn(2, |&b| b == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds =
        (0..9).fold(0, |sum, at| sum * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
    Some(match (is_negative, nanoseconds) {
        (false, _) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: -seconds, nanoseconds },
        // Nanoseconds count up from the second.
        (true, _) => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pairs: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in pairs {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length.to_string().len() + rest != length {
                length = length.to_string().len() + rest;
            }
            out.extend_from_slice(format!("{length} {key}=").as_bytes());
            out.extend_from_slice(value);
            out.push(b'\n');
        }
        out
    }

    #[test]
    fn records_are_read_by_their_length() {
        let capability = b"\x01\0\0\x02\x0a\0\0\0=\n\0";
        let pax = Pax::parse(&records(&[
            ("comment", b"anything"),
            ("path", b"first"),
            ("path", b"usr/bin/ping"),
            ("size", b"12"),
            ("uid", b"3000000000"),
            ("SCHILY.xattr.security.capability", capability),
            ("mtime", b"-1.25"),
        ]));
        let pax = pax.unwrap();
        assert_eq!(pax.path.unwrap(), b"usr/bin/ping");
        assert_eq!((pax.size, pax.uid, pax.gid), (Some(12), Some(3_000_000_000), None));
        assert_eq!(pax.xattrs, [(b"security.capability".to_vec(), capability.to_vec())]);
        assert_eq!(pax.mtime, Some(Timestamp { seconds: -2, nanoseconds: 750_000_000 }));
    }

    #[test]
    fn an_empty_value_takes_back() {
        let pax = Pax::parse(&records(&[("path", b"a"), ("path", b""), ("size", b"")])).unwrap();
        assert_eq!(pax, Pax::default());
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bytes in [
            &b"x"[..],
            b"5 a=b\n",
            b"7 a=b\n",
            b"6 a=bc",
            b"-6 a=b\n",
            b"99999999999999999999 a=b\n",
            b"4 a\n",
            b"5 =b\n",
            b"12 size=-5\n\n",
            b"11 size=1e5\n",
            b"13 mtime=1.x\n\n",
        ] {
            assert!(Pax::parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        assert!(Pax::parse(&records(&[("SCHILY.xattr.nodot", b"")])).is_err());
    }
}
