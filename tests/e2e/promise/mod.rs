//! What is promised and by whom: signatures and their number, expiry, the floor,
//! stacks, the ledger, and a live machine baked from inside.

mod ledger;
mod live;
mod signing;
mod stack;

use congruent_protocol::verification::Verification;

/// What a verification found, in words.
fn found(verification: &Verification) -> Vec<String> {
    let words = |finding: &congruent_protocol::drift::Finding| {
        let fields: Vec<_> = finding.fields.iter().map(|field| format!(" {field}")).collect();
        let forbidden: Vec<_> = finding.forbidden.iter().map(|forbidden| format!(" !{forbidden}")).collect();
        format!("{} {}{}{}", finding.change.name(), finding.path, fields.concat(), forbidden.concat())
    };
    verification.findings.iter().map(words).collect()
}
