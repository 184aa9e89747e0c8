//! Any bytes as an mtree spec: refused with a line, or entries in tree order that
//! are the same when they are written and read again.
#![no_main]

use congruent_agent::mtree::{SpecWriter, Survey, parse, vis};
use congruent_protocol::entry::Entry;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(decoded) = vis::decode(bytes) {
        assert_eq!(vis::decode(vis::encode(&decoded).as_bytes()), Ok(decoded));
    }
    let spec = match parse(bytes) {
        Ok(spec) => spec,
        Err(error) => {
            assert!(error.line >= 1);
            return;
        }
    };
    assert!(spec.entries[0].path.is_root());
    assert!(spec.entries.is_sorted_by(|a, b| a.path < b.path));
    // All that is said is laid over directories, so that any names can be written.
    let directory = Entry::empty();
    let laid = |listed: &congruent_agent::mtree::SpecEntry| listed.claims.lay_over(&directory);
    let entries: Vec<_> = spec.entries.iter().map(|listed| (&listed.path, laid(listed))).collect();
    let mut survey = Survey::default();
    entries.iter().for_each(|(path, entry)| survey.take(path, entry));
    let mut writer = SpecWriter::new(Vec::new(), &survey, "fuzzed").expect("memory takes all");
    for (path, entry) in &entries {
        writer.push(path, entry, None).expect("memory takes all");
    }
    let written = writer.finish().expect("memory takes all");
    let again = parse(&written).expect("what we write is read");
    assert_eq!(again.entries.len(), entries.len());
    for (listed, (path, entry)) in again.entries.iter().zip(&entries) {
        assert_eq!(listed.path, **path);
        assert_eq!((laid(listed).mode, laid(listed).uid), (entry.mode, entry.uid));
    }
});
