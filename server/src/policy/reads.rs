//! What a policy's rules read of their input, and the decisions that it has given.
//!
//! Equal input gives an equal decision, so inputs that are equal in all that the rules
//! read do: most nodes of a fleet are as they were baked, and differ in their names and
//! their times. A policy that takes the input as a whole is asked each time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use congruent_protocol::decision::Decision;
use congruent_protocol::digest::{Algorithm, Digest};
use regorus::unstable::{Module, Ref};
use serde_json::Value;

use super::syntax;

/// How many decisions are kept; then all are let go.
const KEPT: usize = 4096;

/// The parts of the input that rules read, each as a path from its root; none where they
/// may read all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reads(Option<BTreeSet<Vec<String>>>);

/// Decisions by what they stand on.
#[derive(Debug, Default)]
pub(super) struct Given(Mutex<HashMap<Digest, Decision>>);

impl Reads {
    /// What the rules of these modules read.
    pub(super) fn of(modules: &[Ref<Module>]) -> Self {
        let paths: BTreeSet<_> = modules.iter().flat_map(|module| syntax::inputs(module)).collect();
        Self((!paths.contains(&Vec::new())).then_some(paths))
    }

    /// The digest of what they read of an input; none where that may be all.
    pub(super) fn digest(&self, input: &Value) -> Option<Digest> {
        let read = self.0.as_ref()?;
        let mut parts = Vec::with_capacity(1024);
        for path in read {
            let part = path.iter().try_fold(input, |value, key| value.get(key));
            // One after the other they cannot be mistaken: JSON ends where it ends.
            match part {
                Some(part) => serde_json::to_writer(&mut parts, part).ok()?,
                None => parts.push(b'-'),
            }
            parts.push(b'\n');
        }
        Some(Algorithm::Blake3.digest(&parts))
    }
}

impl Given {
    /// The decision that was given on the same ground.
    pub(super) fn on(&self, ground: &Digest) -> Option<Decision> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(ground).cloned()
    }

    /// Keeps a decision.
    pub(super) fn keep(&self, ground: Digest, decision: &Decision) {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() >= KEPT {
            given.clear();
        }
        given.insert(ground, decision.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::policy::embedded;
    use crate::policy::engine::{TIME_LIMIT, add, new_engine};
    use crate::policy::source::Source;

    fn reads(rules: &str) -> Reads {
        let mut engine = new_engine(TIME_LIMIT);
        let text = format!("package congruent\n{rules}");
        add(&mut engine, &Source { path: "a.rego".to_owned(), text }).unwrap();
        Reads::of(engine.get_modules())
    }

    #[test]
    fn every_way_to_read_the_input() {
        for (rules, expected) in [
            ("a := 1", Some("")),
            ("a := input.state", Some("state")),
            ("a := input.subject.node", Some("subject.node")),
            ("a := input[\"subject\"].node", Some("subject.node")),
            ("a := input[\"sub.ject\"].node", Some("sub.ject.node")),
            ("a := input.subject[\"n\\u006fde\"]", Some("subject")),
            ("a := input.findings[_].path", Some("findings")),
            ("a := input.findings[0].path", Some("findings")),
            ("a := input.summary[input.state]", Some("state summary")),
            ("a := [f | some f in input.findings; f.path == input.note]", Some("findings note")),
            ("a if every f in input.findings { f.path }", Some("findings")),
            ("f(x) := x\na := f(input.facts)", Some("facts")),
            ("import input.facts as seen\na := seen.cpus", Some("facts")),
            ("a contains x if some x in {input.state}", Some("state")),
            ("a[input.state] := input.note", Some("note state")),
            ("default a := false\na if not input.report.conditional", Some("report.conditional")),
            ("a := input", None),
            ("a := input[k] if some k in [\"b\"]", None),
            ("a := walk(input)", None),
            ("a if b with input as {}\nb := 1", None),
            ("a if b with input.state as \"c\"\nb := input.state", None),
            ("import input\na := 1", None),
        ] {
            let found = reads(rules)
                .0
                .map(|paths| paths.into_iter().map(|path| path.join(".")).collect::<Vec<_>>().join(" "));
            assert_eq!(found.as_deref(), expected, "{rules}");
        }
    }

    #[test]
    fn the_shipped_policy_reads_nothing_that_differs_from_sweep_to_sweep() {
        let mut engine = new_engine(TIME_LIMIT);
        embedded::sources().iter().for_each(|source| add(&mut engine, source).unwrap());
        let Reads(read) = Reads::of(engine.get_modules());
        let read = read.expect("it takes the input as a whole");
        let first = |path: &Vec<String>| path[0].clone();
        let differs = |path: &&Vec<String>| {
            matches!(first(path).as_str(), "facts" | "report" | "coverage") && path.len() == 1
        };
        assert_eq!(read.iter().find(differs), None);
        assert!(!read.iter().any(|path| path.ends_with(&["node".to_owned()])), "{read:?}");
    }

    #[test]
    fn what_is_read_and_differs_has_another_digest() {
        let reads = reads("a := [input.state, input.note, input.subject.group]");
        let digest = |input| reads.digest(&input).unwrap();
        let one = digest(json!({"state": "a", "note": null, "subject": {"group": "g", "node": "n"}}));
        assert_eq!(
            one,
            digest(json!({"state": "a", "note": null, "subject": {"group": "g", "node": "m"}, "facts": 1}))
        );
        for other in [
            json!({"state": "b", "note": null, "subject": {"group": "g"}}),
            json!({"state": "a", "subject": {"group": "g"}}),
            json!({"state": "a", "note": "null", "subject": {"group": "g"}}),
            json!({"state": "a", "note": null, "subject": {"group": null}}),
            json!({"state": "a", "note": null, "subject": "g"}),
        ] {
            assert_ne!(one, digest(other.clone()), "{other}");
        }
    }
}
