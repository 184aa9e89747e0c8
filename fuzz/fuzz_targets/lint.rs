//! A path, NUL, and a file's content: lint says each thing once, in words that
//! harm no terminal.
#![no_main]

use congruent_agent::lint;
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::path::{TreePath, plain};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some(end) = bytes.iter().position(|&b| b == 0) else { return };
    let (path, content) = (&bytes[..end], &bytes[end + 1..]);
    let Ok(path) = TreePath::new(path) else { return };
    let node = Node::File { size: content.len() as u64, content: None };
    let hits = lint::of(&path, &Entry { node, ..Entry::empty() }, content);
    for (index, hit) in hits.iter().enumerate() {
        assert!(hits[..index].iter().all(|other| other.lint != hit.lint));
        assert!(plain(hit.detail.as_bytes()).is_some());
    }
});
