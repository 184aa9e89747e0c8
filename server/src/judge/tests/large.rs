//! Reports whose bodies lie as blobs are judged as all others, and one that cannot be read
//! holds up nobody else.

use std::fs;

use super::*;
use crate::testing::large;

impl Bench {
    /// Whether each node's newest report was judged.
    async fn unjudged(&self) -> Vec<(String, u64)> {
        let reading = self.judge.store.read("read", |view| view.unjudged_reports(99)).await.unwrap();
        reading.into_iter().map(|row| (row.report.node, row.report.sequence)).collect()
    }

    async fn decided(&self, node: &'static str) -> Vec<State> {
        let reading = self.judge.store.read("read", move |view| view.decisions(Some(node), None, 99));
        reading.await.unwrap().into_iter().map(|row| row.decision.state).collect()
    }
}

#[tokio::test]
async fn a_large_report_is_judged_after_a_restart() {
    let bench = Bench::new("report-only").await;
    bench.store_only(&large("web-1", 1)).await;
    let bench = bench.restart(|_| {}).await;
    assert_eq!(bench.unjudged().await, [("web-1".to_owned(), 1)]);
    bench.judge.plan_anew().await.unwrap();
    assert_eq!(bench.unjudged().await, []);
    assert_eq!(bench.decided("web-1").await, [State::Incomplete]);
}

#[tokio::test]
async fn a_lost_body_is_passed_over_and_others_are_judged() {
    let bench = Bench::with_order().await;
    bench.store_only(&large("web-1", 3)).await;
    fs::remove_dir_all(bench.fixture.path("manifests")).unwrap();
    bench.store_only(&sweep("web-2", 1, vec![])).await;
    bench.judge.judge_reports().await.unwrap();
    assert_eq!(bench.unjudged().await, []);
    assert_eq!(bench.decided("web-2").await, [State::Congruent]);
    assert_eq!(bench.shown().await, ["web-1 held: the body of the node's report cannot be read"]);
    assert!(bench.begin_deliveries().await.is_empty());
    // It holds up no start either, and the next report is judged.
    let bench = bench.restart(|_| {}).await;
    bench.judge.plan_anew().await.unwrap();
    let before = bench.decided("web-1").await.len();
    bench.sweep("web-1", 4, vec![]).await;
    let after = bench.decided("web-1").await;
    assert_eq!((after.len(), after[0]), (before + 1, State::Congruent));
}

#[tokio::test]
async fn a_body_that_is_away_is_judged_once_it_is_back() {
    let bench = Bench::new("report-only").await;
    bench.store_only(&large("web-1", 1)).await;
    bench.store_only(&sweep("web-2", 1, vec![])).await;
    let (folder, aside) = (bench.fixture.path("manifests"), bench.fixture.path("aside"));
    fs::rename(&folder, &aside).unwrap();
    // A loop of links is no answer to whether it is there.
    std::os::unix::fs::symlink(&folder, &folder).unwrap();
    bench.judge.judge_reports().await.unwrap_err();
    assert_eq!(bench.unjudged().await, [("web-1".to_owned(), 1)]);
    assert_eq!(bench.decided("web-2").await, [State::Congruent]);
    fs::remove_file(&folder).unwrap();
    fs::rename(&aside, &folder).unwrap();
    bench.judge.judge_reports().await.unwrap();
    assert_eq!(bench.decided("web-1").await, [State::Incomplete]);
}
