//! Collecting findings: counted all, kept within bounds.

use std::collections::BTreeMap;

use congruent_protocol::manifest::{LintAllowance, LintFinding, LintReport};
use congruent_protocol::path::TreePath;

use super::{Allowance, Hit, Lint};

/// How many findings of one lint are kept.
const KEPT_OF_A_LINT: u64 = 1000;
/// How many bytes of paths and details are kept: escaped, they must fit into a
/// manifest's envelope many times over.
const KEPT_BYTES: usize = 512 << 10;

/// Takes findings in tree order, and sets apart those that are allowed.
#[derive(Debug)]
pub(crate) struct Collector {
    allowances: Vec<(Allowance, u64)>,
    counts: BTreeMap<Lint, u64>,
    findings: Vec<LintFinding>,
    kept_bytes: usize,
}

impl Collector {
    pub(crate) fn new(allowances: Vec<Allowance>) -> Self {
        let allowances = allowances.into_iter().map(|allowance| (allowance, 0)).collect();
        Self { allowances, counts: BTreeMap::new(), findings: Vec::new(), kept_bytes: 0 }
    }

    pub(crate) fn take(&mut self, path: &TreePath, hit: Hit) {
        let mut is_allowed = false;
        for (allowance, covered) in &mut self.allowances {
            if allowance.covers(hit.lint, path) {
                *covered += 1;
                is_allowed = true;
            }
        }
        if is_allowed {
            return;
        }
        let count = self.counts.entry(hit.lint).or_default();
        *count += 1;
        let bytes = self.kept_bytes + path.as_bytes().len() + hit.detail.len();
        if *count <= KEPT_OF_A_LINT && bytes <= KEPT_BYTES {
            self.kept_bytes = bytes;
            let (lint, detail) = (hit.lint.name().to_owned(), hit.detail.into_owned());
            self.findings.push(LintFinding { lint, path: path.clone(), detail });
        }
    }

    pub(crate) fn finish(self) -> LintReport {
        let counts = self.counts.into_iter().map(|(lint, count)| (lint.name().to_owned(), count));
        let allowed = self.allowances.into_iter().map(|(allowance, covered)| LintAllowance {
            lint: allowance.lints.name().to_owned(),
            path: allowance.glob,
            covered,
        });
        LintReport { counts: counts.collect(), findings: self.findings, allowed: allowed.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(lint: Lint) -> Hit {
        Hit { lint, detail: "seen".into() }
    }

    #[test]
    fn what_is_allowed_is_counted_apart() {
        let allowances = ["setuid:/bin/*", "all:/bin/su", "device:/**"].map(|text| text.parse().unwrap());
        let mut collector = Collector::new(allowances.into());
        for (path, lint) in [
            ("/bin/su", Lint::Setuid),
            ("/bin/mount", Lint::Setuid),
            ("/bin/su", Lint::WritablePath),
            ("/x", Lint::Setuid),
        ] {
            collector.take(&TreePath::new(path).unwrap(), hit(lint));
        }
        let report = collector.finish();
        assert_eq!(report.counts, BTreeMap::from([("setuid".to_owned(), 1)]));
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].path, TreePath::new("/x").unwrap());
        assert_eq!(report.allowed.iter().map(|a| a.covered).collect::<Vec<_>>(), [2, 2, 0]);
    }

    #[test]
    fn very_many_are_counted_but_not_kept() {
        let mut collector = Collector::new(Vec::new());
        for index in 0..1500 {
            collector.take(&TreePath::new(format!("/tmp/{index}")).unwrap(), hit(Lint::Leftover));
        }
        let long = TreePath::new(format!("/{}", "x/".repeat(2000) + "x")).unwrap();
        for _ in 0..500 {
            collector.take(&long, hit(Lint::Setuid));
        }
        let report = collector.finish();
        assert_eq!((report.counts["leftover"], report.counts["setuid"]), (1500, 500));
        let kept = |lint: &str| report.findings.iter().filter(|finding| finding.lint == lint).count();
        assert_eq!(kept("leftover"), 1000);
        assert!((50..200).contains(&kept("setuid")), "{}", kept("setuid"));
    }
}
