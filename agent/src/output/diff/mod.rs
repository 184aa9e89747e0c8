//! What changed between two images, for people, programs and change boards.

mod json;
mod markdown;
#[cfg(test)]
mod tests;
mod text;

use congruent_protocol::manifest::{Manifest, ManifestKind, Package, Predicate};
use congruent_protocol::path::escape;

use super::manifest::{mount_line, rule_line};
use super::{counted, text as finding};
use crate::diff::allow::{Judgement, Undeclared};
use crate::diff::{Changed, Counts, Diff, PackageChange, PackageChangeKind, WordChange};

pub(crate) use json::json;
pub(crate) use markdown::markdown;
pub(crate) use text::text;

/// All that is shown.
pub(crate) struct Page<'a> {
    pub(crate) old: Side<'a>,
    pub(crate) new: Side<'a>,
    pub(crate) diff: &'a Diff,
    /// None where nothing was asked to be declared.
    pub(crate) judgement: Option<&'a Judgement>,
}

/// One of the two manifests.
pub(crate) struct Side<'a> {
    pub(crate) manifest: &'a Manifest,
    /// Whether its signatures were checked.
    pub(crate) was_checked: bool,
}

impl<'a> Side<'a> {
    fn predicate(&self) -> &'a Predicate {
        self.manifest.predicate()
    }

    fn title(&self) -> String {
        format!("{} {}", self.predicate().name, self.predicate().version)
    }
}

/// Why changes are not told by package; none where they are.
fn why_no_packages(page: &Page<'_>) -> Option<&'static str> {
    if page.diff.packages.is_some() {
        return None;
    }
    Some(match (&page.old.predicate().packages, &page.new.predicate().packages) {
        (None, None) => "neither manifest names packages",
        (None, Some(_)) => "OLD names no packages",
        (Some(_), None) => "NEW names no packages",
        (Some(_), Some(_)) => "the packages are of two managers",
    })
}

/// Counts in words, those that are nothing left out.
fn counts_in_words(counts: Counts) -> String {
    let Counts { added, removed, modified, replaced } = counts;
    let words = [(added, "added"), (removed, "removed"), (modified, "modified"), (replaced, "replaced")];
    let words: Vec<_> =
        words.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

/// How many packages came, went or were updated.
fn packages_in_words(changes: &[PackageChange]) -> String {
    let kinds = [PackageChangeKind::Added, PackageChangeKind::Removed, PackageChangeKind::Updated];
    let of = |kind| changes.iter().filter(|change| change.kind() == kind).count();
    let words: Vec<_> = kinds
        .into_iter()
        .filter(|kind| of(*kind) > 0)
        .map(|kind| format!("{} {}", of(kind), kind.name()))
        .collect();
    if words.is_empty() { "none changed".to_owned() } else { words.join(", ") }
}

/// A package with its architecture, where it has one.
fn with_architecture(name: &str, architecture: &str) -> String {
    let full = if architecture.is_empty() { name.to_owned() } else { format!("{name} ({architecture})") };
    escape(full.as_bytes()).into_owned()
}

/// The versions of a package that changed.
fn versions(change: &PackageChange) -> String {
    let versions: Vec<_> = change.from.iter().chain(&change.to).map(|v| escape(v.as_bytes())).collect();
    versions.join(" → ")
}

fn package(package: &Package) -> String {
    let Package { name, version, architecture } = package;
    format!("{} {}", with_architecture(name, architecture), escape(version.as_bytes()))
}

/// What became of the contract: a sign and a line each.
fn contract_lines(diff: &Diff) -> Vec<(&'static str, String)> {
    let contract = &diff.contract;
    let mut lines = Vec::new();
    if let Some(kind) = &contract.kind {
        let name = |kind| match kind {
            ManifestKind::Base => "base",
            ManifestKind::AddOn => "add-on",
        };
        lines.push(("changed", format!("kind {} → {}", name(kind.old), name(kind.new))));
    }
    push_delta(&mut lines, &contract.rules, rule_line);
    if contract.reordered {
        lines.push(("changed", "the order of rules: the last that matches wins".to_owned()));
    }
    push_delta(&mut lines, &contract.mounts, mount_line);
    push_delta(&mut lines, &contract.reserved, |place| format!("reserved   {}", escape(place.as_bytes())));
    lines
}

fn push_delta<T>(
    lines: &mut Vec<(&'static str, String)>,
    delta: &crate::diff::Delta<T>,
    line: impl Fn(&T) -> String,
) {
    lines.extend(delta.removed.iter().map(|value| ("removed", line(value))));
    lines.extend(delta.added.iter().map(|value| ("added", line(value))));
    let pair = |pair: &crate::diff::Pair<T>| format!("{} → {}", line(&pair.old), line(&pair.new));
    lines.extend(delta.changed.iter().map(|changed| ("changed", pair(changed))));
}

/// A word of the origin, as it was and is.
fn word_line(word: &WordChange) -> String {
    let shown = |word: &Option<String>| {
        word.as_ref().map_or_else(|| "none".to_owned(), |word| escape(word.as_bytes()).into_owned())
    };
    format!("{} → {}", shown(&word.old), shown(&word.new))
}

/// One entry that differs, on one line.
fn entry_line(changed: &Changed) -> String {
    finding::line(&changed.finding())
}

/// What was not declared: how it changed, and what it is.
fn undeclared_words(diff: &Diff, undeclared: Undeclared) -> (&'static str, String) {
    match undeclared {
        Undeclared::Package(index) => {
            let change = diff.packages.as_ref().and_then(|packages| packages.changes.get(index));
            change.map_or_else(Default::default, |change| {
                let entries = counted(change.entries.total(), "entry", "entries");
                let name = with_architecture(&change.name, &change.architecture);
                (change.kind().name(), format!("package {name} {}, {entries}", versions(change)))
            })
        }
        Undeclared::Entry(index) => diff.changes.get(index).map_or_else(Default::default, |changed| {
            let differences = finding::differences(&changed.finding()).join("; ");
            (changed.change.name(), format!("{}: {differences}", changed.path))
        }),
        Undeclared::Contract => ("changed", "the contract".to_owned()),
    }
}
