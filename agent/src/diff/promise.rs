//! What became of what is promised beside the entries: contract and origin.

use std::collections::{BTreeMap, BTreeSet};

use congruent_protocol::contract::{ExpectedMount, Rule};
use congruent_protocol::manifest::{ManifestKind, Predicate};
use serde::Serialize;

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Pair<T> {
    pub(crate) old: T,
    pub(crate) new: T,
}

/// What came, went and differs among values that have a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Delta<T> {
    pub(crate) added: Vec<T>,
    pub(crate) removed: Vec<T>,
    pub(crate) changed: Vec<Pair<T>>,
}

impl<T: Clone + PartialEq> Delta<T> {
    /// Pairs by key; what has a key twice by its turn.
    fn between(old: &[T], new: &[T], key: impl Fn(&T) -> &str) -> Self {
        let mut left: BTreeMap<(&str, usize), &T> = keyed(old, &key).collect();
        let mut delta = Self { added: Vec::new(), removed: Vec::new(), changed: Vec::new() };
        for (key, value) in keyed(new, &key) {
            match left.remove(&key) {
                None => delta.added.push(value.clone()),
                Some(was) if was != value => {
                    delta.changed.push(Pair { old: was.clone(), new: value.clone() });
                }
                Some(_) => {}
            }
        }
        let removed = keyed(old, &key).filter(|(key, _)| left.contains_key(key));
        delta.removed = removed.map(|(_, value)| value.clone()).collect();
        delta
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Values with their keys, each numbered among those of the same key.
fn keyed<'a, T>(
    values: &'a [T],
    key: &impl Fn(&T) -> &str,
) -> impl Iterator<Item = ((&'a str, usize), &'a T)> {
    let mut turns: BTreeMap<&str, usize> = BTreeMap::new();
    values.iter().map(move |value| {
        let key = key(value);
        let turn = turns.entry(key).or_default();
        *turn += 1;
        ((key, *turn), value)
    })
}

/// What became of the contract, and of what part of a stack it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ContractChanges {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<Pair<ManifestKind>>,
    pub(crate) rules: Delta<Rule>,
    /// Whether rules that both have stand in another order: the last that matches
    /// wins, so that alone can mean something else.
    pub(crate) reordered: bool,
    pub(crate) mounts: Delta<ExpectedMount>,
    pub(crate) reserved: Delta<String>,
}

impl ContractChanges {
    pub(super) fn between(old: &Predicate, new: &Predicate) -> Self {
        let rules = |predicate: &Predicate| predicate.contract.rules().to_vec();
        let reserved = |predicate: &Predicate| -> Vec<String> {
            predicate.reserved.iter().map(ToString::to_string).collect()
        };
        Self {
            kind: (old.kind != new.kind).then_some(Pair { old: old.kind, new: new.kind }),
            rules: Delta::between(&rules(old), &rules(new), |rule| &rule.path),
            reordered: are_reordered(old.contract.rules(), new.contract.rules()),
            mounts: Delta::between(old.contract.mounts(), new.contract.mounts(), |mount| &mount.path),
            reserved: Delta::between(&reserved(old), &reserved(new), |place| place),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let Self { kind, rules, reordered, mounts, reserved } = self;
        kind.is_none() && rules.is_empty() && !reordered && mounts.is_empty() && reserved.is_empty()
    }
}

fn are_reordered(old: &[Rule], new: &[Rule]) -> bool {
    let keys = |rules| -> Vec<_> { keyed(rules, &|rule: &Rule| &rule.path).map(|(key, _)| key).collect() };
    let (old, new): (Vec<_>, Vec<_>) = (keys(old), keys(new));
    let [in_old, in_new] = [&old, &new].map(|keys| keys.iter().collect::<BTreeSet<_>>());
    let kept = old.iter().filter(|key| in_new.contains(key));
    !kept.eq(new.iter().filter(|key| in_old.contains(key)))
}

/// A word of the origin that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WordChange {
    pub(crate) name: &'static str,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
}

/// The words of the origin that differ, by name.
pub(super) fn words(old: &Predicate, new: &Predicate) -> Vec<WordChange> {
    let [was, is] = [old, new].map(origin_words);
    let names: BTreeSet<_> = was.keys().chain(is.keys()).copied().collect();
    let differs = |name: &&'static str| was.get(name) != is.get(name);
    let word = |name| WordChange { name, old: was.get(name).cloned(), new: is.get(name).cloned() };
    names.into_iter().filter(differs).map(word).collect()
}

fn origin_words(predicate: &Predicate) -> BTreeMap<&'static str, String> {
    let words = predicate.origin.words().map(|(name, word)| (name, word.to_owned()));
    let image = predicate.origin.image.as_ref();
    words.chain(image.map(|image| ("image_config_digest", image.config_digest.to_string()))).collect()
}
