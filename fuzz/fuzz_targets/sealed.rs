//! Any bytes as a sealed report: refused or read, and its set of findings worked out or
//! refused; never a panic.
#![no_main]

use congruent_protocol::report::{Outcome, Report, Sealed, SetChange, findings_digest};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let payload = Sealed::parse(bytes).map_or(bytes, |sealed| sealed.payload());
    let Ok(report) = serde_json::from_slice::<Report<SetChange>>(payload) else { return };
    let Outcome::Verified(verification) = report.outcome else { return };
    let change = verification.findings;
    let stated = change.digest;
    if let Ok(set) = change.apply(|_| Some(Vec::new()), |_| Some(bytes.to_vec())) {
        assert_eq!(findings_digest(&set), stated);
    }
});
