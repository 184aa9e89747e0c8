//! Where a report stands in its node's chain. Pure.
//!
//! Reports are numbered and each names the one before. A number that is taken
//! is a conflict; a gap or another predecessor is noted, not refused, since an
//! agent can lose its disk and what it says afterwards still counts. It then
//! begins a new chain under another id; what comes of the old one is late.

use congruent_protocol::digest::Digest;

/// The end of a chain as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) chain: u64,
    pub(crate) sequence: u64,
    pub(crate) digest: Digest,
}

/// What is known of a node's reports when one arrives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// The digest of the report of the same number in the same chain. A report names its
    /// chain, so that no other chain has the same one.
    pub(crate) same_number: Option<Digest>,
    /// The newest report.
    pub(crate) newest: Option<End>,
    /// Which of the node's chains the report's id is, where it is known.
    pub(crate) chain: Option<u64>,
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
    if known.same_number == Some(link.digest) {
        return Place::Duplicate;
    }
    let Some(newest) = known.newest else {
        return Place::Newest { chain: 1, note: missing(0, link.sequence) };
    };
    let Some(chain) = known.chain else {
        let note = format!(
            "the node began a new chain of reports with number {}; the one before ended with number {}: \
             it was replaced, or lost its state directory",
            link.sequence, newest.sequence
        );
        return Place::Newest { chain: newest.chain + 1, note: Some(note) };
    };
    if known.same_number.is_some() {
        return Place::Conflict { newest: newest.sequence };
    }
    if chain != newest.chain {
        return Place::Late { chain };
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
    fn check(chain: Option<u64>, sequence: u64, content: u64, previous: Option<u64>) -> Place {
        let known = Known {
            same_number: (chain == Some(2) && [1, 2, 4, 5].contains(&sequence)).then(|| digest(sequence)),
            newest: Some(End { chain: 2, sequence: 5, digest: digest(5) }),
            chain,
        };
        place(Link { sequence, digest: digest(content), previous: previous.map(digest) }, &known)
    }

    fn newest(chain: u64, note: Option<&str>) -> Place {
        Place::Newest { chain, note: note.map(str::to_owned) }
    }

    #[test]
    fn every_place() {
        let (old, same) = (Some(1), Some(2));
        assert_eq!(check(same, 5, 5, Some(4)), Place::Duplicate);
        assert_eq!(check(same, 5, 99, Some(4)), Place::Conflict { newest: 5 });
        assert_eq!(check(same, 1, 99, None), Place::Conflict { newest: 5 });
        assert_eq!(check(same, 3, 3, Some(2)), Place::Late { chain: 2 });
        assert_eq!(check(old, 9, 9, Some(8)), Place::Late { chain: 1 });
        assert_eq!(check(same, 6, 6, Some(5)), newest(2, None));
        assert_eq!(check(same, 7, 7, Some(6)), newest(2, Some("report 6 is missing")));
        assert_eq!(check(same, 9, 9, None), newest(2, Some("reports 6 to 8 are missing")));
        let other = "the report names another as the one before it than number 5";
        assert_eq!(check(same, 6, 6, Some(4)), newest(2, Some(other)));
        assert_eq!(check(same, 6, 6, None), newest(2, Some(other)));
        for (sequence, previous) in [(1, None), (9, Some(8))] {
            match check(None, sequence, 99, previous) {
                Place::Newest { chain: 3, note: Some(note) } => assert!(note.contains("ended with number 5")),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_first_report_of_all() {
        let known = Known::default();
        let first = |sequence| place(Link { sequence, digest: digest(1), previous: None }, &known);
        assert_eq!(first(1), newest(1, None));
        assert_eq!(first(4), newest(1, Some("reports 1 to 3 are missing")));
    }
}
