//! How many findings the shipped contracts leave on a stock image that does
//! nothing but run. There should be none.

use anyhow::Result;
use congruent_protocol::verification::{State, Verification};

use super::{Baked, CONTRACTS};

/// What N boots came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instances that were booted, each a fresh copy of the one baked image.
    pub boots: usize,
    /// Entries in the image.
    pub entries: u64,
    /// Findings and gaps over all of them.
    pub false_findings: usize,
    /// What they are, one a line.
    pub listed: Vec<String>,
}

/// Bakes the stock image with the shipped contracts, boots `boots` instances of it,
/// one after the other, and verifies each from outside.
///
/// # Errors
/// When the image cannot be made, an instance does not boot, or a program fails.
pub fn false_findings(boots: usize) -> Result<Counts> {
    let baked = Baked::new(&CONTRACTS, &[])?;
    let mut counts = Counts { boots, ..Counts::default() };
    for number in 1..=boots {
        let instance = baked.instance(number)?;
        instance.live_through_a_day()?;
        counts.add(number, &baked.look(instance.root(), None)?.1);
        instance.remove()?;
    }
    Ok(counts)
}

impl Counts {
    fn add(&mut self, number: usize, verification: &Verification) {
        self.entries = verification.coverage.entries_expected;
        for finding in &verification.findings {
            let fields: Vec<_> = finding.fields.iter().map(ToString::to_string).collect();
            self.listed.push(format!(
                "boot {number}: {} {} {}",
                finding.change.name(),
                finding.path,
                fields.join(" ")
            ));
        }
        if verification.findings.is_empty() && verification.state != State::Congruent {
            self.listed.push(format!("boot {number}: {:?}", verification.state));
        }
        self.false_findings = self.listed.len();
    }
}
