mod containers;
mod enrolled;
mod large;
mod regrouped;
mod removed;
mod restart;

use congruent_protocol::action::{ActionState, Order};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::drift::Finding;
use congruent_protocol::report::Report;

use super::*;
use crate::blobs::Blobs;
use crate::ingest::Ingest;
use crate::metrics::Metrics;
use crate::policy::PolicyInput;
use crate::record::{ActionRecord, DecisionRecord};
use crate::store::{ActionFilter, DueDelivery};
use crate::testing::{Fixture, StandingClock, added, sealed, server_toml, sweep, tampered, wait_for};

/// Replaces what is divergent, but not in `dev`; fails in `broken`, and on
/// `web-2` where it has two findings.
const RULES: &str = r#"
package congruent

default decision := {"action": "observe", "severity": "low", "reasons": ["not seen"], "controls": []}

decision := {"action": "none", "severity": "none", "reasons": [], "controls": []} if input.state == "congruent"

decision := {
    "action": "replace",
    "severity": "high",
    "reasons": [sprintf("%d findings", [input.findings_total])],
    "controls": ["PCI-DSS-11.5.2"],
} if {
    input.state == "divergent"
    input.subject.environment != "dev"
    fails == false
}

fails if {
    input.subject.environment == "broken"
    to_number("x")
}

fails if {
    input.subject.node == "web-2"
    input.findings_total == 2
    to_number("x")
}

default fails := false
"#;

struct Bench {
    judge: Judge,
    ingest: Ingest,
    clock: StandingClock,
    fixture: Fixture,
}

impl Bench {
    async fn new(mode: &str) -> Self {
        Self::with(Fixture::new(mode), RULES).await
    }

    async fn with(fixture: Fixture, rules: &str) -> Self {
        std::fs::create_dir(fixture.path("policy")).unwrap();
        fixture.write("policy/rules.rego", rules.as_bytes());
        Self::start(fixture).await
    }

    async fn start(fixture: Fixture) -> Self {
        let clock = StandingClock::at("2026-03-01T00:00:20Z");
        let config = Arc::new(fixture.config());
        let store = wait_for("the store's lock", || async { Store::open(&config.database).ok() }).await;
        store.keep_bodies_in(Blobs::open(&config.blobs).unwrap());
        let (ready, scope) = ((clock.clock())(), Arc::clone(&config));
        let preparing = store.write("prepare", move |tx| {
            tx.resume_deliveries(ready)?;
            reconcile(tx, &scope, ready)
        });
        preparing.await.unwrap();
        let judge = Judge {
            metrics: Metrics::default().judging,
            computing: Computing::default(),
            policy: Arc::new(Policy::from_directory(&fixture.path("policy")).unwrap()),
            store: store.clone(),
            config: Arc::clone(&config),
            clock: clock.clock(),
            new_id: || format!("act_{}", uuid::Uuid::new_v4().simple()),
            ready,
            signals: Signals::default(),
            liveness: Arc::default(),
            fresh: Arc::default(),
            lag: SignedDuration::ZERO,
        };
        let ingest = Ingest {
            config,
            store,
            clock: clock.clock(),
            judge: Arc::default(),
            budget: Arc::default(),
            arrived: Arc::default(),
            metrics: Metrics::default(),
            computing: Computing::default(),
        };
        Self { judge, ingest, clock, fixture }
    }

    /// Ends the collector, and starts another with the same store.
    async fn restart(self, change: impl FnOnce(&Fixture)) -> Self {
        let Self { fixture, judge, ingest, .. } = self;
        drop((judge, ingest));
        change(&fixture);
        Self::start(fixture).await
    }

    async fn store_only(&self, report: &Report) {
        let node = self.ingest.config.nodes.get(&report.node).unwrap();
        self.ingest.take(node, sealed(report)).await.unwrap();
    }

    async fn sweep(&self, node: &str, sequence: u64, findings: Vec<Finding>) {
        self.store_only(&sweep(node, sequence, findings)).await;
        self.judge.judge_reports().await.unwrap();
    }

    /// A bench with an order for `web-1` in its outbox.
    async fn with_order() -> Self {
        let bench = Self::new("replace").await;
        bench.sweep("web-1", 1, tampered()).await;
        bench.sweep("web-1", 2, tampered()).await;
        assert_eq!(bench.shown().await, ["web-1 proposed: confirmed by the full sweeps 1 and 2"]);
        bench
    }

    /// Begins what is due, as the outbox does.
    async fn begin_deliveries(&self) -> Vec<DueDelivery> {
        let now = (self.clock.clock())();
        self.judge.store.write("begin", move |tx| tx.begin_deliveries(now, 9)).await.unwrap()
    }

    /// Starts another collector with `toml`, as serve does, and has it plan anew.
    async fn restart_with(self, toml: &str) -> Self {
        let bench = self.restart(|fixture| fixture.write("server.toml", toml.as_bytes())).await;
        bench.judge.plan_anew().await.unwrap();
        bench
    }

    async fn judge_all(&self) {
        self.judge.judge_nodes(self.judge.config.nodes.ids()).await.unwrap();
    }

    async fn actions(&self) -> Vec<ActionRecord> {
        let reading = self.judge.store.read("read the actions", |view| {
            let rows = view.actions(&ActionFilter::default(), 99)?.into_iter();
            rows.map(|row| ActionRecord::read(view, row)).collect()
        });
        reading.await.unwrap()
    }

    /// The actions as `node state: reason`, the oldest first.
    async fn shown(&self) -> Vec<String> {
        let actions = self.actions().await;
        let show =
            |action: &ActionRecord| format!("{} {}: {}", action.node, action.state.name(), action.reason);
        actions.iter().rev().map(show).collect()
    }

    async fn decisions(&self) -> Vec<DecisionRecord> {
        let rows = self.judge.store.read("read the decisions", |view| view.decisions(None, None, 99)).await;
        rows.unwrap().into_iter().map(Into::into).collect()
    }

    async fn node(&self, id: &'static str) -> SubjectRow {
        self.judge.store.read("read a node", move |view| view.node(id)).await.unwrap().unwrap()
    }

    async fn order(&self, id: String) -> Option<Order> {
        let body = self.judge.store.read("read an order", move |view| view.order(&id)).await.unwrap();
        body.map(|body| serde_json::from_slice(&body).unwrap())
    }
}

#[tokio::test]
async fn a_second_full_sweep_orders_and_a_clean_one_withdraws() {
    let bench = Bench::new("replace").await;
    bench.sweep("web-1", 1, tampered()).await;
    assert_eq!(bench.shown().await, ["web-1 held: waiting for a second full sweep"]);
    bench.sweep("web-1", 2, tampered()).await;
    assert_eq!(bench.shown().await, ["web-1 proposed: confirmed by the full sweeps 1 and 2"]);
    let action = bench.actions().await.remove(0);
    let order = bench.order(action.id.clone()).await.unwrap();
    assert_eq!((&order.action_id, order.order_type.as_str()), (&action.id, "congruent.action.replace"));
    assert_eq!((order.findings_total, order.findings), (1, tampered()));
    assert_eq!(order.manifest.unwrap().signed_by.len(), 1);
    // The same again changes nothing.
    bench.sweep("web-1", 3, tampered()).await;
    assert_eq!(bench.actions().await[0].history.len(), 2);
    bench.sweep("web-1", 4, vec![]).await;
    assert_eq!(bench.shown().await, ["web-1 withdrawn: the node is congruent again"]);
    assert_eq!(bench.order(action.id).await, None);
}

#[tokio::test]
async fn decisions_are_recorded_when_their_ground_changes_and_can_be_replayed() {
    let bench = Bench::new("report-only").await;
    for sequence in 1..=3 {
        bench.sweep("web-1", sequence, vec![]).await;
    }
    for (sequence, findings) in [(4, tampered()), (5, tampered()), (6, vec![added("/bin/new")])] {
        bench.sweep("web-1", sequence, findings).await;
    }
    bench.sweep("web-1", 7, vec![]).await;
    let decisions = bench.decisions().await;
    let sequences: Vec<_> = decisions.iter().rev().map(|decision| decision.sequence).collect();
    assert_eq!(sequences, [Some(1), Some(4), Some(6), Some(7)]);
    for decision in decisions {
        let id = decision.id;
        let input =
            bench.judge.store.read("read", move |view| view.decision_input(id)).await.unwrap().unwrap();
        assert_eq!(Algorithm::Blake3.digest(&input), decision.input_digest);
        let asked: PolicyInput = serde_json::from_slice(&input).unwrap();
        assert_eq!(bench.judge.policy.decide(&asked).unwrap(), decision.decision.unwrap());
        assert_eq!(serde_json::to_vec(&asked).unwrap(), input, "equal to the byte");
    }
}

#[tokio::test]
async fn one_action_is_open_in_a_group_and_the_next_follows() {
    let bench = Bench::new("replace").await;
    for node in ["web-1", "web-2"] {
        bench.sweep(node, 1, tampered()).await;
        bench.sweep(node, 2, tampered()).await;
    }
    let first = bench.actions().await.pop().unwrap().id;
    let held = format!("web-2 held: action {first} of node web-1 is open in group web");
    assert_eq!(bench.shown().await, ["web-1 proposed: confirmed by the full sweeps 1 and 2", &held]);
    bench.sweep("web-1", 3, vec![]).await;
    bench.judge.judge_held().await.unwrap();
    let proposed = "web-2 proposed: confirmed by the full sweeps 1 and 2";
    assert_eq!(bench.shown().await, ["web-1 withdrawn: the node is congruent again", proposed]);
}

#[tokio::test]
async fn report_only_holds_until_the_group_replaces() {
    let bench = Bench::new("report-only").await;
    bench.sweep("web-1", 1, tampered()).await;
    bench.sweep("web-1", 2, tampered()).await;
    assert_eq!(bench.shown().await, ["web-1 held: group web is report-only"]);
    let bench =
        bench.restart(|fixture| fixture.write("server.toml", server_toml("replace").as_bytes())).await;
    bench.judge_all().await;
    assert_eq!(bench.shown().await, ["web-1 proposed: confirmed by the full sweeps 1 and 2"]);
    let bench =
        bench.restart(|fixture| fixture.write("server.toml", server_toml("report-only").as_bytes())).await;
    bench.judge_all().await;
    assert_eq!(bench.shown().await, ["web-1 held: group web is report-only"]);
}

#[tokio::test]
async fn what_was_stored_and_not_judged_is_judged_after_a_restart() {
    let bench = Bench::new("replace").await;
    for sequence in 1..=2 {
        bench.store_only(&sweep("web-1", sequence, tampered())).await;
    }
    assert!(bench.decisions().await.is_empty());
    let bench = bench.restart(|_| {}).await;
    bench.judge.judge_reports().await.unwrap();
    // The first was already superseded when it was judged, and still confirms.
    assert_eq!(bench.shown().await, ["web-1 proposed: confirmed by the full sweeps 1 and 2"]);
    assert_eq!(bench.node("web-1").await.policy_error, None);
}

#[tokio::test]
async fn a_failed_evaluation_is_recorded_and_never_an_action() {
    let bench = Bench::new("replace").await;
    let findings = || vec![added("/bin/new"), tampered().remove(0)];
    bench.sweep("web-2", 1, findings()).await;
    bench.sweep("web-2", 2, findings()).await;
    let error = bench.node("web-2").await.policy_error.unwrap();
    assert!(error.contains("the policy failed"), "{error}");
    let decisions = bench.decisions().await;
    assert_eq!(decisions.len(), 1);
    assert_eq!((decisions[0].decision.as_ref(), decisions[0].policy_error.as_ref()), (None, Some(&error)));
    assert!(bench.actions().await.is_empty());
    // The next that policy understands begins anew, and is not confirmed.
    bench.sweep("web-2", 3, tampered()).await;
    assert_eq!(bench.shown().await, ["web-2 held: waiting for a second full sweep"]);
    assert_eq!(bench.node("web-2").await.policy_error, None);
}

#[tokio::test]
async fn silence_is_a_state_and_a_report_ends_it() {
    let bench = Bench::new("replace").await;
    assert_eq!(bench.node("web-2").await.note.as_deref(), Some("it has never reported"));
    bench.sweep("web-1", 1, tampered()).await;
    bench.clock.set("2026-03-01T00:15:20Z");
    bench.judge.find_silent().await.unwrap();
    assert_eq!(bench.node("web-1").await.state, State::Divergent, "not a second too early");
    bench.clock.set("2026-03-01T00:15:21Z");
    bench.judge.find_silent().await.unwrap();
    for (id, note) in [("web-1", "no report since 2026-03-01T00:00:20Z"), ("web-2", "it has never reported")]
    {
        let node = bench.node(id).await;
        assert_eq!((node.state, node.note.as_deref()), (State::Silent, Some(note)));
    }
    let decisions = bench.decisions().await;
    let silent = decisions.iter().find(|decision| decision.node == "web-1").unwrap();
    assert_eq!((silent.state, silent.decision.as_ref().unwrap().reasons.len()), (State::Silent, 1));
    // Silence neither orders nor withdraws.
    assert_eq!(bench.shown().await, ["web-1 held: waiting for a second full sweep"]);
    bench.sweep("web-1", 2, vec![]).await;
    assert_eq!(bench.node("web-1").await.state, State::Congruent);
}

#[tokio::test]
async fn a_manifest_that_is_accepted_no_longer_makes_unknown() {
    let bench = Bench::new("replace").await;
    bench.sweep("web-1", 1, vec![]).await;
    let bench = bench
        .restart(|fixture| {
            let toml = server_toml("replace").replace("manifests = [\"web.manifest\"]", "manifests = []");
            fixture.write("server.toml", toml.as_bytes());
        })
        .await;
    bench.judge_all().await;
    let node = bench.node("web-1").await;
    assert_eq!(node.state, State::Unknown);
    assert!(node.note.unwrap().contains("is not accepted for the group web"));
    assert_eq!(bench.decisions().await[0].state, State::Unknown);
}

#[tokio::test]
async fn old_news_from_a_spool_orders_nothing() {
    let bench = Bench::new("replace").await;
    bench.clock.set("2026-03-01T09:00:00Z");
    bench.sweep("web-1", 1, tampered()).await;
    bench.sweep("web-1", 2, tampered()).await;
    let shown = bench.shown().await.remove(0);
    assert!(
        shown.contains("held: the newest report was") && shown.contains("old when it arrived"),
        "{shown}"
    );
    assert_eq!(bench.actions().await[0].state, ActionState::Held);
}

#[tokio::test]
async fn a_failed_action_holds_the_next_for_a_day_however_often_it_reports() {
    let bench = Bench::with_order().await;
    let (id, now) = (bench.actions().await.remove(0).id, (bench.clock.clock())());
    let failed = id.clone();
    let failing =
        bench.judge.store.write("fail", move |tx| tx.move_action(&failed, ActionState::Failed, "no", now));
    failing.await.unwrap();
    let waits =
        format!("web-1 held: action {id} of this node failed; the next waits until 2026-03-02T00:00:20Z");
    for sequence in 3..=5 {
        bench.sweep("web-1", sequence, tampered()).await;
        assert_eq!(bench.shown().await, ["web-1 failed: no", &waits]);
    }
}

#[tokio::test]
async fn one_look_that_is_sent_under_two_numbers_does_not_confirm() {
    let bench = Bench::new("replace").await;
    let first = sweep("web-1", 1, tampered());
    bench.store_only(&first).await;
    bench.store_only(&Report { sequence: 2, ..first }).await;
    bench.judge.judge_reports().await.unwrap();
    assert_eq!(bench.shown().await, ["web-1 held: waiting for a second full sweep"]);
    bench.sweep("web-1", 3, tampered()).await;
    assert_eq!(bench.shown().await, ["web-1 proposed: confirmed by the full sweeps 2 and 3"]);
}
