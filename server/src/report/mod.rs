//! The auditor's report: one JSON document about a period, from the database
//! alone, also while the collector runs.
//!
//! Reading and rendering are apart: [`evidence`] reads what is so, [`document`]
//! makes the report of it, purely. Times are the collector's own.

mod controls;
mod coverage;
mod document;
mod evidence;
mod period;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::store::{Database, StoreError, read_only};

pub(crate) use period::{Edge, Period};

/// Why a report could not be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    #[error("cannot read the evidence")]
    Read(#[source] StoreError),
    #[error(
        "the period ends at {to}, and does not begin before then but at {from}; give --from an earlier time than --to"
    )]
    Period { from: Timestamp, to: Timestamp },
    #[error(
        "the database holds nothing about the time before {0}: no collector had served with it by then; \
         give --to a later time"
    )]
    NoScope(Timestamp),
    #[error("the period begins at {0}, and that has not come yet; give --from an earlier time")]
    Future(Timestamp),
    #[error("cannot write the report to {}", .path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Reads the evidence of a period from `database`, and writes the report to
/// `output`, or to standard output.
pub(crate) fn write(
    database: &Database,
    period: Period,
    now: Timestamp,
    output: Option<&Path>,
) -> Result<(), ReportError> {
    if period.from > now {
        return Err(ReportError::Future(period.from));
    }
    let evidence = read_only(database, "read the evidence of a period", |view| evidence::read(view, period))
        .map_err(ReportError::Read)?;
    if evidence.scopes.is_empty() {
        return Err(ReportError::NoScope(period.to));
    }
    let document = document::Document::of(&evidence, period, now);
    match output {
        Some(path) => to_file(path, &document),
        None => to_stdout(&document),
    }
}

/// Puts the report beside `path` and then in its place, so that what is there
/// is always whole.
fn to_file(path: &Path, document: &document::Document<'_>) -> Result<(), ReportError> {
    let failed = |source| ReportError::Write { path: path.to_owned(), source };
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut out = BufWriter::new(File::create(&partial).map_err(failed)?);
    render(&mut out, document).map_err(failed)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)
}

fn to_stdout(document: &document::Document<'_>) -> Result<(), ReportError> {
    let mut out = BufWriter::new(io::stdout().lock());
    match render(&mut out, document).and_then(|()| out.flush()) {
        // Who reads the first lines and then closes has what was wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(ReportError::Write { path: PathBuf::from("standard output"), source }),
        Ok(()) => Ok(()),
    }
}

fn render(out: &mut impl Write, document: &document::Document<'_>) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    out.write_all(b"\n")
}
