//! Any text as a contract: refused with a place, or ready to classify.
#![no_main]

use congruent_protocol::contract::Contract;
use congruent_protocol::path::TreePath;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Contract::from_toml(text) {
        Ok(contract) => {
            let path = TreePath::new("/var/lib/x\n/y").expect("a path");
            let json = serde_json::to_string(&contract).expect("a contract serialises");
            let again: Contract = serde_json::from_str(&json).expect("and is read again");
            assert_eq!(contract.class_of(&path), again.class_of(&path));
        }
        Err(error) => assert!(error.line >= 1 && error.column >= 1),
    }
});
