//! Paths as URIs of RFC 3986: byte for byte, whatever the bytes are.

use congruent_protocol::path::TreePath;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// All but RFC 3986's unreserved characters and the separator. A colon is among
/// them: it would make a scheme of what stands before it.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The URI of a directory by its absolute path; ends in a slash, as what others
/// are relative to must.
pub(super) fn of_directory(path: &[u8]) -> String {
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    format!("file://{}/", percent_encode(trimmed, ENCODED))
}

/// A path relative to the root's URI.
pub(super) fn relative(path: &TreePath) -> String {
    match path.as_bytes() {
        b"/" => "./".to_owned(),
        bytes => percent_encode(&bytes[1..], ENCODED).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_odd_byte_is_encoded() {
        for (path, uri) in [
            (&b"/"[..], "./"),
            (b"/etc/passwd", "etc/passwd"),
            (b"/a b#c?d%e", "a%20b%23c%3Fd%25e"),
            (b"/-rf", "-rf"),
            (b"/http:/x", "http%3A/x"),
            (b"/a\nb\xff", "a%0Ab%FF"),
            ("/\u{202e}gpj".as_bytes(), "%E2%80%AEgpj"),
            (b"/%2e%2e/..x", "%252e%252e/..x"),
        ] {
            assert_eq!(relative(&TreePath::new(path).unwrap()), uri);
        }
        for (path, uri) in [(&b"/"[..], "file:///"), (b"/srv/my root", "file:///srv/my%20root/")] {
            assert_eq!(of_directory(path), uri);
        }
    }

    proptest! {
        #[test]
        fn a_uri_says_every_byte(names in prop::collection::vec(prop::collection::vec(1u8.., 1..20), 1..5)) {
            let mut path = TreePath::root();
            names.iter().for_each(|name| drop(path.push(name)));
            prop_assume!(!path.is_root());
            let uri = relative(&path);
            prop_assert!(uri.is_ascii() && !uri.starts_with('/'));
            let decoded: Vec<u8> = percent_decode_str(&uri).collect();
            prop_assert_eq!(&decoded, &path.as_bytes()[1..]);
        }
    }
}
