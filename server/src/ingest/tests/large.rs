//! Reports that no row holds lie as blobs, and count like all others.

use std::fs;
use std::path::PathBuf;

use jiff::SignedDuration;

use super::*;
use crate::blobs::BlobName;
use crate::store::{NamedBody, StoreError};
use crate::testing::{large, time};

impl Bench {
    /// The files of blobs.
    fn blobs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder()).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn folder(&self) -> PathBuf {
        self._fixture.path("manifests")
    }

    async fn named(&self) -> Vec<NamedBody> {
        self.ingest.store.read("read", NamedBody::all).await.unwrap()
    }

    /// How many rows the tables of reports, their bodies and their blobs have.
    async fn rows(&self) -> [u64; 3] {
        let counting = self.ingest.store.read("count", |view| {
            Ok([view.count("reports")?, view.count("report_bodies")?, view.count("report_blobs")?])
        });
        counting.await.unwrap()
    }

    /// The bytes of a report, as they were sent.
    async fn sealed(&self, sequence: u64) -> Result<Vec<u8>, StoreError> {
        let reading = self.ingest.store.read("read a report", move |view| {
            let row = view.report_numbered("web-1", "enr_web-1", sequence)?.unwrap();
            view.sealed_report(row.id)
        });
        reading.await
    }

    /// A large report up to its transaction.
    async fn placed(&self, report: &Report) -> Checked {
        let now = (self.clock.clock())();
        let sender = self.ingest.config.nodes.get("web-1").unwrap();
        let read = self.ingest.read(sender, bytes_of(report).into(), now).await.unwrap();
        let checked = match read {
            Read::Opened(opened) => self.ingest.check(*opened, now).await.unwrap(),
            Read::Checked(checked) => *checked,
        };
        self.ingest.place(checked, now).await.unwrap()
    }
}

fn bytes_of(report: &Report) -> Vec<u8> {
    let Ok(told) = report.clone().try_map(|set| Ok::<_, Infallible>(SetChange::between(None, &set).0));
    sealed_by("web-1", report.sequence, &serde_json::to_vec(&told).unwrap())
}

#[tokio::test]
async fn a_large_body_lies_as_a_blob_and_comes_back_as_it_was_sent() {
    let bench = Bench::new();
    bench.send(&sweep("web-1", 1, vec![])).await.unwrap();
    assert_eq!((bench.rows().await, bench.blobs().len()), ([1, 1, 0], 0));
    let sent = large("web-1", 2);
    assert_eq!(bench.send(&sent).await.unwrap().state, State::Incomplete);
    assert_eq!((bench.rows().await, bench.blobs().len()), ([2, 1, 1], 1));
    let [named] = &bench.named().await[..] else { panic!("not one blob") };
    assert_eq!((named.node.as_str(), named.sequence), ("web-1", 2));
    let file = fs::read(bench.folder().join(named.blob.to_string())).unwrap();
    assert_eq!(Algorithm::Blake3.digest(&file), *named.blob.digest());
    assert!(bench.sealed(2).await.unwrap() == bytes_of(&sent), "other bytes came back");
    let reading = bench.ingest.store.read("read", |view| {
        let row = view.report_numbered("web-1", "enr_web-1", 2)?.unwrap();
        Ok((view.report_body(row.id)?, view.root_of("web-1")?))
    });
    assert_eq!(reading.await.unwrap(), (sent.clone(), Some(root_of(&[]))));
    // Sent again it counts once; what conflicts with it is held to it.
    assert!(bench.send(&sent).await.unwrap().duplicate);
    let mut other = sweep("web-1", 2, vec![]);
    other.boot = "boot-2".to_owned();
    assert_eq!(bench.send(&other).await.unwrap_err().code(), "cloned");
    assert_eq!((bench.rows().await, bench.blobs().len()), ([2, 1, 1], 1));
}

#[tokio::test]
async fn what_cannot_be_put_is_refused_for_now_and_taken_later() {
    let bench = Bench::new();
    fs::remove_dir_all(bench.folder()).unwrap();
    fs::write(bench.folder(), "no folder").unwrap();
    let refused = bench.send(&large("web-1", 1)).await.unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("store-unavailable", 503));
    assert!(!refused.is_evidence() && !refused.is_final());
    assert_eq!(bench.rows().await[..2], [0, 0]);
    // Small ones are taken all the while.
    bench.send(&sweep("web-1", 1, vec![])).await.unwrap();
    fs::remove_file(bench.folder()).unwrap();
    bench.send(&large("web-1", 2)).await.unwrap();
    assert_eq!((bench.rows().await[..2].to_vec(), bench.blobs().len()), (vec![2, 1], 1));
}

#[tokio::test]
async fn a_body_that_is_altered_or_missing_is_named_with_its_report() {
    let bench = Bench::new();
    bench.send(&large("web-1", 1)).await.unwrap();
    bench.send(&large("web-1", 2)).await.unwrap();
    let lost = bench.named().await.into_iter().find(|named| named.sequence == 2).unwrap().blob;
    let (file, good) = (bench.folder().join(lost.to_string()), bench.sealed(2).await.unwrap());
    let whole = fs::read(&file).unwrap();
    let mut altered = whole.clone();
    altered[1000] ^= 1;
    for (content, says) in [
        (Some(&altered[..]), "not what its name says"),
        (Some(&whole[1..]), "not what"),
        (None, "is missing"),
    ] {
        match content {
            Some(content) => fs::write(&file, content).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let error = bench.sealed(2).await.unwrap_err();
        assert!(error.is_lost_body());
        let told = chain_of(&error);
        assert!(told.contains("report 2 of node \"web-1\"") && told.contains(&lost.to_string()), "{told}");
        assert!(told.contains(says) && told.contains("from a backup") && !told.contains("import"), "{told}");
        bench.sealed(1).await.unwrap();
    }
    fs::write(&file, &whole).unwrap();
    assert!(bench.sealed(2).await.unwrap() == good);
}

#[tokio::test]
async fn what_was_marked_before_its_report_took_it_is_put_anew() {
    let bench = Bench::new();
    let report = large("web-1", 1);
    let placed = bench.placed(&report).await;
    assert_eq!((bench.rows().await, bench.blobs().len()), ([0, 0, 1], 1));
    // A day less a moment later it may still be taken; then it is gone.
    let now = (bench.clock.clock())();
    let day = SignedDuration::from_hours(24);
    assert_eq!(bench.ingest.store.remove_unnamed(now + day).await.unwrap(), 0);
    assert_eq!(bench.blobs().len(), 1);
    let moment = SignedDuration::from_secs(1);
    assert_eq!(bench.ingest.store.remove_unnamed(now + day + moment).await.unwrap(), 1);
    assert_eq!((bench.rows().await, bench.blobs().len()), ([0, 0, 0], 0));
    let late = bench.ingest.keep(placed, now).await.unwrap_err();
    assert_eq!((late.status(), late.is_final()), (503, false));
    assert_eq!(bench.rows().await, [0, 0, 0]);
    bench.send(&report).await.unwrap();
    assert_eq!((bench.rows().await, bench.blobs().len()), ([1, 0, 1], 1));
    bench.sealed(1).await.unwrap();
}

#[tokio::test]
async fn of_one_report_that_is_put_twice_at_once_one_blob_stays() {
    let bench = Bench::new();
    let report = large("web-1", 1);
    let (one, other) = (bench.placed(&report).await, bench.placed(&report).await);
    let now = (bench.clock.clock())();
    assert!(!bench.ingest.keep(one, now).await.unwrap().duplicate);
    assert!(bench.ingest.keep(other, now).await.unwrap().duplicate);
    assert_eq!((bench.rows().await, bench.blobs().len()), ([1, 0, 2], 2));
    bench.ingest.store.remove_unnamed(time("2026-03-09T00:00:00Z")).await.unwrap();
    let kept: Vec<BlobName> = bench.named().await.into_iter().map(|named| named.blob).collect();
    assert_eq!(bench.blobs(), [bench.folder().join(kept[0].to_string())]);
    assert_eq!(bench.rows().await, [1, 0, 1]);
    assert!(bench.sealed(1).await.unwrap() == bytes_of(&report));
}
