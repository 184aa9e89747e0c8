//! Any bytes as an envelope and as the statement in one: what is read can be
//! written and read again, and nobody is believed to have signed it.
#![no_main]

use congruent_protocol::key::SecretKey;
use congruent_protocol::manifest::{Envelope, Statement};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::from_json(bytes) {
        let again = Envelope::from_json(&envelope.to_json()).expect("what was written is read");
        assert_eq!(again.to_json(), envelope.to_json());
        // Of a key that signed no seed.
        let stranger = SecretKey::from_seed([9; 32]).public();
        if let (Ok(payload), Ok(signers)) = (envelope.payload(), envelope.signed_by(&[stranger])) {
            assert!(signers.is_empty());
            statement(&payload);
        }
    }
    statement(bytes);
});

fn statement(json: &[u8]) {
    let Ok(statement) = Statement::from_json(json) else { return };
    let written = statement.to_json();
    let again = Statement::from_json(&written).expect("what was written is read");
    assert_eq!(again.to_json(), written);
}
