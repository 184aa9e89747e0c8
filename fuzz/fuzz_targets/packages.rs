//! Which parser, and what it parses: dpkg's files, and what rpm prints. What is
//! taken as a path begins at the root.
#![no_main]

use congruent_agent::packages::dpkg::{Diversions, parse_checksums, parse_list, parse_status};
use congruent_agent::packages::rpm::Answer;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    let paths = match which % 5 {
        0 => parse_status(bytes).map(|_| Vec::new()).unwrap_or_default(),
        1 => parse_list(bytes).unwrap_or_default(),
        2 => parse_checksums(bytes).unwrap_or_default(),
        3 => Diversions::parse(bytes)
            .map(|diversions| vec![diversions.apply("dash", b"/bin/sh").to_vec()])
            .unwrap_or_default(),
        _ => Answer::new(bytes).filter_map(Result::ok).flat_map(|listed| listed.paths).collect(),
    };
    assert!(paths.iter().all(|path| path.starts_with(b"/")));
});
