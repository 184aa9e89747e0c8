//! Two collectors on one PostgreSQL.

use std::sync::{Arc, Mutex};

use super::*;
use crate::store::{Database, LeaseRow, Store};
use crate::subject::SubjectId;
use crate::testing::{enrolment, postgres, time};

/// Remembers what it was to take in.
#[derive(Clone, Default)]
struct Remembering(Arc<Mutex<Vec<String>>>);

impl Sharing for Remembering {
    fn take_in(&self, changes: Changes) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let known = changes.enrolments.iter().map(|row| {
            let standing = if row.revoked_at.is_some() { "revoked" } else { "enrolled" };
            format!("{} {standing}", row.node)
        });
        self.0.lock().unwrap().extend(known);
        Ok(())
    }
}

impl Remembering {
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

async fn two() -> (Database, [(Store, Remembering); 2]) {
    let database = postgres();
    let mut stores = Vec::new();
    for _ in 0..2 {
        let (store, remembering) = (Store::open(&database).unwrap(), Remembering::default());
        store.share(Box::new(remembering.clone())).await.unwrap();
        stores.push((store, remembering));
    }
    (database, stores.try_into().map_err(|_| "two").unwrap())
}

#[tokio::test]
async fn what_one_changes_the_other_has_in_memory_before_its_next_write() {
    let (_database, [(one, known_to_one), (other, known_to_other)]) = two().await;
    for node in ["web-1", "web-2"] {
        one.write("enrol", move |tx| tx.insert_enrolment(&enrolment(node))).await.unwrap();
    }
    let known = known_to_other.clone();
    let found = other.write("look", move |_| Ok(known.taken())).await.unwrap();
    assert_eq!(found, ["web-1 enrolled", "web-2 enrolled"], "before it, and in order");
    let at = time("2026-03-01T00:00:00Z");
    other.write("revoke", move |tx| tx.revoke_enrolment("web-1", at, "alice", "gone")).await.unwrap();
    // Nothing was written here meanwhile: who only reads looks now and then.
    one.take_in_others().await.unwrap();
    assert_eq!(known_to_one.taken(), ["web-1 revoked"], "and nothing of its own");
    one.take_in_others().await.unwrap();
    one.write("nothing", |_| Ok(())).await.unwrap();
    assert_eq!((known_to_one.taken(), known_to_other.taken()), (vec![], vec![]), "once is enough");
}

#[tokio::test]
async fn a_leader_that_leads_no_more_writes_nothing() {
    let (_database, [(one, _), (other, _)]) = two().await;
    let first = one.write("lead", |tx| tx.take_lease("one", None)).await.unwrap().unwrap();
    let lease = other.read("look", LeaseRow::standing).await.unwrap();
    assert_eq!(lease, Some(LeaseRow { holder: "one".to_owned(), token: first, beat: 0 }));
    assert!(one.write("renew", move |tx| tx.renew_lease(first)).await.unwrap());
    let stale = lease.clone();
    let missed = other.write("lead", move |tx| tx.take_lease("other", stale.as_ref())).await.unwrap();
    assert_eq!(missed, None, "its holder showed that it is well in between");
    let leader = one.fenced(first);
    let at = time("2026-03-01T00:00:00Z");
    leader
        .write("put in a node", move |tx| tx.insert_subject(&SubjectId::node("web-1"), "web", at, "new"))
        .await
        .unwrap();
    let lease = other.read("look", LeaseRow::standing).await.unwrap();
    let second =
        other.write("lead", move |tx| tx.take_lease("other", lease.as_ref())).await.unwrap().unwrap();
    assert!(second > first);
    let late = leader
        .write("put in a node", move |tx| tx.insert_subject(&SubjectId::node("web-2"), "web", at, "new"))
        .await;
    assert!(matches!(late, Err(StoreError::Fenced)), "{late:?}");
    assert!(!one.write("renew", move |tx| tx.renew_lease(first)).await.unwrap());
    one.write("give back", move |tx| tx.release_lease(first)).await.unwrap();
    let nodes = one.read("read", |view| Ok((view.nodes()?.len(), LeaseRow::standing(view)?))).await.unwrap();
    assert_eq!(nodes, (1, Some(LeaseRow { holder: "other".to_owned(), token: second, beat: 0 })));
}

#[tokio::test]
async fn what_both_write_at_once_counts_once_each() {
    const EACH: u64 = 150;
    let (_database, [(one, _), (other, _)]) = two().await;
    let at = time("2026-03-01T00:00:00Z");
    let write = |store: Store| async move {
        for _ in 0..EACH {
            // Both read and write the same row.
            let refuse = move |tx: &Tx<'_>| tx.insert_refusal("web-1", at, "malformed", "again");
            store.write("record a refusal", refuse).await.unwrap();
        }
    };
    tokio::join!(write(one.clone()), write(other.clone()));
    let rows = one.read("read", |view| view.refusals("web-1", 9)).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.count).collect::<Vec<_>>(), [2 * EACH]);
    let conflicts = one.metrics().conflicts.get() + other.metrics().conflicts.get();
    println!("{} writes of two collectors to one row: {conflicts} conflicts, none lost", 2 * EACH);
    assert!(conflicts > 0, "they never met");
}

/// During an upgrade, a collector of before stops writing once the first of the newer ones
/// has brought the database to its version.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_collector_took_over_an_older_one_writes_no_more() {
    let (database, [(one, _), _]) = two().await;
    let Database::Postgres(server) = &database else { panic!("{database} is no PostgreSQL") };
    let newer = || server.connect(None).unwrap().batch("UPDATE congruent_schema SET version = version + 1");
    let at = time("2026-03-01T00:00:00Z");
    let put_in = async |node: &'static str| {
        one.write("put in a node", move |tx| tx.insert_subject(&SubjectId::node(node), "web", at, "new"))
            .await
    };
    put_in("web-1").await.unwrap();
    tokio::task::block_in_place(newer).unwrap();
    let refused = put_in("web-2").await.unwrap_err();
    assert!(matches!(refused, StoreError::Newer { .. }), "{refused:?}");
    assert_eq!(one.read("count", |view| Ok(view.nodes()?.len())).await.unwrap(), 1);
}
