//! Any bytes as a path: escaped text is inert, and the wire keeps every byte.
#![no_main]

use congruent_protocol::path::{TreePath, escape, plain};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(plain(escape(bytes).as_bytes()).is_some());
    if let Ok(path) = TreePath::new(bytes) {
        let json = serde_json::to_string(&path).expect("a path serialises");
        assert_eq!(serde_json::from_str::<TreePath>(&json).expect("and is read again"), path);
    }
});
