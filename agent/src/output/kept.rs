//! JSON in which findings stand as they were kept: to make findings of them and JSON of
//! those again would cost more than the look did.

use std::io::{self, Write};

use serde::ser::{Error as _, Serialize, SerializeSeq, Serializer};
use serde_json::ser::{Formatter, PrettyFormatter};

use crate::findings::Findings;

/// All findings of a list, as [`to_writer`] writes them. To any other serializer they are
/// bytes, and no JSON.
pub(crate) struct Kept<'a>(pub(crate) &'a Findings);

impl Serialize for Kept<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        let mut lines = self.0.lines().map_err(S::Error::custom)?;
        while let Some(line) = lines.next() {
            list.serialize_element(&Json(line.map_err(S::Error::custom)?))?;
        }
        list.end()
    }
}

/// What is JSON already.
struct Json<'a>(&'a [u8]);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Writes a document with line breaks, each kept finding on one line.
pub(super) fn to_writer(out: impl Write, value: &impl Serialize) -> serde_json::Result<()> {
    let formatter = KeptFormatter(PrettyFormatter::new());
    value.serialize(&mut serde_json::Serializer::with_formatter(out, formatter))
}

/// As [`PrettyFormatter`], but that bytes are JSON: nothing that is written here holds any
/// other.
struct KeptFormatter(PrettyFormatter<'static>);

impl Formatter for KeptFormatter {
    fn write_byte_array<W: ?Sized + Write>(&mut self, out: &mut W, json: &[u8]) -> io::Result<()> {
        out.write_all(json)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use congruent_protocol::drift::Finding;

    use super::super::testing::{divergent, kept};
    use super::*;

    #[test]
    fn findings_stand_as_they_were_kept() {
        let given = divergent();
        let mut out = Vec::new();
        to_writer(&mut out, &[Kept(&kept(given.clone()).findings)]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let [read]: [Vec<Finding>; 1] = serde_json::from_str(&text).unwrap();
        assert_eq!(read, given.findings);
        for finding in &given.findings {
            let line = serde_json::to_string(finding).unwrap();
            assert!(text.lines().any(|shown| shown.trim().trim_end_matches(',') == line), "{text}");
        }
    }
}
