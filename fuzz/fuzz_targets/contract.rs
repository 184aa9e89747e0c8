//! Any text as a contract: refused with a place, or ready to classify, by the
//! same rule as each glob on its own would have it.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use congruent_protocol::contract::{Contract, glob};
use congruent_protocol::path::TreePath;

/// Beyond what the rules' own words make.
const PATHS: [&[u8]; 4] = [b"/var/lib/x\n/y", b"/usr", b"/tmp/\xff/a-b", b"/a/b/c/d"];
/// So many are looked at, from each end.
const MAX_RULES: usize = 8;

libfuzzer_sys::fuzz_target!(|text: &str| {
    match Contract::from_toml(text) {
        Ok(contract) => {
            let json = serde_json::to_string(&contract).expect("a contract serialises");
            let again: Contract = serde_json::from_str(&json).expect("and is read again");
            for path in paths(&contract) {
                let at = contract.rule_index_for(&path);
                assert_eq!(at, again.rule_index_for(&path));
                assert_eq!(at, one_by_one(&contract, &path), "the rule for {path}");
            }
        }
        Err(error) => assert!(error.line >= 1 && error.column >= 1),
    }
});

fn paths(contract: &Contract) -> Vec<TreePath> {
    let rules = contract.rules();
    let some = rules.iter().take(MAX_RULES).chain(rules.iter().rev().take(MAX_RULES));
    let words = some.map(|rule| {
        let plain = rule.path.replace("**", "a/b").replace(['*', '?'], "a").replace(['\\', '[', ']'], "");
        plain.into_bytes()
    });
    words.chain(PATHS.map(<[u8]>::to_vec)).filter_map(|path| TreePath::new(path).ok()).collect()
}

/// The last rule whose glob, compiled alone, matches. Of `/` only `/` does.
fn one_by_one(contract: &Contract, path: &TreePath) -> Option<usize> {
    contract.rules().iter().rposition(|rule| {
        if path.is_root() || rule.path == "/" {
            return path.is_root() && rule.path == "/";
        }
        let glob = glob(&rule.path).expect("it was compiled before");
        glob.compile_matcher().is_match(OsStr::from_bytes(path.as_bytes()))
    })
}
