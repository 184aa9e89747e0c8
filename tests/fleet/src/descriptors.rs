//! How many connections this process may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets the process have as many descriptors as it may; gives how many that are.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // Where it may not be raised, the one that stands is told.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
