//! Outcomes as people and programs read them.
//!
//! Renderers: each takes values and writes text. None looks at anything else, and
//! none decides anything. Findings go through one at a time: there may be more than
//! memory holds.

pub(crate) mod containers;
pub(crate) mod contract_check;
pub(crate) mod diff;
pub(crate) mod explanation;
pub(crate) mod junit;
pub(crate) mod kept;
pub(crate) mod lint;
pub(crate) mod manifest;
pub(crate) mod ndjson;
pub(crate) mod sarif;
pub(crate) mod suggestion;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod text;
pub(crate) mod verdicts;

use std::borrow::Cow;
use std::io::{self, Write};

use congruent_protocol::path::TreePath;
use congruent_protocol::verification::{Coverage, Gap, Unchecked};
use serde::Serialize;

/// One JSON document and a newline.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut buffered = io::BufWriter::new(out);
    kept::to_writer(&mut buffered, value)?;
    buffered.write_all(b"\n")?;
    buffered.flush()
}

/// Why something could not be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause<'a> {
    /// It could not be read.
    Unreadable,
    /// It changed while it was read.
    Unstable,
    /// A foreign spec says this of it, and that is not checked.
    Unchecked(&'a str),
}

impl Cause<'_> {
    /// The name, as coverage has it.
    fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Unstable => "unstable",
            Self::Unchecked(_) => "unchecked",
        }
    }
}

/// Everything that could not be verified. What was not checked of a spec is of no
/// one path, and stands at the root.
fn gaps(coverage: &Coverage) -> impl Iterator<Item = (Cause<'_>, Cow<'_, Gap>)> {
    let unreadable = coverage.unreadable.iter().map(|gap| (Cause::Unreadable, Cow::Borrowed(gap)));
    let unstable = coverage.unstable.iter().map(|gap| (Cause::Unstable, Cow::Borrowed(gap)));
    let unchecked = coverage.unchecked.iter().filter(|unchecked| unchecked.gap).map(|unchecked| {
        let Unchecked { what, reason, entries, .. } = unchecked;
        let gap = Gap { path: TreePath::root(), reason: format!("{what} ({entries} times): {reason}") };
        (Cause::Unchecked(what), Cow::Owned(gap))
    });
    unreadable.chain(unstable).chain(unchecked)
}

/// A count with its noun.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
