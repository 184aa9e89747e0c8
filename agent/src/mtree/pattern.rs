//! Names as patterns that match nothing else.
//!
//! NetBSD's mtree takes a name that holds `*`, `?` or `[` for a pattern of
//! fnmatch(3), however it is escaped, and matches it also with the name that it
//! is byte for byte. So such a name is written as a pattern whose wildcards are
//! quoted, in a form that is no other name in the tree.

use std::collections::BTreeSet;

use congruent_protocol::path::TreePath;

/// The characters that make a pattern.
const WILDCARDS: &[u8] = b"*?[";

/// Whether mtree takes `name` for a pattern.
pub(super) fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|byte| WILDCARDS.contains(byte))
}

/// The name of `path`, quoted where it would be a pattern. `taken` are all paths
/// whose names are such.
pub(super) fn quote(path: &TreePath, taken: &BTreeSet<TreePath>) -> Vec<u8> {
    let name = path.name();
    if !is_pattern(name) {
        return name.to_vec();
    }
    let mut repeats = 0;
    loop {
        let quoted = quote_with(name, repeats);
        // A pattern longer than any name is nobody's name.
        let sibling = path.parent().and_then(|parent| parent.join(&quoted).ok());
        if sibling.is_none_or(|sibling| !taken.contains(&sibling)) {
            return quoted;
        }
        repeats += 1;
    }
}

/// `*` as `\*`, or in brackets with so many repeats, `[**]`.
fn quote_with(name: &[u8], repeats: usize) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(name.len() * 2);
    for &byte in name {
        if repeats > 0 && WILDCARDS.contains(&byte) {
            quoted.push(b'[');
            quoted.extend(std::iter::repeat_n(byte, repeats));
            quoted.push(b']');
        } else {
            if WILDCARDS.contains(&byte) || byte == b'\\' {
                quoted.push(b'\\');
            }
            quoted.push(byte);
        }
    }
    quoted
}

/// The name that a quoted one stands for. What is no pattern stands for itself.
pub(super) fn unquote(quoted: &[u8]) -> Vec<u8> {
    if !is_pattern(quoted) {
        return quoted.to_vec();
    }
    let mut name = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'\\', [next, after @ ..]) => {
                name.push(*next);
                after
            }
            (b'[', [inside, ..]) => {
                let repeats = tail.iter().take_while(|b| *b == inside).count();
                name.push(*inside);
                tail.get(repeats + 1..).unwrap_or_default()
            }
            _ => {
                name.push(byte);
                tail
            }
        };
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(name: &[u8]) -> TreePath {
        TreePath::root().join(name).unwrap()
    }

    #[test]
    fn wildcards_are_quoted_in_a_form_that_is_no_other_name() {
        for (name, taken, quoted) in [
            (&b"plain\\"[..], &[][..], &b"plain\\"[..]),
            (b"*", &[], b"\\*"),
            (b"a\\b[", &[], b"a\\\\b\\["),
            (b"*", &[&b"\\*"[..]], b"[*]"),
            (b"*", &[b"\\*", b"[*]"], b"[**]"),
            (b"\\*", &[b"*"], b"\\\\\\*"),
        ] {
            let taken = taken.iter().map(|name| path(name)).collect();
            assert_eq!(quote(&path(name), &taken), quoted, "{}", path(name));
        }
    }

    proptest! {
        #[test]
        fn a_quoted_name_is_that_name(name in prop::collection::vec(prop::sample::select(b"*?[]\\a^".to_vec()), 1..9), repeats in 0..4_usize) {
            let quoted = if is_pattern(&name) { quote_with(&name, repeats) } else { name.clone() };
            prop_assert_eq!(unquote(&quoted), name);
        }
    }
}
