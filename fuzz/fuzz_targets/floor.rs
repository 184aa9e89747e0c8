//! Any text as a contract, held to the floor: the answer comes in bounded time,
//! and each path that is shown as proof is one.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use congruent_protocol::contract::{Class, Contract, Floor, Loosening, glob};
use congruent_protocol::path::TreePath;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(contract) = Contract::from_toml(text) else { return };
    let floor = Floor::default();
    let loosenings = floor.loosenings(&contract);
    for loosening in &loosenings {
        if let Some(path) = shown_path(loosening) {
            check(&floor, &contract, loosening, &path);
        }
    }
    if loosenings.is_empty() {
        let held = suspects(&contract).into_iter().filter(|path| is_beneath(&floor, path));
        for path in held {
            assert!(!is_loose(&contract, &path), "{path} may change, and nothing was said");
            assert!(!contract.may_hide(&path), "{path} may be hidden, and nothing was said");
        }
    }
});

/// Paths that a rule or mount may reach: its own words, with something for each
/// wildcard.
fn suspects(contract: &Contract) -> Vec<TreePath> {
    let rules = contract.rules().iter().map(|rule| rule.path.as_str());
    let words = ["/usr/bin/sh", "/boot/grub/grub.cfg", "/lib64/ld.so", "/sbin", "/bin/a b"];
    let reached = rules.chain(words).map(|glob| {
        let plain = glob.replace("**", "usr/x").replace(['*', '?'], "x").replace(['\\', '[', ']'], "");
        TreePath::new(plain)
    });
    let mounts = contract.mounts().iter().map(|mount| TreePath::new(mount.path.as_str()));
    reached.chain(mounts).filter_map(Result::ok).collect()
}

/// The path that proves it, unless it is escaped or there is none.
fn shown_path(loosening: &Loosening) -> Option<TreePath> {
    let path = loosening.proof.strip_prefix("for instance ")?;
    (!path.contains('\\')).then(|| TreePath::new(path).expect("the proof is a path"))
}

fn check(floor: &Floor, contract: &Contract, loosening: &Loosening, path: &TreePath) {
    assert!(is_beneath(floor, path), "{path} is not in the floor");
    let Some(rule) = loosening.what.strip_prefix("rule ") else {
        return assert!(contract.may_hide(path), "{path} is under no mount that hides");
    };
    let number: usize = rule.split(' ').next().and_then(|n| n.parse().ok()).expect("the rule's number");
    assert!(matches(&contract.rules()[number - 1].path, path.as_bytes()), "rule {number} misses {path}");
    assert!(is_loose(contract, path), "{path} is held fast");
}

fn is_beneath(floor: &Floor, path: &TreePath) -> bool {
    let mut at = Some(path.clone());
    std::iter::from_fn(|| {
        let here = at.take()?;
        at = here.parent();
        Some(here)
    })
    .any(|here| floor.places().iter().any(|place| matches(place, here.as_bytes())))
}

fn matches(pattern: &str, path: &[u8]) -> bool {
    glob(pattern).expect("it was compiled before").compile_matcher().is_match(OsStr::from_bytes(path))
}

fn is_loose(contract: &Contract, path: &TreePath) -> bool {
    let terms = contract.terms_of(path);
    !matches!(terms.class, Class::Immutable | Class::AddOn) || !terms.xattrs.fewer.is_empty()
}
