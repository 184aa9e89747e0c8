//! Which list of containers/storage, and its JSON: refused, or each record on its
//! own.
#![no_main]

use congruent_agent::container::storage::{ContainerRecord, ImageRecord, LayerRecord, parse};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&which, bytes)) = bytes.split_first() else { return };
    let records = match which % 3 {
        0 => parse::<ContainerRecord>(bytes).map(|records| records.len()),
        1 => parse::<LayerRecord>(bytes).map(|records| records.len()),
        _ => parse::<ImageRecord>(bytes).map(|records| records.len()),
    };
    assert!(records.is_err() || bytes.len() >= records.unwrap_or_default());
});
