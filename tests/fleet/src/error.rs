//! What keeps a simulated fleet from running at all. What goes wrong on the way is
//! counted instead: see [`Outcome`](crate::Outcome).

use std::io;
use std::path::PathBuf;

use congruent_protocol::manifest::{EntriesError, ManifestError};
use congruent_protocol::path::PathError;
use congruent_protocol::recompute::RecomputeError;

/// Why a fleet cannot run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// An operator's thread has no runtime.
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
    /// A file cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A manifest does not hold.
    #[error("cannot use the manifest {}", .path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// No manifest can be made.
    #[error("cannot bake a manifest")]
    Bake(#[source] ManifestError),
    /// A manifest's entries cannot be read or written.
    #[error("cannot handle a manifest's entries")]
    Entries(#[source] EntriesError),
    /// A made-up path is none.
    #[error("a name cannot be part of a path")]
    Path(#[source] PathError),
    /// More findings than there are files that may not change.
    #[error(
        "{wanted} findings are asked for, and only {there} files of {release} may not change; bake one with more (`fleet-simulator manifest --files`)"
    )]
    TooFewFiles {
        /// How many findings are asked for.
        wanted: usize,
        /// How many files there are for them.
        there: usize,
        /// Name and version of the manifest.
        release: String,
    },
    /// A root cannot be worked out.
    #[error("cannot work out the root of a changed tree")]
    Recompute(#[source] RecomputeError),
    /// No manifest was given, or one too few.
    #[error("the scenario {scenario} needs {wanted} manifests, and {given} were given")]
    TooFewReleases {
        /// Its name.
        scenario: &'static str,
        /// How many it needs.
        wanted: usize,
        /// How many there are.
        given: usize,
    },
    /// The collector's address is none.
    #[error("{0:?} is no address such as https://127.0.0.1:8440")]
    Url(String),
    /// Certificate or key are of no use.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    /// No randomness.
    #[error("the kernel gives no random numbers")]
    Random(#[source] getrandom::Error),
    /// The collector cannot be reached.
    #[error("cannot reach the collector at {url}: {why}")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        why: String,
    },
    /// The collector does not let nodes in.
    #[error("the collector refused to enrol {node}: {why}")]
    Refused {
        /// Which node.
        node: String,
        /// What it said.
        why: String,
    },
    /// The collector makes no join token.
    #[error("the collector makes no join token: {0}")]
    NoToken(String),
    /// A file of enrolments is none.
    #[error("line {line} of {} is no enrolment", .path.display())]
    Kept {
        /// Which file.
        path: PathBuf,
        /// Which line.
        line: usize,
    },
    /// There is no node to run.
    #[error("there are no nodes; give --nodes")]
    NoNodes,
    /// The collector's process is not there.
    #[error("cannot read /proc/{process}: is the collector running?")]
    Process {
        /// Its id.
        process: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
}
