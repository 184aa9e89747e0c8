//! Counts over all findings and gaps, however many rules get to see.

use std::collections::BTreeMap;

use congruent_protocol::contract::Class;
use congruent_protocol::drift::{Change, Finding};
use congruent_protocol::verification::Coverage;
use serde::{Deserialize, Serialize};

use super::concern::Concern;

/// What verdicts are to stand on: it is exact where the findings and gaps in
/// the input are only the first of many. Every key is always there, at least
/// with 0, so that a rule never meets an undefined count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Summary {
    /// Findings by how the path differs.
    pub(crate) by_change: BTreeMap<Change, u64>,
    /// Findings by the contract's class.
    pub(crate) by_class: BTreeMap<Class, u64>,
    /// Findings by what they bear on; one finding may count several times.
    pub(crate) bears_on: BTreeMap<Concern, u64>,
    /// Findings that bear on nothing in particular.
    pub(crate) bears_on_nothing: u64,
    /// What could not be verified.
    pub(crate) gaps: GapCounts,
}

/// How many paths could not be verified, by why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GapCounts {
    /// They could not be read.
    pub(crate) unreadable: u64,
    /// They changed while they were read.
    pub(crate) unstable: u64,
}

impl Summary {
    /// Counts findings, given what each of them bears on, and gaps.
    pub(super) fn of<'a>(
        findings: impl Iterator<Item = &'a Finding>,
        bears_on: &[Vec<Concern>],
        coverage: Option<&Coverage>,
    ) -> Self {
        let changes =
            [Change::Added, Change::Removed, Change::Modified, Change::Replaced, Change::MountedOver];
        let classes = Class::RULED.into_iter().chain([Class::Reserved]);
        let mut summary = Self {
            by_change: changes.map(|change| (change, 0)).into(),
            by_class: classes.map(|class| (class, 0)).collect(),
            bears_on: Concern::ALL.map(|concern| (concern, 0)).into(),
            bears_on_nothing: 0,
            gaps: GapCounts::of(coverage),
        };
        findings.zip(bears_on).for_each(|(finding, concerns)| summary.count(finding, concerns));
        summary
    }

    fn count(&mut self, finding: &Finding, concerns: &[Concern]) {
        *self.by_change.entry(finding.change).or_default() += 1;
        *self.by_class.entry(finding.class).or_default() += 1;
        if concerns.is_empty() {
            self.bears_on_nothing += 1;
        }
        for &concern in concerns {
            *self.bears_on.entry(concern).or_default() += 1;
        }
    }
}

impl GapCounts {
    fn of(coverage: Option<&Coverage>) -> Self {
        coverage.map_or_else(Self::default, |coverage| Self {
            unreadable: coverage.unreadable.len() as u64,
            unstable: coverage.unstable.len() as u64,
        })
    }

    /// Of all kinds together.
    pub(crate) fn total(&self) -> u64 {
        self.unreadable + self.unstable
    }
}
