//! A group of the store that changes while its nodes are judged.

use jiff::SignedDuration;

use super::*;
use crate::config::Mode;
use crate::testing::fleet;

/// Both nodes are in the group `fleet`, which accepts what they have.
async fn bench(mode: Mode) -> Bench {
    let fixture = Fixture::new("replace");
    std::fs::create_dir(fixture.path("policy")).unwrap();
    fixture.write("policy/rules.rego", RULES.as_bytes());
    let toml = server_toml("replace").replace("in web", "in fleet");
    fixture.write("server.toml", toml.as_bytes());
    let bench = Bench::start(fixture).await;
    bench.put(1, true, mode);
    bench
}

impl Bench {
    fn put(&self, version: u64, accepts: bool, mode: Mode) {
        let config = &self.judge.config;
        config.groups.put(fleet(&self.fixture, config, version, accepts, mode));
        config.groups.mark_changed("fleet");
    }

    /// Takes a change into the store, as the editor does, and judges what follows.
    async fn regroup(&self, version: u64, accepts: bool, mode: Mode) {
        self.put(version, accepts, mode);
        let (config, now) = (Arc::clone(&self.judge.config), (self.clock.clock())());
        let group = config.groups.get("fleet").unwrap();
        let taking = self.judge.store.write("regroup", move |tx| reconcile_group(tx, &config, &group, now));
        taking.await.unwrap();
    }
}

#[tokio::test]
async fn what_was_judged_under_an_older_version_is_judged_again() {
    let bench = bench(Mode::Replace).await;
    bench.sweep("web-1", 1, tampered()).await;
    bench.store_only(&sweep("web-1", 2, tampered())).await;
    let case = bench
        .judge
        .store
        .read("read", |view| NextReports::read(view, &Fresh::default()))
        .await
        .unwrap()
        .cases
        .remove(0);
    let older = bench.judge.config.groups.get("fleet").unwrap();
    let judgement = Judgement::reach(case, &older, &bench.judge.policy, SignedDuration::ZERO);
    // Between policy's answer and the transaction, the brake is pulled.
    bench.put(2, true, Mode::ReportOnly);
    let (config, now) = (Arc::clone(&bench.judge.config), (bench.clock.clock())());
    let new_id = bench.judge.new_id;
    let concluding = bench.judge.store.write("conclude", move |tx| {
        conclude::conclude(tx, &judgement, &Context { config: &config, now, new_id })
    });
    assert!(!concluding.await.unwrap().has_order());
    assert_eq!(bench.shown().await, ["web-1 held: waiting for a second full sweep"]);
    bench.judge.judge_reports().await.unwrap();
    assert_eq!(bench.shown().await, ["web-1 held: group fleet is report-only"]);
}

#[tokio::test]
async fn orders_wait_until_they_are_planned_under_the_new_version() {
    let bench = bench(Mode::Replace).await;
    bench.sweep("web-1", 1, tampered()).await;
    bench.sweep("web-1", 2, tampered()).await;
    assert_eq!(bench.shown().await, ["web-1 proposed: confirmed by the full sweeps 1 and 2"]);
    bench.regroup(2, false, Mode::Replace).await;
    let waits = "web-1 held: the group fleet was changed; the order waits until its new version calls for it";
    assert_eq!(bench.shown().await, [waits]);
    assert!(bench.begin_deliveries().await.is_empty());
    bench.judge.judge_changed().await.unwrap();
    assert_eq!(bench.shown().await, [waits]);
    assert_eq!(bench.node("web-1").await.state, State::Unknown);
    // Accepted again: the next sweeps tell.
    bench.regroup(3, true, Mode::Replace).await;
    bench.judge.judge_changed().await.unwrap();
    for sequence in [3, 4] {
        bench.sweep("web-1", sequence, tampered()).await;
    }
    assert!(bench.shown().await[0].starts_with("web-1 proposed: confirmed by"), "{:?}", bench.shown().await);
}

#[tokio::test]
async fn a_group_that_begins_to_replace_orders_without_another_report() {
    let bench = bench(Mode::ReportOnly).await;
    bench.sweep("web-1", 1, tampered()).await;
    bench.sweep("web-1", 2, tampered()).await;
    assert_eq!(bench.shown().await, ["web-1 held: group fleet is report-only"]);
    bench.regroup(2, true, Mode::Replace).await;
    bench.judge.judge_changed().await.unwrap();
    assert_eq!(bench.shown().await, ["web-1 proposed: confirmed by the full sweeps 1 and 2"]);
}
