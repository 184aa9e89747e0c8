//! What makes a finding the same finding on the next run.
//!
//! Made from what was promised and how it was broken: the path's bytes, the
//! change, the fields, the class, what was expected. Not from what was observed
//! (content that keeps drifting is one finding), nor from times or order.

use congruent_protocol::digest::Algorithm;
use congruent_protocol::drift::{Attributes, Finding};
use congruent_protocol::verification::Gap;
use serde_json::Value;

use crate::output::Cause;

/// The key of a fingerprint. Another way to make them is another key.
pub(super) const KEY: &str = "congruent/v1";

/// Recorded beside what is promised, and no part of it.
const TIMES: [&str; 2] = ["modified_at", "modified_at_unix"];

pub(super) fn of_finding(finding: &Finding) -> String {
    let mut parts = vec![finding.change.name().to_owned(), finding.class.to_string()];
    parts.push(finding.expected.as_ref().map(without_times).unwrap_or_default());
    parts.extend(finding.fields.iter().map(ToString::to_string));
    digest(finding.path.as_bytes(), &parts)
}

pub(super) fn of_gap(cause: Cause<'_>, gap: &Gap) -> String {
    let mut parts = vec![cause.name().to_owned()];
    if let Cause::Unchecked(what) = cause {
        parts.push(what.to_owned());
    }
    digest(gap.path.as_bytes(), &parts)
}

/// One line for each attribute, in the order of their names.
fn without_times(attributes: &Attributes) -> String {
    let attributes = serde_json::to_value(attributes).expect("attributes are plain data");
    let Value::Object(members) = attributes else { return String::new() };
    let mut lines: Vec<String> = members
        .iter()
        .filter(|(name, _)| !TIMES.contains(&name.as_str()))
        .map(|(name, value)| format!("{name} {value}\n"))
        .collect();
    lines.sort();
    lines.concat()
}

/// Each part is preceded by its length, so that no two lists share an encoding.
fn digest(path: &[u8], parts: &[String]) -> String {
    let mut bytes = Vec::new();
    for part in [path].into_iter().chain(parts.iter().map(String::as_bytes)) {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    Algorithm::Blake3.digest(&bytes).to_hex()
}

#[cfg(test)]
mod tests {
    use congruent_protocol::drift::{Change, Field};
    use congruent_protocol::path::TreePath;

    use super::super::super::testing::{divergent, incomplete};
    use super::*;

    /// Checks whether a finding that was changed so has the fingerprint it had.
    fn check(what: &str, is_the_same: bool, change: impl Fn(&mut Finding)) {
        let finding = divergent().findings[0].clone();
        let mut changed = finding.clone();
        change(&mut changed);
        assert_eq!(of_finding(&changed) == of_finding(&finding), is_the_same, "{what}");
    }

    fn expected(finding: &mut Finding) -> &mut Attributes {
        finding.expected.as_mut().unwrap()
    }

    #[test]
    fn a_fingerprint_is_of_the_promise_and_how_it_was_broken() {
        check("nothing", true, |_| ());
        check("what is there", true, |f| f.observed.as_mut().unwrap().size = Some(1));
        check("when it was baked", true, |f| expected(f).modified_at = None);
        check("path", false, |f| f.path = TreePath::new("/etc/passwe").unwrap());
        check("change", false, |f| f.change = Change::Replaced);
        check("fields", false, |f| f.fields = vec![Field::Size]);
        check("what was promised", false, |f| expected(f).size = Some(31));
        check("a promise", false, |f| f.expected = None);
    }

    #[test]
    fn a_gap_is_the_same_whatever_the_reason() {
        let gap = incomplete().coverage.unreadable[0].clone();
        let other = Gap { reason: "another".to_owned(), ..gap.clone() };
        assert_eq!(of_gap(Cause::Unreadable, &gap), of_gap(Cause::Unreadable, &other));
        assert_ne!(of_gap(Cause::Unreadable, &gap), of_gap(Cause::Unstable, &gap));
        assert_eq!(of_gap(Cause::Unchecked("md5"), &gap), of_gap(Cause::Unchecked("md5"), &other));
        assert_ne!(of_gap(Cause::Unchecked("md5"), &gap), of_gap(Cause::Unchecked("flags"), &gap));
    }

    /// Those who track findings by it would see every one anew.
    #[test]
    fn fingerprints_are_frozen() {
        assert_eq!(
            of_finding(&divergent().findings[0]),
            "8a26e612af08e157d77207edcf88dca497524e5cc4040bcc230fc4f8679da994"
        );
    }
}
