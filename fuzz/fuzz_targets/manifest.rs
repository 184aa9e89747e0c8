//! Any bytes as a manifest: refused or read, never a panic.
#![no_main]

use std::io::Cursor;

use congruent_protocol::manifest::Manifest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::read_unchecked(&mut Cursor::new(bytes)) {
        let entries = manifest.entries(Cursor::new(bytes)).expect("it was read before");
        assert!(entries.into_iter().all(|entry| entry.is_ok()));
    }
});
