//! What the program `rpm` prints of its database when it is asked by [`QUERY`].
//!
//! Paths may hold newlines, so every string is quoted as for a shell: in `'`, with
//! `'\''` for a `'`. A number, and what is missing, stands bare.

use congruent_protocol::manifest::Package;

use super::{MAX_PATH_BYTES, word};

/// The query format (rpm-queryformat(7)): a line for each package and, beneath
/// it, one for each of its files, with its state.
pub const QUERY: &str = r"P%{NAME:shescape} %{EPOCH:shescape} %{VERSION:shescape} %{RELEASE:shescape} %{ARCH:shescape}\n[F%{FILESTATES} %{FILENAMES:shescape}\n]";
/// What rpm prints for what is missing.
const MISSING: &[u8] = b"(none)";
/// The state of a file that is there and the package's own: `RPMFILE_STATE_NORMAL`.
const NORMAL: &[u8] = b"0";

/// One package, and the paths of its files that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The package.
    pub package: Package,
    /// Its paths, from the root.
    pub paths: Vec<Vec<u8>>,
}

/// Why bytes are not an answer to [`QUERY`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at} of what rpm prints: {what}")]
pub struct RpmError {
    /// Counted from 0.
    pub at: usize,
    /// What is wrong there.
    pub what: String,
}

/// Reads an answer package by package; ends after the first error.
pub struct Answer<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Answer<'a> {
    /// The packages in what rpm printed.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn read(&mut self) -> Result<Listed, RpmError> {
        if !self.skip(b'P') {
            return Err(self.error("expected a package"));
        }
        let begins = self.at;
        let name = self.field(b' ')?;
        let epoch = self.field(b' ')?;
        let [version, release] = [self.field(b' ')?, self.field(b' ')?];
        let architecture = self.field(b'\n')?;
        let mut version = [&version[..], b"-", &release].concat();
        if epoch != MISSING {
            version = [&epoch[..], b":", &version].concat();
        }
        let refuse = |what: String| RpmError { at: begins, what };
        // Keys that were imported are listed as packages of no architecture.
        let architecture = if architecture == MISSING { Vec::new() } else { architecture };
        let package = Package {
            name: word("name", &name).map_err(refuse)?,
            version: word("version", &version).map_err(refuse)?,
            architecture: match &architecture[..] {
                b"" => String::new(),
                some => word("architecture", some).map_err(refuse)?,
            },
        };
        let mut paths = Vec::new();
        while self.skip(b'F') {
            let state = self.field(b' ')?;
            let path = self.field(b'\n')?;
            if !path.starts_with(b"/") || path.len() > MAX_PATH_BYTES {
                return Err(self.error("the path before it does not begin at the root"));
            }
            if state == NORMAL {
                paths.push(path);
            }
        }
        Ok(Listed { package, paths })
    }

    /// A field and what ends it.
    fn field(&mut self, end: u8) -> Result<Vec<u8>, RpmError> {
        let field = if self.bytes.get(self.at) == Some(&b'\'') { self.quoted()? } else { self.bare() };
        if self.skip(end) { Ok(field) } else { Err(self.error("a field does not end")) }
    }

    fn bare(&mut self) -> Vec<u8> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|b| matches!(b, b' ' | b'\n' | b'\'')).unwrap_or(rest.len());
        self.at += length;
        rest[..length].to_vec()
    }

    fn quoted(&mut self) -> Result<Vec<u8>, RpmError> {
        let mut field = Vec::new();
        self.at += 1;
        loop {
            let rest = &self.bytes[self.at..];
            let Some(length) = memchr::memchr(b'\'', rest) else {
                return Err(self.error("a quoted field does not end"));
            };
            field.extend_from_slice(&rest[..length]);
            if !rest[length..].starts_with(br"'\''") {
                self.at += length + 1;
                return Ok(field);
            }
            field.push(b'\'');
            self.at += length + 4;
        }
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn error(&self, what: &str) -> RpmError {
        RpmError { at: self.at, what: what.to_owned() }
    }
}

impl Iterator for Answer<'_> {
    type Item = Result<Listed, RpmError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.at = self.bytes.len();
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<Listed>, RpmError> {
        Answer::new(text.as_bytes()).collect()
    }

    fn listed(name: &str, version: &str, architecture: &str, paths: &[&str]) -> Listed {
        let [name, version, architecture] = [name, version, architecture].map(str::to_owned);
        let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        Listed { package: Package { name, version, architecture }, paths }
    }

    #[test]
    fn answers_are_read() {
        let text = "P'a' (none) '1.0' '1.el9' 'x86_64'\nF0 '/a b'\nF0 '/it'\\''s'\nF1 '/replaced'\nF2 '/never'\n\
                    P'b' 2 '1' '1' 'noarch'\nF0 '/x\nP'\\''c'\\'' 1'\nP'gpg-pubkey' (none) '1' '2' (none)\n";
        let expected = [
            listed("a", "1.0-1.el9", "x86_64", &["/a b", "/it's"]),
            listed("b", "2:1-1", "noarch", &["/x\nP'c' 1"]),
            listed("gpg-pubkey", "1-2", "", &[]),
        ];
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn what_is_no_answer_is_named() {
        for (text, says) in [
            ("error: x", "byte 0 of what rpm prints: expected a package"),
            ("P'a' (none) '1' '1'", "a field does not end"),
            ("P'a", "byte 2 of what rpm prints: a quoted field does not end"),
            ("P'a/b' (none) '1' '1' 'x'\n", "\"a/b\" is no package's name"),
            ("P'a' (none) '1' '\x1b' 'x'\n", "\"1-\\x1b\" is no package's version"),
            ("P'a' (none) '1' '1' 'x'\nF0 'usr'\n", "does not begin at the root"),
            ("P'a' (none) '1' '1' 'x'\nnonsense", "expected a package"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(text in "[PF01 '/\\\\\n(a)]{0,80}") {
            let _ = read(&text);
        }
    }
}
