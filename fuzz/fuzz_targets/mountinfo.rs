//! Any bytes as a list of mounts: what is understood is counted, and overlays in
//! it are within the limits.
#![no_main]

use congruent_agent::mountinfo::{MAX_LOWERS, Overlay, parse};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (mounts, strange) = parse(bytes);
    let lines = bytes.split(|&b| b == b'\n').filter(|line| !line.is_empty()).count();
    assert_eq!(mounts.len() + strange, lines);
    for mount in &mounts {
        if let Ok(overlay) = Overlay::parse(&mount.super_options) {
            assert!((1..=MAX_LOWERS).contains(&overlay.lowers.len()));
        }
    }
});
