//! Any bytes as a report, of a node or a container, and its findings against a small tree.
#![no_main]

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::Algorithm;
use congruent_protocol::entry::Entry;
use congruent_protocol::ledger::Ledger;
use congruent_protocol::manifest::ListedEntry;
use congruent_protocol::path::TreePath;
use congruent_protocol::recompute::recompute;
use congruent_protocol::report::Report;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(report) = serde_json::from_slice::<Report>(bytes) else { return };
    let told = report.all_findings().len();
    if let Some(container) = &report.container {
        let is_told = container.layers.iter().all(|layer| layer.is_consistent());
        assert!(!is_told || told as u64 <= report.findings().len() as u64 + container.findings_beside());
    }
    let tree = ["/", "/a", "/a/b"]
        .map(|path| Ok(ListedEntry { path: TreePath::new(path).expect("a path"), entry: Entry::empty() }));
    let ledger = Ledger::empty(Algorithm::Blake3.digest(b""));
    let findings = report.findings();
    let _ = recompute(tree.into_iter(), Algorithm::Blake3, &Contract::linux(), &[], &ledger, findings);
});
