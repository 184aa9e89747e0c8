//! A spec's logical lines: comments cut off, continued lines joined.
//!
//! As fparseln(3) does it for NetBSD's mtree: an unescaped `#` begins a comment
//! wherever it stands, and an unescaped `\` at the end continues the line.

use std::borrow::Cow;

/// The longest logical line taken, in bytes: what a target of the longest path
/// takes in octal, and as much again in attributes.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// One logical line, and the number of its first physical one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) number: u64,
    pub(super) bytes: Cow<'a, [u8]>,
}

/// A line is longer than any that is taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    pub(super) number: u64,
}

/// The logical lines of `spec` that say something.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    number: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(spec: &'a [u8]) -> Self {
        Self { rest: spec, number: 0 }
    }

    /// The next physical line without its comment and continuation mark, and
    /// whether it is continued; none at the end.
    fn physical(&mut self) -> Option<(&'a [u8], bool)> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|&b| b == b'\n').unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 1..).unwrap_or_default();
        self.number += 1;
        Some(cut(line))
    }

    fn logical(&mut self) -> Option<Result<Line<'a>, TooLong>> {
        let (first, mut is_continued) = self.physical()?;
        let number = self.number;
        let mut bytes = Cow::Borrowed(first);
        while is_continued && let Some((more, goes_on)) = self.physical() {
            bytes.to_mut().extend_from_slice(more);
            is_continued = goes_on;
            if bytes.len() > MAX_LINE_BYTES {
                break;
            }
        }
        Some(if bytes.len() > MAX_LINE_BYTES { Err(TooLong { number }) } else { Ok(Line { number, bytes }) })
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<Line<'a>, TooLong>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.logical()? {
                Ok(line) if line.bytes.iter().all(|b| is_blank(*b)) => {}
                line => return Some(line),
            }
        }
    }
}

/// What separates words.
pub(super) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// A line without its comment and its continuation mark, and whether it had one.
fn cut(line: &[u8]) -> (&[u8], bool) {
    let mut is_escaped = false;
    for (at, &byte) in line.iter().enumerate() {
        match byte {
            b'#' if !is_escaped => return (&line[..at], false),
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    if is_escaped { (&line[..line.len() - 1], true) } else { (line, false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_cut_and_continued_lines_joined() {
        let spec = b"# all\n\n/set a=1 # why\n  x \\\n    b=2 \\\n  c=3\n \t\ny\\#z d\\\\\n.\\";
        let lines: Vec<_> =
            Lines::new(spec).map(|line| line.map(|l| (l.number, l.bytes.into_owned()))).collect();
        let expected: [(u64, &[u8]); 4] =
            [(3, b"/set a=1 "), (4, b"  x     b=2   c=3"), (8, b"y\\#z d\\\\"), (9, b".")];
        assert_eq!(lines, expected.map(|(number, bytes)| Ok((number, bytes.to_vec()))));
    }

    #[test]
    fn an_endless_line_is_refused() {
        let spec = [b"x\n", &vec![b'a'; MAX_LINE_BYTES + 1][..]].concat();
        assert_eq!(Lines::new(&spec).nth(1), Some(Err(TooLong { number: 2 })));
        let continued = b"aaaaaaa\\\n".repeat(MAX_LINE_BYTES / 7 + 1);
        assert_eq!(Lines::new(&continued).next(), Some(Err(TooLong { number: 1 })));
    }
}
