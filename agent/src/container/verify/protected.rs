//! How much of an image is protected, where its writable layer could not be looked at,
//! which counts it as well.

use congruent_protocol::manifest::EntriesError;
use congruent_protocol::verification::Protected;

use super::Known;

/// Counts all entries of a manifest.
pub(super) fn of(known: &Known) -> Result<Protected, EntriesError> {
    let contract = &known.manifest.predicate().contract;
    let mut follower = contract.follow();
    let mut protected = Protected { entries: 0, of: 0 };
    for listed in known.entries()? {
        let path = listed?.path;
        protected.count(contract, &path, follower.terms_of(&path).class);
    }
    Ok(protected)
}
