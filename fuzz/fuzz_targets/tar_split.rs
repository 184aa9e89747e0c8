//! Any bytes as the recording of a layer's archive, and what it comes to as a layer.
#![no_main]

use std::io::{self, Read, Write};

use congruent_agent::layer::{Contents, Layer, Limits, MergedTree, Reading, Reassembly};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::path::TreePath;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Every file holds its own name, again and again.
struct Names;

impl Contents for Names {
    fn open(&self, path: &TreePath) -> io::Result<Box<dyn Read>> {
        let name = path.name().to_vec();
        if name.is_empty() {
            Err(io::ErrorKind::NotFound.into())
        } else {
            Ok(Box::new(io::Cursor::new(name)))
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let reading = Reading {
        algorithm: Algorithm::Blake3,
        limits: Limits { members: 1000, content_bytes: 1 << 24, listed_bytes: 1 << 24 },
        lint: false,
    };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(bytes).expect("memory takes every write");
    let recording = gzip.finish().expect("memory takes every write");
    let mut archive = Reassembly::new(&recording[..], &Names).take(1 << 24);
    let _ = Layer::read(&mut archive, reading, &MergedTree::default());
    for path in archive.into_inner().altered() {
        assert!(path.as_bytes().starts_with(b"/"));
    }
});
