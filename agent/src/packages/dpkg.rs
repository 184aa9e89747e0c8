//! dpkg's database: which packages are installed, and the paths of each.
//!
//! Formats: deb-control(5) for stanzas, and dpkg's own `lib/dpkg/db-fsys-*.c` for
//! lists and diversions, which have no manual page. Distroless images have one
//! stanza a file in `status.d`, without a status, and checksums for lists.

use std::collections::HashMap;

use congruent_protocol::manifest::Package;
use congruent_protocol::path::escape;

use super::{MAX_PATH_BYTES, word};

/// The most packages taken from one file.
pub const MAX_PACKAGES: usize = 50_000;
/// The most diversions taken.
const MAX_DIVERSIONS: usize = 100_000;
/// The states, as the third word of a status, in which nothing is unpacked.
const ABSENT: [&[u8]; 2] = [b"not-installed", b"config-files"];

/// Why bytes are not what dpkg writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct DpkgError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

fn error(index: usize, what: impl Into<String>) -> DpkgError {
    DpkgError { line: index + 1, what: what.into() }
}

/// The lines with their places, without the newline at the end.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let count = if bytes.is_empty() { 0 } else { usize::MAX };
    bytes.split(|&b| b == b'\n').take(count).enumerate()
}

/// The packages whose files are unpacked, as `status` has them.
///
/// # Errors
/// With the line, when a stanza is malformed or lacks what every package has.
pub fn parse_status(bytes: &[u8]) -> Result<Vec<Package>, DpkgError> {
    let mut packages = Vec::new();
    let mut stanza = Stanza::default();
    let mut last = 0;
    for (index, line) in lines(bytes) {
        last = index;
        if line.iter().all(u8::is_ascii_whitespace) {
            packages.extend(std::mem::take(&mut stanza).finish(index)?);
        } else {
            stanza.take(index, line)?;
        }
        if packages.len() > MAX_PACKAGES {
            return Err(error(index, format!("there are over {MAX_PACKAGES} packages")));
        }
    }
    packages.extend(stanza.finish(last)?);
    Ok(packages)
}

/// The fields of one package that are of interest.
#[derive(Default)]
struct Stanza<'a> {
    is_begun: bool,
    package: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    architecture: Option<&'a [u8]>,
}

impl<'a> Stanza<'a> {
    fn take(&mut self, index: usize, line: &'a [u8]) -> Result<(), DpkgError> {
        // The continuation of a field that spans lines; none of ours does.
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return if self.is_begun { Ok(()) } else { Err(error(index, "continues no field")) };
        }
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            return Err(error(index, "is no field: it has no colon"));
        };
        self.is_begun = true;
        let field = match &line[..colon].to_ascii_lowercase()[..] {
            b"package" => &mut self.package,
            b"status" => &mut self.status,
            b"version" => &mut self.version,
            b"architecture" => &mut self.architecture,
            _ => return Ok(()),
        };
        match field.replace(line[colon + 1..].trim_ascii()) {
            None => Ok(()),
            Some(_) => Err(error(index, format!("has {} a second time", escape(&line[..colon])))),
        }
    }

    /// The package, if it is one and is there.
    fn finish(self, index: usize) -> Result<Option<Package>, DpkgError> {
        let state = self.status.and_then(|status| status.rsplit(|&b| b == b' ').next());
        if !self.is_begun || state.is_some_and(|state| ABSENT.contains(&state)) {
            return Ok(None);
        }
        let read = |what: &str, bytes: Option<&[u8]>| {
            let bytes = bytes.ok_or_else(|| error(index, format!("a package ends here without {what}")))?;
            word(what, bytes).map_err(|why| error(index, format!("{why}, in the package that ends here")))
        };
        Ok(Some(Package {
            name: read("name", self.package)?,
            version: read("version", self.version)?,
            architecture: self.architecture.map_or(Ok(String::new()), |a| read("architecture", Some(a)))?,
        }))
    }
}

/// The paths in a package's `.list`.
///
/// # Errors
/// With the line, when one is not a path from the root.
pub fn parse_list(bytes: &[u8]) -> Result<Vec<Vec<u8>>, DpkgError> {
    lines(bytes)
        .map(|(index, line)| match line {
            b"/." => Ok(b"/".to_vec()),
            [b'/', ..] if line.len() <= MAX_PATH_BYTES => Ok(line.to_vec()),
            _ => Err(error(index, "is no path from the root")),
        })
        .collect()
}

/// The paths in a package's `.md5sums`, which are files only.
///
/// # Errors
/// With the line, when one is not a checksum and a path.
pub fn parse_checksums(bytes: &[u8]) -> Result<Vec<Vec<u8>>, DpkgError> {
    lines(bytes)
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| {
            let malformed = || error(index, "is not a checksum and a path");
            let (sum, rest) = line.split_at_checked(32).ok_or_else(malformed)?;
            let path = rest.strip_prefix(b"  ").or_else(|| rest.strip_prefix(b" *")).ok_or_else(malformed)?;
            let path = path.strip_prefix(b"./").or_else(|| path.strip_prefix(b"/")).unwrap_or(path);
            if !sum.iter().all(u8::is_ascii_hexdigit) || path.is_empty() || path.len() >= MAX_PATH_BYTES {
                return Err(malformed());
            }
            Ok([b"/", path].concat())
        })
        .collect()
}

/// Where files of packages are put instead of the paths in their lists.
#[derive(Debug, Default)]
pub struct Diversions(HashMap<Vec<u8>, Diversion>);

#[derive(Debug)]
struct Diversion {
    to: Vec<u8>,
    /// The package whose own file stays; none for a diversion by hand.
    by: Option<Vec<u8>>,
}

impl Diversions {
    /// Reads `diversions`: from, to and by, a line each.
    ///
    /// # Errors
    /// With the line, when the lines are not these three over and over.
    pub fn parse(bytes: &[u8]) -> Result<Self, DpkgError> {
        let all: Vec<_> = lines(bytes).collect();
        let mut diversions = HashMap::new();
        for three in all.chunks(3) {
            let is_path = |line: &[u8]| line.starts_with(b"/") && line.len() <= MAX_PATH_BYTES;
            match *three {
                [(_, from), (_, to), (_, by)] if is_path(from) && is_path(to) && !by.is_empty() => {
                    let by = (by != b":").then(|| by.to_vec());
                    diversions.insert(from.to_vec(), Diversion { to: to.to_vec(), by });
                }
                _ => return Err(error(three[0].0, "begins no diversion: two paths and a package")),
            }
            if diversions.len() > MAX_DIVERSIONS {
                return Err(error(three[0].0, format!("there are over {MAX_DIVERSIONS} diversions")));
            }
        }
        Ok(Self(diversions))
    }

    /// Where the file lies that `package` lists as `path`.
    pub fn apply<'a>(&'a self, package: &str, path: &'a [u8]) -> &'a [u8] {
        match self.0.get(path) {
            Some(Diversion { to, by }) if by.as_deref() != Some(package.as_bytes()) => to,
            _ => path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(text: &str) -> Result<Vec<String>, String> {
        let packages = parse_status(text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(packages.into_iter().map(|p| format!("{} {} {}", p.name, p.version, p.architecture)).collect())
    }

    #[test]
    fn what_is_unpacked_is_a_package() {
        let all = "Package: a\nVersion: 1\nArchitecture: all\n";
        for (text, packages) in [
            (String::new(), vec![]),
            ("\n\n".to_owned(), vec![]),
            (format!("{all}Status: install ok installed\n"), vec!["a 1 all"]),
            (format!("{all}Status: install ok triggers-pending\n"), vec!["a 1 all"]),
            (format!("{all}Status: hold ok half-configured"), vec!["a 1 all"]),
            (format!("{all}Status: deinstall ok config-files\n"), vec![]),
            ("Package: a\nStatus: purge ok not-installed\n".to_owned(), vec![]),
            // As in distroless images.
            (all.to_owned(), vec!["a 1 all"]),
            (format!("{all}\n\npackage: b\nVERSION: 2:1~rc1-1+b1\n"), vec!["a 1 all", "b 2:1~rc1-1+b1 "]),
            (format!("{all}Description: x\n Package: y\n .\n\tVersion: 9\n"), vec!["a 1 all"]),
        ] {
            assert_eq!(status(&text).unwrap(), packages, "{text}");
        }
    }

    #[test]
    fn what_is_no_status_is_named() {
        for (text, says) in [
            ("Package: a\n", "line 1: a package ends here without version"),
            ("\nVersion: 1\n\n", "line 3: a package ends here without name"),
            ("Package: ../../etc\nVersion: 1\n", "\"../../etc\" is no package's name"),
            ("Package: a\nVersion: 1\x1b[2J\n", "\"1\\x1b[2J\" is no package's version"),
            ("Package: a b\nVersion: 1\n", "\"a b\" is no package's name"),
            ("Package: a\nPackage: b\n", "line 2: has Package a second time"),
            ("Package: a\nnonsense\n", "line 2: is no field"),
            (" folded\n", "line 1: continues no field"),
        ] {
            let error = status(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        let many = "Package: a\nVersion: 1\n\n".repeat(MAX_PACKAGES + 1);
        assert!(status(&many).unwrap_err().contains("over 50000"));
        let long = format!("Package: {}\nVersion: 1\n", "a".repeat(9000));
        assert!(status(&long).unwrap_err().len() < 500);
    }

    type Listed = Result<Vec<Vec<u8>>, DpkgError>;

    fn check(parse: fn(&[u8]) -> Listed, text: &str, expected: Result<&[&str], &str>) {
        match (parse(text.as_bytes()), expected) {
            (Ok(paths), Ok(expected)) => {
                assert_eq!(paths, expected.iter().map(|p| p.as_bytes().to_vec()).collect::<Vec<_>>());
            }
            (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{text}: {error}"),
            (found, expected) => panic!("{text}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn lists_and_checksums_name_paths() {
        const SUM: &str = "d41d8cd98f00b204e9800998ecf8427e";
        check(parse_list, "", Ok(&[]));
        check(parse_list, "/.\n/etc\n/etc/a b\n", Ok(&["/", "/etc", "/etc/a b"]));
        check(parse_list, "/a\nb\n", Err("line 2: is no path"));
        check(parse_list, "/a\n\n/b\n", Err("line 2: is no path"));
        check(parse_list, &format!("/{}\n", "a".repeat(5000)), Err("line 1: is no path"));
        check(parse_checksums, "", Ok(&[]));
        check(
            parse_checksums,
            &format!("{SUM}  usr/a b\n{SUM} *./c\n{SUM}  /d"),
            Ok(&["/usr/a b", "/c", "/d"]),
        );
        for bad in ["x", SUM, &format!("{SUM}  "), &format!("{SUM} a"), &format!("{}  a", "g".repeat(32))] {
            check(parse_checksums, bad, Err("line 1: is not a checksum"));
        }
    }

    #[test]
    fn a_diversion_moves_the_files_of_others() {
        let text = b"/bin/sh\n/bin/sh.distrib\ndash\n/etc/issue\n/etc/issue.old\n:\n";
        let diversions = Diversions::parse(text).unwrap();
        for (package, path, lies) in [
            ("dash", "/bin/sh", "/bin/sh"),
            ("bash", "/bin/sh", "/bin/sh.distrib"),
            ("any", "/etc/issue", "/etc/issue.old"),
            ("any", "/etc/other", "/etc/other"),
        ] {
            assert_eq!(diversions.apply(package, path.as_bytes()), lies.as_bytes());
        }
        for bad in ["/a\n/b\n", "a\n/b\nc\n", "/a\n/b\n\n", "/a\n/b\nc\n/d\n"] {
            assert!(Diversions::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_status(&bytes);
            let _ = parse_list(&bytes);
            let _ = parse_checksums(&bytes);
            let _ = Diversions::parse(&bytes);
        }
    }
}
