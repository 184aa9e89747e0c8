//! Outcomes as people and programs read them.

pub(crate) mod lint;
pub(crate) mod manifest;
pub(crate) mod text;

use std::io::{self, Write};

use serde::Serialize;

/// One JSON document and a newline.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut buffered = io::BufWriter::new(out);
    serde_json::to_writer_pretty(&mut buffered, value)?;
    buffered.write_all(b"\n")?;
    buffered.flush()
}

/// A count with its noun.
fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
