//! Any bytes as a ledger: refused, or the same after it is written and read
//! again, and held to root and contract.
#![no_main]

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::Algorithm;
use congruent_protocol::ledger::Ledger;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(ledger) = Ledger::from_json(bytes) else { return };
    let again = Ledger::from_json(&ledger.to_json()).expect("what was written is read");
    assert_eq!(again, ledger);
    assert!(ledger.check(Algorithm::Blake3.digest(b"another root"), &Contract::linux(), &[]).is_err());
    if ledger.check(ledger.root(), &Contract::empty(), &[]).is_ok() {
        assert!(ledger.first_values().is_empty());
    }
});
