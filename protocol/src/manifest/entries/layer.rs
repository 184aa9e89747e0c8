//! The section of a layer: as that of a tree, with marks between the entries.
//!
//! A mark is a path and a kind alone. What is implied comes before something that
//! lies beneath it, so that a layer has one form only.

use std::io::{Read, Write};

use super::{EntriesError, EntriesReader, EntriesWriter};
use crate::contract::Terms;
use crate::digest::Algorithm;
use crate::entry::Kind;
use crate::layer::{LayerEntry, LayerNode, OPAQUE_NAME, is_mark};
use crate::manifest::EntriesSummary;
use crate::path::TreePath;
use crate::tree::IMPLIED_TAG;

/// The kind of a mark.
fn tag_of(mark: &LayerNode) -> Option<u8> {
    match mark {
        LayerNode::Entry(_) => None,
        LayerNode::Implied => Some(IMPLIED_TAG),
        LayerNode::Whiteout => Some(Kind::Whiteout.tag()),
        LayerNode::Opaque => Some(Kind::Opaque.tag()),
    }
}

/// Writes a layer in tree order, compressed.
pub struct LayerWriter<W: Write>(EntriesWriter<W>);

impl<W: Write> LayerWriter<W> {
    /// A writer of nothing yet to `out`.
    ///
    /// # Errors
    /// When the compressor cannot be set up.
    pub fn new(out: W, algorithm: Algorithm) -> Result<Self, EntriesError> {
        EntriesWriter::new(out, algorithm).map(Self)
    }

    /// Adds what is at `path`, which must come after what was before.
    ///
    /// # Errors
    /// When it is out of order, its content was never read, or it cannot be written.
    pub fn push(&mut self, path: &TreePath, node: &LayerNode) -> Result<(), EntriesError> {
        match (node, tag_of(node)) {
            (LayerNode::Entry(entry), _) => self.0.push(path, entry),
            (_, Some(tag)) => self.0.push_mark(path, tag),
            (_, None) => Ok(()),
        }
    }

    /// Ends the section; gives the sink back, with what the statement must say.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn finish(self) -> Result<(W, EntriesSummary), EntriesError> {
        self.0.finish()
    }
}

/// Reads a layer, and holds its section to its statement as [`EntriesReader`] does.
pub struct LayerReader<R: Read> {
    records: EntriesReader<R>,
    /// What was implied last, until something beneath it has come.
    implied: Option<TreePath>,
}

impl<R: Read> LayerReader<R> {
    /// Reads the compressed section in `input`.
    ///
    /// # Errors
    /// When the decompressor cannot be set up.
    pub fn new(input: R, algorithm: Algorithm, stated: EntriesSummary) -> Result<Self, EntriesError> {
        let records = EntriesReader::new(input, algorithm, stated)?;
        Ok(Self { records, implied: None })
    }

    /// What comes next; none at the proven end.
    fn read_next(&mut self) -> Result<Option<LayerEntry>, EntriesError> {
        let records = &mut self.records;
        if records.read_count == records.stated.count {
            return match &self.implied {
                None => records.check_end().map(|()| None),
                Some(_) => Err(self.nothing_beneath()),
            };
        }
        records.read_path()?;
        let node = match records.byte()? {
            IMPLIED_TAG => records.take_mark(LayerNode::Implied),
            tag if tag == Kind::Whiteout.tag() => records.take_mark(LayerNode::Whiteout),
            tag if tag == Kind::Opaque.tag() => records.take_mark(LayerNode::Opaque),
            tag => LayerNode::Entry(records.read_attributes(tag)?),
        };
        let path = records.path.clone();
        if path.is_root() && !node.is_directory() {
            return Err(records.malformed("/ is not a directory"));
        }
        if is_mark(path.name()) != (node == LayerNode::Opaque)
            || (node == LayerNode::Opaque && path.name() != OPAQUE_NAME)
        {
            return Err(records.malformed(
                "an opaque directory is marked by the name .wh..wh..opq, which nothing else has",
            ));
        }
        if node.entry().is_some_and(|entry| entry.package != 0) {
            return Err(records.malformed("an entry of a layer is of a package, and layers tell of none"));
        }
        let scope = &Terms::immutable().xattrs;
        if node.entry().is_some_and(|entry| !entry.xattrs.iter().all(|(name, _)| scope.contains(name))) {
            return Err(records.malformed("an entry of a layer has an xattr that only a rule puts in scope"));
        }
        if self.implied.as_ref().is_some_and(|implied| !path.starts_with(implied)) {
            return Err(self.nothing_beneath());
        }
        self.implied = (node == LayerNode::Implied).then(|| path.clone());
        Ok(Some(LayerEntry { path, node }))
    }

    fn nothing_beneath(&self) -> EntriesError {
        self.records.malformed("a directory is implied, and nothing lies beneath it")
    }
}

impl<R: Read> EntriesReader<R> {
    fn take_mark(&mut self, mark: LayerNode) -> LayerNode {
        self.read_count += 1;
        self.last_is_directory = mark.is_directory();
        mark
    }
}

/// One after another; ends after the first error.
impl<R: Read> Iterator for LayerReader<R> {
    type Item = Result<LayerEntry, EntriesError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.records.failed {
            return None;
        }
        let next = self.read_next();
        self.records.failed = next.is_err();
        next.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::testing::{directory, file, path};

    fn layer(listed: &[(&str, LayerNode)]) -> Vec<LayerEntry> {
        listed.iter().map(|(at, node)| LayerEntry { path: path(at), node: node.clone() }).collect()
    }

    fn round_trip(layer: &[LayerEntry]) -> Result<Vec<LayerEntry>, String> {
        let mut writer = LayerWriter::new(Vec::new(), Algorithm::Blake3).unwrap();
        for LayerEntry { path, node } in layer {
            writer.push(path, node).map_err(|error| error.to_string())?;
        }
        let (section, summary) = writer.finish().unwrap();
        let reader = LayerReader::new(&section[..], Algorithm::Blake3, summary).unwrap();
        reader.collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read() {
        let sample = layer(&[
            ("/", LayerNode::Implied),
            ("/etc", LayerNode::Entry(directory())),
            ("/etc/.wh..wh..opq", LayerNode::Opaque),
            ("/etc/motd", LayerNode::Entry(file(b"hello"))),
            ("/old", LayerNode::Whiteout),
        ]);
        assert_eq!(round_trip(&sample).unwrap(), sample);
        assert_eq!(round_trip(&[]).unwrap(), []);
    }

    #[test]
    fn what_has_another_form_is_refused() {
        let dir = || LayerNode::Entry(directory());
        let packaged = LayerNode::Entry(Entry { package: 1, ..directory() });
        let noted = |name: &[u8]| {
            LayerNode::Entry(Entry { xattrs: vec![(name.to_vec(), b"x".to_vec())], ..directory() })
        };
        for (listed, says) in [
            (&[("/", LayerNode::Implied)][..], "nothing lies beneath"),
            (&[("/", dir()), ("/a", LayerNode::Implied), ("/b", dir())], "nothing lies beneath"),
            (&[("/", LayerNode::Whiteout)], "/ is not a directory"),
            (&[("/", dir()), ("/a", LayerNode::Opaque)], "by the name .wh..wh..opq"),
            (&[("/", dir()), ("/.wh.a", LayerNode::Whiteout)], "by the name .wh..wh..opq"),
            (&[("/", dir()), ("/.wh..wh..opq", dir())], "by the name .wh..wh..opq"),
            (&[("/", dir()), ("/a", LayerNode::Whiteout), ("/a/b", dir())], "without its directory"),
            (&[("/a", dir())], "only / can"),
            (&[("/", packaged)], "is of a package"),
            (&[("/", noted(b"trusted.note"))], "only a rule puts in scope"),
            (&[("/", noted(b"user.overlay.note"))], "only a rule puts in scope"),
        ] {
            let error = round_trip(&layer(listed)).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
