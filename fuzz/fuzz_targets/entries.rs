//! Any bytes as entry records: what is read can be written, to the same bytes.
#![no_main]

use congruent_protocol::digest::Algorithm;
use congruent_protocol::manifest::{EntriesReader, EntriesSummary, EntriesWriter};
use libfuzzer_sys::Corpus;

libfuzzer_sys::fuzz_target!(|records: &[u8]| -> Corpus {
    // Read with a count that only a longer section has: entries come one by one
    // until the records end or break.
    let stated = |count, content_bytes| EntriesSummary {
        digest: Algorithm::Blake3.digest(records),
        count,
        section_bytes: records.len() as u64,
        content_bytes,
    };
    let section = stored(records);
    let Ok(reader) = EntriesReader::new(&section[..], Algorithm::Blake3, stated(u64::MAX, 0)) else {
        return Corpus::Reject;
    };
    let entries: Vec<_> = reader.map_while(Result::ok).collect();
    // A section without `/` is none.
    if entries.is_empty() {
        return Corpus::Keep;
    }
    let mut writer = EntriesWriter::new(Vec::new(), Algorithm::Blake3).expect("memory takes every write");
    for listed in &entries {
        writer.push(&listed.path, &listed.entry).expect("what was read is in order");
    }
    let (section, summary) = writer.finish().expect("memory takes every write");
    let again: Result<Vec<_>, _> =
        EntriesReader::new(&section[..], Algorithm::Blake3, summary).expect("memory can be read").collect();
    assert_eq!(again.expect("what was written is read"), entries);
    Corpus::Keep
});

/// A zstd frame of raw blocks, so that the fuzzer sees its bytes as they are.
fn stored(bytes: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 1 << 16;
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    let mut blocks = bytes.chunks(BLOCK).peekable();
    if blocks.peek().is_none() {
        frame.extend([1, 0, 0]);
    }
    while let Some(block) = blocks.next() {
        let header = (block.len() as u32) << 3 | u32::from(blocks.peek().is_none());
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend_from_slice(block);
    }
    frame
}
