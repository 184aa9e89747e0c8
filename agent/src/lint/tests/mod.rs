//! A table for each lint: what it finds, and what nearly is that and is not.

mod credentials;
mod keys;
mod machines;
mod rights;

use congruent_protocol::entry::Entry;
use congruent_protocol::path::TreePath;
use proptest::prelude::*;

use super::testing::file;
use super::{HEAD_BYTES, LONG_HEAD_BYTES, Lint, head_bytes, of};

/// What a key's base64 looks like; half a line of none.
const BODY: &str = "MIICXgIBAAKBgQDu5iSaBzDkKTJTuguUN65qrmZN2RcgWSPGI2hJ2ygS0LzgTC72";
const OPENSSH: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW";
const OPENSSH_ENCRYPTED: &str = "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABBMMSFnRK";
/// What tokens are made of.
const RANDOM: &str = "q7Zt2mV9xLr4KbN8wYc3HsD6fGj1PaTe5UoX0iRkMnBvCyQz";

/// The first lines of a PEM key; made here, so that nobody takes this file for one.
fn pem(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}PRIVATE KEY-----\n{body}\n")
}

#[test]
fn more_is_read_where_it_counts() {
    for (path, bytes) in [
        ("/etc/shadow", LONG_HEAD_BYTES),
        ("/srv/web.pem", LONG_HEAD_BYTES),
        ("/srv/web.txt", HEAD_BYTES),
        ("/", HEAD_BYTES),
    ] {
        assert_eq!(head_bytes(&TreePath::new(path).unwrap()), bytes, "{path}");
    }
}

#[test]
fn every_lint_has_its_own_name() {
    for lint in Lint::ALL {
        assert_eq!(Lint::named(lint.name()), Some(lint));
        assert!(!lint.describe().is_empty());
    }
}

/// Bytes as secrets have them: what the needles begin with, among anything.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = super::keys::NEEDLES.iter().map(|needle| needle.to_vec()).collect();
    parts.extend(super::credentials::TOKENS.iter().map(|token| token.begins.to_vec()));
    let words =
        ["-----BEGIN ", "-----", "\n", "\\n", "\"private_key\"", BODY, RANDOM, "root:", ":", "://a:b@"];
    parts.extend(words.map(|word| word.as_bytes().to_vec()));
    parts.extend([vec![0x30, 0x82], vec![0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2], b"\x7fELF".to_vec()]);
    let part = prop_oneof![prop::sample::select(parts), prop::collection::vec(any::<u8>(), 0..20)];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn whatever_a_file_holds_it_is_looked_at(
        content in bytes(),
        path in prop::sample::select(vec![
            "/", "/etc/shadow", "/etc/machine-id", "/etc/ssh/ssh_host_rsa_key", "/root/.kube/config", "/etc/pip.conf", "/a.pem",
        ]),
        mode in 0_u16..0o10000,
    ) {
        let entry = Entry { mode, ..file(&content) };
        let hits = of(&TreePath::new(path).unwrap(), &entry, &content);
        for (index, hit) in hits.iter().enumerate() {
            prop_assert!(hits[..index].iter().all(|other| other.lint != hit.lint));
            prop_assert!(congruent_protocol::path::plain(hit.detail.as_bytes()).is_some());
            // No detail repeats a secret; accounts are named, whatever they are called.
            for secret in [BODY, RANDOM] {
                prop_assert!(path == "/etc/shadow" || !hit.detail.contains(&secret[..8]));
            }
        }
    }
}
