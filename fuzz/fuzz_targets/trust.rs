//! Any text as a trust configuration: refused with a place, or thresholds that
//! can be met by different keys.
#![no_main]

use std::io;

use congruent_protocol::digest::Algorithm;
use congruent_protocol::key::{PublicKey, SecretKey};
use congruent_protocol::trust::{TrustError, TrustFile};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let file = match TrustFile::parse(text) {
        Ok(file) => file,
        Err(error) => return assert!(error.line >= 1 && error.column >= 1),
    };
    match file.load(key_at) {
        Ok(trust) => {
            if let Some(signers) = trust.signers_of("web") {
                assert!((1..=signers.keys.len()).contains(&signers.threshold));
            }
            assert!(trust.keys().iter().all(|key| !trust.is_key_revoked(&key.id())));
        }
        Err(TrustError::Toml(error)) => assert!(error.line >= 1 && error.column >= 1),
        Err(TrustError::Key { line, path, .. }) => assert!(line >= 1 && path.starts_with("no ")),
    }
});

/// A key of its own for each path, except where the path says that there is none.
fn key_at(path: &str) -> Result<PublicKey, io::Error> {
    if path.starts_with("no ") {
        return Err(io::Error::other("no such key"));
    }
    Ok(SecretKey::from_seed(*Algorithm::Sha256.digest(path.as_bytes()).as_bytes()).public())
}
