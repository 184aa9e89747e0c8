//! The shape of one component of a glob: literal bytes, `?` and `*`.
//!
//! Time and memory are bounded by the lengths of shape and name, however many
//! wildcards there are.

/// What a wildcard stands for where anything will do.
const ANY: u8 = b'a';

/// What a component must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// What stands between the `*`: bytes, and none for a `?`. One more than there
    /// are `*`.
    pieces: Vec<Vec<Option<u8>>>,
}

impl Shape {
    /// Reads a component that has neither brackets nor alternatives.
    pub(super) fn parse(component: &str) -> Self {
        let mut pieces = Vec::new();
        let mut piece = Vec::new();
        let mut bytes = component.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'*' => pieces.push(std::mem::take(&mut piece)),
                b'?' => piece.push(None),
                b'\\' => piece.extend(bytes.next().map(Some)),
                byte => piece.push(Some(byte)),
            }
        }
        pieces.push(piece);
        Self { pieces }
    }

    /// The one name that has this shape, if it has no wildcards.
    pub(super) fn name(&self) -> Option<Vec<u8>> {
        match &self.pieces[..] {
            [only] => only.iter().copied().collect(),
            _ => None,
        }
    }

    /// A name of this shape, as short as one can be.
    pub(super) fn shortest(&self) -> Vec<u8> {
        let bytes = self.pieces.iter().flatten();
        let name: Vec<u8> = bytes.map(|byte| byte.unwrap_or(ANY)).collect();
        if name.is_empty() { vec![ANY] } else { name }
    }

    /// Whether `name` has this shape.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let (first, rest) = self.pieces.split_first().expect("there is always one");
        let Some((last, middle)) = rest.split_last() else { return fits(first, name) };
        if name.len() < first.len() + last.len() {
            return false;
        }
        let (head, rest) = name.split_at(first.len());
        let (mut between, tail) = rest.split_at(rest.len() - last.len());
        if !fits(first, head) || !fits(last, tail) {
            return false;
        }
        // Where a piece fits first leaves most to those behind it.
        for piece in middle.iter().filter(|piece| !piece.is_empty()) {
            let Some(at) = between.windows(piece.len()).position(|window| fits(piece, window)) else {
                return false;
            };
            between = &between[at + piece.len()..];
        }
        true
    }
}

fn fits(piece: &[Option<u8>], bytes: &[u8]) -> bool {
    piece.len() == bytes.len()
        && piece.iter().zip(bytes).all(|(wanted, byte)| wanted.is_none_or(|wanted| wanted == *byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_what_they_say() {
        for (shape, fitting, unfit) in [
            ("a", &["a"][..], &["", "b", "aa"][..]),
            ("a\\*", &["a*"], &["ab"]),
            ("*", &["", "x", ".x"], &[]),
            ("a*b", &["ab", "a*b", "abb"], &["a", "b", "abc"]),
            ("*ab*ab*", &["abab", "xabxabx"], &["aba", "abxa"]),
            ("a?*?b", &["axyb", "axyzb"], &["axb", "ab"]),
            ("**", &["", "x"], &[]),
        ] {
            let parsed = Shape::parse(shape);
            for (names, expected) in [(fitting, true), (unfit, false)] {
                for name in names {
                    assert_eq!(parsed.matches(name.as_bytes()), expected, "{shape} of {name}");
                }
            }
        }
        assert_eq!(Shape::parse("a\\?").name(), Some(b"a?".to_vec()));
        assert_eq!(Shape::parse("a?").name(), None);
    }
}
