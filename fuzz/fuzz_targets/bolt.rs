//! Any bytes as a bolt file: refused, or read to its end, buckets within buckets.
#![no_main]

use congruent_agent::container::bolt::{Bolt, Bucket, Value, transaction};

/// As deep as containerd's buckets lie.
const DEPTH: usize = 6;

fn read(bucket: Bucket<'_>, depth: usize) {
    let Ok(items) = bucket.items() else { return };
    for (_, value) in items {
        if let (Value::Bucket(within), Some(depth)) = (value, depth.checked_sub(1)) {
            read(within, depth);
        }
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let newest = transaction(bytes);
    match Bolt::new(bytes.to_vec()) {
        Ok(bolt) => {
            assert_eq!(newest, Some(bolt.transaction()));
            read(bolt.root(), DEPTH);
        }
        Err(_) => assert_eq!(newest, None),
    }
});
