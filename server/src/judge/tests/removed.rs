//! Old records go, and what nodes stand on stays.

use std::collections::BTreeMap;
use std::time::Instant;

use congruent_protocol::report::findings_digest;

use super::*;
use crate::config::Retention;
use crate::retention::Remover;
use crate::store::{Body, NamedBody, NewReport, PackedBytes, RecordKind, RemovalRow, View};
use crate::testing::{enrolment, large, time};

const TABLES: [&str; 12] = [
    "reports",
    "report_bodies",
    "finding_sets",
    "first_values",
    "decisions",
    "actions",
    "action_history",
    "outbox",
    "subject_states",
    "chain_notes",
    "refusals",
    "audit",
];

impl Bench {
    async fn remove(&self, periods: Retention) {
        let remover = Remover {
            store: self.judge.store.clone(),
            periods,
            clock: self.clock.clock(),
            removed: Metrics::default().removed,
        };
        remover.remove().await.unwrap();
    }

    /// How many rows the tables have that have any.
    async fn rows(&self) -> BTreeMap<&'static str, u64> {
        let counting = self.judge.store.read("count", |view| {
            TABLES.into_iter().map(|table| Ok((table, view.count(table)?))).collect::<Result<_, _>>()
        });
        let mut rows: BTreeMap<_, _> = counting.await.unwrap();
        rows.retain(|_, count| *count > 0);
        rows
    }

    /// A sweep at a time, by the clocks of both.
    async fn sweep_at(&self, at: &str, sequence: u64, findings: Vec<Finding>) {
        self.clock.set(at);
        self.store_only(&Report { reported_at: time(at), ..sweep("web-1", sequence, findings) }).await;
        self.judge.judge_reports().await.unwrap();
    }

    async fn numbers(&self) -> Vec<u64> {
        let reading = self.judge.store.read("read the reports", |view| {
            let mut numbers = Vec::new();
            for sequence in 1..=99 {
                numbers.extend(view.report_digest("web-1", "enr_web-1", sequence)?.map(|_| sequence));
            }
            Ok(numbers)
        });
        reading.await.unwrap()
    }
}

fn days(days: i64) -> Retention {
    Retention::all(SignedDuration::from_hours(24 * days))
}

#[tokio::test]
async fn nothing_is_removed_that_is_not_old_or_where_nobody_said_so() {
    let bench = Bench::with_order().await;
    let before = bench.rows().await;
    bench.remove(days(1)).await;
    assert_eq!(bench.rows().await, before);
    bench.clock.set("2036-03-01T00:00:00Z");
    bench.remove(Retention::default()).await;
    assert_eq!(bench.rows().await, before);
    let removals = bench.judge.store.read("read", RemovalRow::all).await.unwrap();
    assert_eq!(removals, []);
}

#[tokio::test]
async fn a_node_stands_where_it_stood_when_all_before_is_gone() {
    let bench = Bench::new("replace").await;
    for sequence in 1..=4 {
        bench.sweep_at("2026-03-01T00:01:00Z", sequence, vec![]).await;
    }
    bench.sweep_at("2026-03-01T00:02:00Z", 5, vec![added("/bin/old")]).await;
    bench.sweep_at("2026-03-01T00:03:00Z", 6, vec![]).await;
    for sequence in 7..=9 {
        bench.sweep_at("2026-03-01T00:04:00Z", sequence, tampered()).await;
    }
    assert_eq!(bench.shown().await.last().unwrap(), "web-1 proposed: confirmed by the full sweeps 7 and 8");
    let (node, order) = (bench.node("web-1").await, bench.actions().await.remove(0));
    // Ten years later, nobody has said a word since.
    bench.clock.set("2036-03-01T00:00:00Z");
    bench.remove(days(30)).await;
    // The newest, what its decision and its state are about, the last that was clean,
    // and the two that plans look at.
    assert_eq!(bench.numbers().await, [6, 7, 8, 9]);
    assert_eq!(bench.node("web-1").await, node);
    let stands = bench.actions().await;
    assert_eq!((stands.len(), &stands[0].id, stands[0].history.len()), (1, &order.id, order.history.len()));
    let digests = [(vec![added("/bin/old")], false), (tampered(), true)];
    for (set, is_there) in digests {
        let digest = findings_digest(&set);
        let reading = bench.judge.store.read("read a set", move |view| view.finding_set(&digest));
        assert_eq!(reading.await.unwrap().is_some(), is_there);
    }
    assert_eq!(bench.begin_deliveries().await.len(), 1);
    // Again removes no more.
    let before = bench.rows().await;
    bench.remove(days(30)).await;
    assert_eq!(bench.rows().await, before);
    // It goes on, and what stood because of it goes when it is old.
    bench.sweep_at("2036-03-01T00:00:00Z", 10, vec![]).await;
    bench.sweep_at("2036-03-01T00:01:00Z", 11, vec![]).await;
    bench.clock.set("2046-03-01T00:00:00Z");
    bench.remove(days(30)).await;
    // The newest action was planned from 8.
    assert_eq!(bench.numbers().await, [8, 10, 11]);
    let rows = bench.rows().await;
    assert_eq!((rows["decisions"], rows["actions"], rows["finding_sets"]), (2, 1, 1), "{rows:?}");
    let removals = bench.judge.store.read("read", RemovalRow::all).await.unwrap();
    let kinds: Vec<_> = removals.iter().map(|removal| (removal.kind, removal.until)).collect();
    let until = time("2046-01-30T00:00:00Z");
    assert!(kinds.contains(&(RecordKind::Reports, until)), "{kinds:?}");
    let reports = removals.iter().find(|removal| removal.kind == RecordKind::Reports).unwrap();
    assert_eq!(reports.count, 8);
}

#[tokio::test]
async fn what_a_record_refers_to_stays_with_it() {
    let bench = Bench::with_order().await;
    bench.sweep_at("2026-03-02T00:00:00Z", 3, vec![]).await;
    bench.sweep_at("2026-03-02T00:01:00Z", 4, vec![]).await;
    bench.sweep_at("2026-03-02T00:02:00Z", 5, vec![]).await;
    bench.clock.set("2036-03-01T00:00:00Z");
    let only_reports = Retention::only(RecordKind::Reports, SignedDuration::from_hours(24));
    bench.remove(only_reports).await;
    // 1 to 3 are what decisions and states are about.
    assert_eq!(bench.numbers().await, [1, 2, 3, 4, 5]);
    // The newest action is about 2, and what the node is since then about 3.
    bench.remove(days(1)).await;
    assert_eq!(bench.numbers().await, [2, 3, 4, 5]);
}

#[tokio::test]
async fn a_ledger_lasts_as_long_as_its_node_is_enrolled() {
    let bench = Bench::new("report-only").await;
    let at = time("2026-03-01T00:01:00Z");
    let enrolling = bench.judge.store.write("enrol", |tx| tx.insert_enrolment(&enrolment("web-1")));
    enrolling.await.unwrap();
    for sequence in 1..=4 {
        bench.sweep_at("2026-03-01T00:01:00Z", sequence, vec![]).await;
    }
    let value = move |tx: &crate::store::Tx<'_>, id| {
        let first = congruent_protocol::ledger::FirstValue {
            path: crate::testing::path("/etc/machine-id"),
            attributes: congruent_protocol::drift::Attributes::from(&crate::testing::file(b"one")),
        };
        tx.record_first_values("enr_web-1", &crate::testing::root_of(&[]), &[first], (id, at))
    };
    bench.judge.store.write("record", move |tx| value(tx, 2)).await.unwrap();
    bench.clock.set("2036-03-01T00:00:00Z");
    bench.remove(days(30)).await;
    // Its state and its decision are about 1.
    assert_eq!(bench.numbers().await, [1, 2, 3, 4]);
    assert_eq!(bench.rows().await["first_values"], 1);
    let revoking = bench.judge.store.write("revoke", move |tx| {
        tx.revoke_enrolment("web-1", at, "alice", "gone")?;
        tx.delete_node("web-1")
    });
    assert!(revoking.await.unwrap());
    // Of every table the newest row stays, so that its number is not given again: of the
    // decisions that about 1.
    bench.remove(days(30)).await;
    assert_eq!(bench.numbers().await, [1, 4]);
    assert_eq!(bench.rows().await.get("first_values"), None);
}

#[tokio::test]
async fn a_set_that_is_removed_while_its_report_arrives_is_kept_again() {
    let bench = Bench::new("report-only").await;
    let keeping = |tx: &crate::store::Tx<'_>| tx.keep_known_set(&findings_digest(&tampered()), &tampered());
    for _ in 0..2 {
        bench.judge.store.write("keep", move |tx| keeping(tx)).await.unwrap();
        let reading = bench.judge.store.read("read", |view| view.finding_set(&findings_digest(&tampered())));
        assert_eq!(reading.await.unwrap(), Some(tampered()));
    }
}

/// More than are looked at in one transaction, and all at once would hold up others.
#[tokio::test]
async fn many_rows_go_some_at_a_time() {
    const REPORTS: u64 = 4000;
    let bench = Bench::new("report-only").await;
    bench.sweep_at("2026-03-01T00:01:00Z", 1, vec![]).await;
    let like = |view: &View<'_>| Ok(view.newest_report("web-1")?.unwrap().report);
    let like: NewReport = bench.judge.store.read("read", like).await.unwrap();
    let filling = bench.judge.store.write("fill", move |tx| {
        for sequence in 2..=REPORTS {
            let report = NewReport { sequence, late: true, ..like.clone() };
            tx.insert_report(&report, &Body::Row(PackedBytes::of(b"body").unwrap()))?;
        }
        Ok(())
    });
    filling.await.unwrap();
    bench.clock.set("2036-03-01T00:00:00Z");
    let begun = Instant::now();
    bench.remove(days(30)).await;
    let rate = REPORTS as f64 / begun.elapsed().as_secs_f64();
    println!("retention: {REPORTS} reports removed, {rate:.0}/s, the pauses included");
    let rows = bench.rows().await;
    // The node's newest, and the newest of all.
    assert_eq!((rows["reports"], rows["report_bodies"]), (2, 2), "{rows:?}");
}

#[tokio::test]
async fn blobs_go_with_their_reports_and_what_no_report_took_goes_after_a_day() {
    let bench = Bench::new("report-only").await;
    let folder = bench.fixture.path("manifests");
    let files = || std::fs::read_dir(&folder).unwrap().count();
    for sequence in 1..=4 {
        bench.store_only(&large("web-1", sequence)).await;
    }
    bench.judge.judge_reports().await.unwrap();
    // One that was put, whose transaction never came.
    let orphan = PackedBytes::received(vec![7; crate::store::MAX_ROW_BYTES + 1]);
    let Body::Blob(orphan) = bench.judge.store.place(orphan, (bench.clock.clock())()).await.unwrap() else {
        panic!("it went into a row")
    };
    assert_eq!(files(), 5);
    bench.remove(Retention::default()).await;
    assert_eq!(files(), 5);
    bench.clock.set("2026-03-03T00:00:00Z");
    bench.remove(Retention::default()).await;
    assert!(!folder.join(orphan.to_string()).exists());
    assert_eq!(files(), 4);
    // Reports go, and their blobs in the same look; what nodes stand on stays.
    bench.clock.set("2036-03-01T00:00:00Z");
    bench.remove(days(30)).await;
    let kept = bench.numbers().await;
    assert!(kept.len() < 4 && kept.contains(&4), "{kept:?}");
    assert_eq!(files(), kept.len());
    let named = bench.judge.store.read("read", NamedBody::all).await.unwrap();
    assert!(
        named.len() == kept.len() && named.iter().all(|body| folder.join(body.blob.to_string()).exists())
    );
    assert_eq!(
        bench.judge.store.read("count", |view| view.count("report_blobs")).await.unwrap(),
        kept.len() as u64
    );
}

#[tokio::test]
async fn a_blob_that_could_not_be_removed_goes_with_the_next_look() {
    let bench = Bench::new("report-only").await;
    let folder = bench.fixture.path("manifests");
    let bytes = PackedBytes::received(vec![7; crate::store::MAX_ROW_BYTES + 1]);
    let Body::Blob(name) = bench.judge.store.place(bytes, (bench.clock.clock())()).await.unwrap() else {
        panic!("it went into a row")
    };
    let later = time("2026-03-03T00:00:00Z");
    // A folder of that name is not removed as a file.
    let (blob, aside) = (folder.join(name.to_string()), folder.join("aside"));
    std::fs::rename(&blob, &aside).unwrap();
    std::fs::create_dir(&blob).unwrap();
    bench.judge.store.remove_unnamed(later).await.unwrap_err();
    assert_eq!(bench.judge.store.read("count", |view| view.count("report_blobs")).await.unwrap(), 1);
    std::fs::remove_dir(&blob).unwrap();
    std::fs::rename(&aside, &blob).unwrap();
    assert_eq!(bench.judge.store.remove_unnamed(later).await.unwrap(), 1);
    assert_eq!(bench.judge.store.read("count", |view| view.count("report_blobs")).await.unwrap(), 0);
    assert!(!blob.exists());
}
