use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::contract::Class;
use crate::drift::Attributes;
use crate::testing::{file, path};

fn added(at: &str, content: &[u8]) -> Finding {
    Finding::added(&path(at), Class::Immutable, Attributes::from(&file(content)))
}

/// Findings at `/dNN/fNNNN`, so that order by number is tree order.
fn many(count: usize) -> Vec<Finding> {
    (0..count).map(|at| added(&format!("/d{:02}/f{at:06}", at / 2000), b"x")).collect()
}

fn apply(change: SetChange, base: Option<&[Finding]>, pages: &[Page]) -> Result<Vec<Finding>, ChangeError> {
    let pages: HashMap<Digest, Vec<u8>> =
        pages.iter().map(|page| (page.id.digest, page.json.clone())).collect();
    let known = |name: &Digest| base.filter(|base| findings_digest(base) == *name).map(<[_]>::to_vec);
    change.apply(known, |digest| pages.get(digest).cloned())
}

#[test]
fn a_small_change_costs_what_changed() {
    let (base, mut now) = (many(3000), many(3000));
    now.remove(7);
    now[20] = added("/d00/f000021", b"other");
    let (change, pages) = SetChange::between(Some(&base), &now);
    assert_eq!((change.added.len(), change.resolved.len(), pages.len()), (1, 1, 0));
    assert!(serde_json::to_vec(&change).unwrap().len() < 1000);
    assert_eq!(apply(change, Some(&base), &pages).unwrap(), now);
    let (unchanged, _) = SetChange::between(Some(&now), &now);
    assert!(unchanged.added.is_empty() && unchanged.resolved.is_empty());
}

#[test]
fn a_large_set_goes_ahead_in_pages() {
    let now = many(30_000);
    let (change, pages) = SetChange::between(None, &now);
    assert!(pages.len() > 2 && pages.iter().all(|page| page.json.len() <= PAGE_BYTES + 1));
    assert!(serde_json::to_vec(&change).unwrap().len() < 10_000);
    assert_eq!(change.cover.len(), 15);
    assert_eq!((change.cover[1].path.to_string(), change.cover[1].count), ("/d01".to_owned(), 2000));
    assert_eq!(apply(change.clone(), None, &pages).unwrap(), now);
    match apply(change, None, &pages[1..]).unwrap_err() {
        ChangeError::MissingPages(missing) => assert_eq!(missing, [pages[0].id.digest]),
        other => panic!("{other}"),
    }
}

#[test]
fn what_does_not_lead_to_the_set_is_refused() {
    let (base, now) = (many(3), many(5));
    let honest = || SetChange::between(Some(&base), &now).0;
    let large = many(4000);
    let (paged, pages) = SetChange::between(None, &large);
    let changed = |change: fn(&mut SetChange)| {
        let mut changed = honest();
        change(&mut changed);
        apply(changed, Some(&base), &[]).unwrap_err().to_string()
    };
    for (error, says) in [
        (apply(honest(), None, &[]).unwrap_err().to_string(), "not known here; send the whole set"),
        (changed(|change| drop(change.added.pop())), "come to the set"),
        (changed(|change| change.count = 4), "come to the set"),
        (changed(|change| change.added.swap(0, 1)), "not in tree order"),
        (changed(|change| change.resolved = vec![path("/none")]), "was no finding of the base"),
        (changed(|change| change.cover = covers(&[&many(1)[0]])), "cover"),
        (apply(SetChange { cover: vec![], ..paged.clone() }, None, &pages).unwrap_err().to_string(), "cover"),
        (
            apply(SetChange { pages: vec![paged.pages[0].clone(); MAX_PAGES + 1], ..paged }, None, &pages)
                .unwrap_err()
                .to_string(),
            "the limit is",
        ),
    ] {
        assert!(error.contains(says), "{error}");
    }
}

proptest! {
    #[test]
    fn every_difference_leads_there(
        base in prop::collection::btree_map("[a-c]{1,3}", 0..3_u8, 0..20),
        now in prop::collection::btree_map("[a-c]{1,3}", 0..3_u8, 0..20),
    ) {
        let set = |of: &std::collections::BTreeMap<String, u8>| -> Vec<Finding> {
            of.iter().map(|(name, value)| added(&format!("/{name}"), &[*value])).collect()
        };
        let (base, now) = (set(&base), set(&now));
        let (change, pages) = SetChange::between(Some(&base), &now);
        prop_assert_eq!(apply(change, Some(&base), &pages).unwrap(), now);
    }
}
