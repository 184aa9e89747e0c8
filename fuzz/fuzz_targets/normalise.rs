//! One path under any terms, with anything baked, recorded and observed: what
//! contributes follows from the finding, and the collector derives the same root
//! from the finding alone.
#![no_main]

use arbitrary::{Result, Unstructured};
use congruent_fuzz::{XATTRS, entry};
use congruent_protocol::contract::{Class, Contract, Forbidden, Terms};
use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::drift::{Field, Finding};
use congruent_protocol::entry::{Entry, Node};
use congruent_protocol::ledger::{FirstValue, Ledger};
use congruent_protocol::manifest::ListedEntry;
use congruent_protocol::normalise::{Contributes, Normalised, Sides, normalise};
use congruent_protocol::path::TreePath;
use congruent_protocol::recompute::recompute;
use congruent_protocol::tree::{Contribution, TreeHasher};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // What ends too early makes nothing.
    let _ = run(&mut Unstructured::new(bytes));
});

fn run(bytes: &mut Unstructured<'_>) -> Result<()> {
    let Some(contract) = contract(bytes)? else { return Ok(()) };
    let path = TreePath::new("/p").expect("a path");
    let terms = contract.terms_of(&path);
    let mut side = |is_possible: bool| -> Result<Option<Entry>> {
        let is_there = bytes.ratio(3, 4)? && is_possible;
        is_there.then(|| entry(bytes, |name| terms.xattrs.contains(name))).transpose()
    };
    let (baked, first) = (side(true)?, side(terms.class.admits_first_values())?);
    let mut observed = side(true)?;
    if bytes.ratio(1, 8)? {
        hide_content(observed.as_mut());
    }
    let sides = Sides { baked: baked.as_ref(), first: first.as_ref(), observed: observed.as_ref() };
    let normalised = normalise(&path, terms, sides);
    check(&path, terms, sides, &normalised);
    let seen = root(|hasher| normalised.contribute(hasher, &path, terms, sides).expect("in order"));
    let told = normalised.finding.as_ref().map(over_the_wire);
    let derived = derive(&contract, &path, baked.as_ref(), first.as_ref(), told.as_slice());
    assert_eq!(derived, seen, "the collector's root of {told:?}");
    Ok(())
}

/// A contract of one rule, unless it contradicts itself.
fn contract(bytes: &mut Unstructured<'_>) -> Result<Option<Contract>> {
    let mut some = |all: &[&str]| -> Result<Vec<String>> {
        let mut kept = Vec::new();
        for word in all {
            if bytes.ratio(1, 3)? {
                kept.push((*word).to_owned());
            }
        }
        Ok(kept)
    };
    let (forbid, more, fewer) = (some(&Forbidden::ALL.map(Forbidden::name))?, some(&XATTRS)?, some(&XATTRS)?);
    let class = bytes.choose(&Class::RULED)?.name();
    let json = serde_json::json!({
        "rules": [{
            "path": "/p", "class": class, "forbid": forbid, "mtime": bytes.arbitrary::<bool>()?,
            "xattrs": more, "ignore_xattrs": fewer,
        }],
        "mounts": [],
    });
    Ok(serde_json::from_value(json).ok())
}

fn hide_content(entry: Option<&mut Entry>) {
    if let Some(Entry { node: Node::File { content, .. }, .. }) = entry {
        *content = None;
    }
}

fn check(path: &TreePath, terms: &Terms, sides: Sides<'_>, normalised: &Normalised) {
    let Some(finding) = &normalised.finding else {
        assert!(matches!(normalised.contributes, Contributes::Baked | Contributes::Nothing));
        let (seen, baked) = (own_root(path, terms, sides, normalised), baked_root(path, terms, sides));
        return assert_eq!(seen, baked, "nothing was found");
    };
    assert!(!normalised.is_first_value && finding.class == terms.class);
    // Neither a size nor what could not be read shows in the root.
    let is_shown = finding.fields != [Field::Size] && sides.observed.is_none_or(is_read);
    if is_shown {
        assert_ne!(own_root(path, terms, sides, normalised), baked_root(path, terms, sides), "{finding:?}");
    }
}

fn is_read(entry: &Entry) -> bool {
    !matches!(entry.node, Node::File { content: None, .. })
}

fn own_root(path: &TreePath, terms: &Terms, sides: Sides<'_>, normalised: &Normalised) -> Digest {
    root(|hasher| normalised.contribute(hasher, path, terms, sides).expect("in order"))
}

fn baked_root(path: &TreePath, terms: &Terms, sides: Sides<'_>) -> Digest {
    root(|hasher| {
        if let Some(baked) = sides.baked {
            hasher.push(path, Contribution::of(baked, terms)).expect("in order");
        }
    })
}

fn root(push: impl FnOnce(&mut TreeHasher)) -> Digest {
    let mut hasher = TreeHasher::new(Algorithm::Blake3);
    let top = Entry::empty();
    hasher.push(&TreePath::root(), Contribution::of(&top, Terms::immutable())).expect("the first");
    push(&mut hasher);
    hasher.finish()
}

fn over_the_wire(finding: &Finding) -> Finding {
    let json = serde_json::to_vec(finding).expect("a finding serialises");
    let again: Finding = serde_json::from_slice(&json).expect("and is read again");
    assert_eq!(again, *finding);
    again
}

fn derive(
    contract: &Contract,
    path: &TreePath,
    baked: Option<&Entry>,
    first: Option<&Entry>,
    findings: &[Finding],
) -> Digest {
    let root = ListedEntry { path: TreePath::root(), entry: Entry::empty() };
    let baked = baked.map(|entry| ListedEntry { path: path.clone(), entry: entry.clone() });
    let entries = [Some(root), baked].into_iter().flatten().map(Ok);
    let mut ledger = Ledger::empty(Algorithm::Blake3.digest(b""));
    let first = first.map(|entry| FirstValue { path: path.clone(), attributes: entry.into() });
    let at = "2026-01-02T03:04:05Z".parse().expect("a time");
    ledger.record(first.as_slice(), at).expect("an entry's attributes are one");
    recompute(entries, Algorithm::Blake3, contract, &[], &ledger, findings).expect("our own finding holds")
}
