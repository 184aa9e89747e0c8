//! Outcomes as people and programs read them.

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
