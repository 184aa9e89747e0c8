//! Where a report stands in its node's chain. Pure.
//!
//! Reports are numbered and each names the one before. A number that is taken
//! is a conflict; a gap or another predecessor is noted, not refused, since an
//! agent can lose its disk and what it says afterwards still counts.

use congruent_protocol::digest::Digest;

/// The end of a chain as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) chain: u64,
    pub(crate) sequence: u64,
    pub(crate) digest: Digest,
}

/// What is known of a node's reports when one arrives.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Chain and digest of each report of the same number.
    pub(crate) same_number: Vec<(u64, Digest)>,
    /// The newest report.
    pub(crate) newest: Option<End>,
    /// Whether the node reported in the same boot before.
    pub(crate) boot_is_known: bool,
}

/// What arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) sequence: u64,
    pub(crate) digest: Digest,
    pub(crate) previous: Option<Digest>,
}

/// Where a report stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is known, byte for byte.
    Duplicate,
    /// Its number is taken by other bytes. Holds the newest number.
    Conflict { newest: u64 },
    /// It came after one with a higher number.
    Late { chain: u64 },
    /// It is the newest.
    Newest { chain: u64, note: Option<String> },
}

/// Finds a report's place.
pub(crate) fn place(link: Link, known: &Known) -> Place {
    if known.same_number.iter().any(|(_, digest)| *digest == link.digest) {
        return Place::Duplicate;
    }
    let Some(newest) = known.newest else {
        return Place::Newest { chain: 1, note: missing(0, link.sequence) };
    };
    // A copy of a node that was replaced, or a node that lost its disk, begins
    // again. It must have booted since: else number 1 is sent twice.
    if link.sequence == 1 && link.previous.is_none() && !known.boot_is_known {
        let note = format!(
            "the node began a new chain of reports; the one before ended with number {}: \
             it was replaced, or lost its state directory",
            newest.sequence
        );
        return Place::Newest { chain: newest.chain + 1, note: Some(note) };
    }
    if known.same_number.iter().any(|(chain, _)| *chain == newest.chain) {
        return Place::Conflict { newest: newest.sequence };
    }
    if link.sequence < newest.sequence {
        return Place::Late { chain: newest.chain };
    }
    let note = missing(newest.sequence, link.sequence).or_else(|| {
        (link.previous != Some(newest.digest))
            .then(|| format!("the report names another as the one before it than number {}", newest.sequence))
    });
    Place::Newest { chain: newest.chain, note }
}

/// Names the numbers between two that follow each other.
fn missing(before: u64, number: u64) -> Option<String> {
    match (before + 1, number - 1) {
        (first, last) if first > last => None,
        (first, last) if first == last => Some(format!("report {first} is missing")),
        (first, last) => Some(format!("reports {first} to {last} are missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use congruent_protocol::digest::Algorithm;

    fn digest(n: u64) -> Digest {
        Algorithm::Blake3.digest(&n.to_le_bytes())
    }

    /// Known are numbers 1 to 5 of chain 2, but for 3; digests are the numbers'.
    fn check(sequence: u64, content: u64, previous: Option<u64>, boot_is_known: bool) -> Place {
        let known = Known {
            same_number: if [1, 2, 4, 5].contains(&sequence) { vec![(2, digest(sequence))] } else { vec![] },
            newest: Some(End { chain: 2, sequence: 5, digest: digest(5) }),
            boot_is_known,
        };
        place(Link { sequence, digest: digest(content), previous: previous.map(digest) }, &known)
    }

    fn newest(chain: u64, note: Option<&str>) -> Place {
        Place::Newest { chain, note: note.map(str::to_owned) }
    }

    #[test]
    fn every_place() {
        assert_eq!(check(5, 5, Some(4), true), Place::Duplicate);
        assert_eq!(check(1, 1, None, false), Place::Duplicate);
        assert_eq!(check(5, 99, Some(4), true), Place::Conflict { newest: 5 });
        assert_eq!(check(1, 99, None, true), Place::Conflict { newest: 5 });
        assert_eq!(check(3, 3, Some(2), true), Place::Late { chain: 2 });
        assert_eq!(check(6, 6, Some(5), true), newest(2, None));
        assert_eq!(check(6, 6, Some(5), false), newest(2, None));
        assert_eq!(check(7, 7, Some(6), true), newest(2, Some("report 6 is missing")));
        assert_eq!(check(9, 9, None, true), newest(2, Some("reports 6 to 8 are missing")));
        let other = "the report names another as the one before it than number 5";
        assert_eq!(check(6, 6, Some(4), true), newest(2, Some(other)));
        assert_eq!(check(6, 6, None, true), newest(2, Some(other)));
        match check(1, 99, None, false) {
            Place::Newest { chain: 3, note: Some(note) } => assert!(note.contains("ended with number 5")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_report_of_all() {
        let known = Known { same_number: vec![], newest: None, boot_is_known: false };
        let first = |sequence| place(Link { sequence, digest: digest(1), previous: None }, &known);
        assert_eq!(first(1), newest(1, None));
        assert_eq!(first(4), newest(1, Some("reports 1 to 3 are missing")));
    }
}
