//! Containers are subjects of their own, under their node.

use congruent_protocol::action::OrderTarget;
use congruent_protocol::report::Outcome;

use super::*;
use crate::testing::containers::{accept_image, changed, damaged, listing, looked};

impl Bench {
    /// A bench whose group accepts the containers' image.
    async fn with_image(rules: &str) -> Self {
        let fixture = Fixture::new("replace");
        accept_image(&fixture, "replace");
        Self::with(fixture, rules).await
    }

    async fn report(&self, report: &Report) {
        self.store_only(report).await;
        self.judge.judge_reports().await.unwrap();
    }

    /// The subjects of `web-1` as `subject state`.
    async fn subjects(&self) -> Vec<String> {
        let rows = self.judge.store.read("read", |view| view.subjects_of("web-1")).await.unwrap();
        rows.iter().map(|row| format!("{} {}", row.id, row.state.name())).collect()
    }

    /// The actions as `subject state: reason`, by subject.
    async fn shown_by_subject(&self) -> Vec<String> {
        let show = |action: &ActionRecord| {
            let subject = action.container.as_deref().unwrap_or(&action.node);
            format!("{subject} {}: {}", action.state.name(), action.reason)
        };
        let mut shown: Vec<_> = self.actions().await.iter().map(show).collect();
        shown.sort();
        shown
    }
}

#[tokio::test]
async fn a_container_has_a_state_and_an_order_of_its_own() {
    let bench = Bench::with_image(RULES).await;
    bench.report(&looked("web-1", 1, "c1", vec![], &[])).await;
    bench.report(&changed("web-1", 2, "c2")).await;
    bench.report(&listing("web-1", 3, &["c1", "c2"])).await;
    assert_eq!(
        bench.subjects().await,
        [
            "node web-1 congruent",
            "container c1 on node web-1 congruent",
            "container c2 on node web-1 divergent"
        ]
    );
    assert_eq!(bench.shown_by_subject().await, ["c2 held: waiting for a second full sweep"]);
    bench.report(&changed("web-1", 4, "c2")).await;
    assert_eq!(bench.shown_by_subject().await, ["c2 proposed: confirmed by the full sweeps 2 and 4"]);
    let order = bench.order(bench.actions().await.remove(0).id).await.unwrap();
    assert_eq!((order.target, &*order.node), (OrderTarget::Container, "web-1"));
    assert_eq!((order.findings_total, order.findings), (1, tampered()));
    let container = order.container.unwrap();
    assert_eq!((&*container.identity.id, &*container.identity.runtime), ("c2", "docker"));
    assert!(container.purge.is_empty());
    // What the node does afterwards is no news of the container.
    bench.report(&listing("web-1", 5, &["c1", "c2"])).await;
    bench.report(&looked("web-1", 6, "c2", vec![], &[])).await;
    assert_eq!(bench.shown_by_subject().await, ["c2 withdrawn: the container is congruent again"]);
}

#[tokio::test]
async fn a_damaged_layer_is_one_cause_and_is_to_be_purged() {
    let bench = Bench::with_image(RULES).await;
    for round in [0, 2] {
        bench.report(&damaged("web-1", round + 1, "c1")).await;
        bench.report(&damaged("web-1", round + 2, "c2")).await;
    }
    let of_first = |action: &ActionRecord| action.container.as_deref() == Some("c1");
    let first = bench.actions().await.into_iter().find(of_first).unwrap().id;
    let held = format!("c2 held: action {first} of container c1 on node web-1 is open in group web");
    assert_eq!(bench.shown_by_subject().await, ["c1 proposed: confirmed by the full sweeps 1 and 3", &held]);
    let order = bench.order(first).await.unwrap();
    let [layer] = &order.container.as_ref().unwrap().purge[..] else { panic!("{order:?}") };
    assert_eq!(
        (&layer.place.shared_by[..], layer.findings_total),
        (&["c1".to_owned(), "c2".to_owned()][..], 1)
    );
    assert_eq!(order.findings_total, 0, "the merged tree has none of its own");
    let decision = bench.decisions().await.pop().unwrap();
    let input = bench.judge.store.read("read", move |view| view.decision_input(decision.id)).await.unwrap();
    let input: serde_json::Value = serde_json::from_slice(&input.unwrap()).unwrap();
    assert_eq!((&input["findings_total"], &input["layers"][0]["containers"]), (&1.into(), &2.into()));
    assert_eq!(input["findings"][0]["layer"], 0);
}

/// Nothing says what the merged tree is to be, and the layer is held to its diff_id.
#[tokio::test]
async fn damage_without_a_manifest_is_confirmed_like_any_other() {
    let bench = Bench::with_image(RULES).await;
    for sequence in [1, 2] {
        let why = Outcome::NoManifest("no manifest that is accepted here is of its image".to_owned());
        bench.report(&Report { outcome: why, ..damaged("web-1", sequence, "c1") }).await;
    }
    assert_eq!(bench.shown_by_subject().await, ["c1 proposed: confirmed by the full sweeps 1 and 2"]);
}

/// No look at it ever comes to `congruent`.
#[tokio::test]
async fn damage_without_a_manifest_that_is_mended_is_not_acted_upon() {
    let without = |report: Report| {
        let why = Outcome::NoManifest("no manifest that is accepted here is of its image".to_owned());
        Report { outcome: why, ..report }
    };
    let bench = Bench::with_image(RULES).await;
    for id in ["c1", "c2"] {
        let first = if id == "c1" { 1 } else { 3 };
        bench.report(&without(damaged("web-1", first, id))).await;
        bench.report(&without(damaged("web-1", first + 1, id))).await;
    }
    let first = bench.actions().await.pop().unwrap().id;
    let held = format!("c2 held: action {first} of container c1 on node web-1 is open in group web");
    let proposed = "c1 proposed: confirmed by the full sweeps 1 and 2";
    assert_eq!(bench.shown_by_subject().await, [proposed, &held]);
    // A look that did not see the layer takes nothing back for good.
    let mut unseen = without(looked("web-1", 5, "c2", vec![], &[]));
    let layer = &mut unseen.container.as_mut().unwrap().layers[0];
    (layer.state, layer.method) = (State::Incomplete, None);
    bench.report(&unseen).await;
    assert_eq!(bench.shown_by_subject().await, [proposed, &held]);
    let gone = "withdrawn: nothing that was found of the container is left: policy says observe";
    bench.report(&without(looked("web-1", 6, "c2", vec![], &[]))).await;
    assert_eq!(bench.shown_by_subject().await, [proposed.to_owned(), format!("c2 {gone}")]);
    bench.report(&without(looked("web-1", 7, "c1", vec![], &[]))).await;
    assert_eq!(bench.shown_by_subject().await, [format!("c1 {gone}"), format!("c2 {gone}")]);
    assert_eq!(bench.begin_deliveries().await, []);
}

/// A look that could not see a layer takes nothing back that another found in it, whichever
/// of them the action's decision is about.
#[tokio::test]
async fn damage_that_was_seen_once_is_mended_once_it_is_seen_to_be_gone() {
    use State::{Congruent, Divergent, Unknown};
    // The container has two layers.
    let look = |sequence, states: [State; 2]| {
        let mut report = damaged("web-1", sequence, "c1");
        report.outcome = Outcome::NoManifest("none is of its image".to_owned());
        let layers = &mut report.container.as_mut().unwrap().layers;
        layers.clear();
        layers.extend([("1f", states[0]), ("2f", states[1])].map(|(directory, state)| {
            let damage = [added(&format!("/bin/{directory}"))];
            let lower: &[_] = if state == Divergent { &damage } else { &[] };
            let mut layer = looked("web-1", 1, "c1", vec![], lower).container.unwrap().layers.remove(0);
            layer.place.directory = format!("/var/lib/docker/overlay2/{directory}/diff");
            if state == Unknown {
                (layer.state, layer.method) = (state, None);
                (layer.baked_root, layer.observed_root) = (None, None);
            }
            layer
        }));
        report
    };
    for looks in [
        // The decision stays the first, which knew nothing of the second layer.
        vec![[Divergent, Unknown], [Divergent, Unknown], [Divergent, Divergent], [Congruent, Unknown]],
        // The decision becomes the second, which knew nothing of the first layer.
        vec![[Divergent, Unknown], [Unknown, Divergent], [Unknown, Congruent]],
    ] {
        let bench = Bench::with_image(RULES).await;
        for (sequence, states) in (1..).zip(&looks) {
            bench.clock.set(&format!("2026-03-01T00:0{sequence}:00Z"));
            bench.report(&look(sequence, *states)).await;
        }
        let shown = bench.shown_by_subject().await;
        assert!(!shown[0].contains("withdrawn"), "{looks:?}: {shown:?}");
        bench.report(&look(9, [Congruent, Congruent])).await;
        let gone = "c1 withdrawn: nothing that was found of the container is left: policy says observe";
        assert_eq!(bench.shown_by_subject().await, [gone], "{looks:?}");
    }
}

/// What the writable layer was found to have is not seen without a manifest.
#[tokio::test]
async fn a_manifest_that_is_gone_mends_nothing() {
    let bench = Bench::with_image(RULES).await;
    bench.report(&changed("web-1", 1, "c1")).await;
    let why = Outcome::NoManifest("no manifest that is accepted here is of its image".to_owned());
    bench.report(&Report { outcome: why, ..looked("web-1", 2, "c1", vec![], &[]) }).await;
    assert_eq!(bench.shown_by_subject().await, ["c1 held: waiting for a second full sweep"]);
}

#[tokio::test]
async fn a_container_that_runs_no_more_is_over_and_gives_way() {
    let bench = Bench::with_image(RULES).await;
    for round in [0, 2] {
        bench.report(&changed("web-1", round + 1, "c1")).await;
        bench.report(&changed("web-1", round + 2, "c2")).await;
    }
    // Where some may be missing, none is taken for gone.
    let mut unsure = listing("web-1", 5, &["c2"]);
    unsure.containers.as_mut().unwrap().gaps.push("docker's state cannot be read".to_owned());
    bench.report(&unsure).await;
    assert_eq!(bench.subjects().await.len(), 3);
    let node = bench.node("web-1").await;
    assert_eq!(node.state, State::Incomplete);
    assert!(node.note.unwrap().ends_with("docker's state cannot be read"));
    bench.report(&listing("web-1", 6, &["c2", "c3"])).await;
    let rest = [
        "node web-1 congruent",
        "container c2 on node web-1 divergent",
        "container c3 on node web-1 unknown",
    ];
    assert_eq!(bench.subjects().await, rest);
    bench.judge.judge_held().await.unwrap();
    assert_eq!(
        bench.shown_by_subject().await,
        ["c1 withdrawn: the container runs no more", "c2 proposed: confirmed by the full sweeps 2 and 4"]
    );
    // One that only listed is silent by and by, like a node that never reports.
    bench.clock.set("2026-03-01T00:15:21Z");
    bench.judge.find_silent().await.unwrap();
    assert_eq!(bench.subjects().await[2], "container c3 on node web-1 silent");
}

/// Policy that has the node replaced for its container.
fn for_the_node() -> String {
    RULES.replace("\"action\": \"replace\",", "\"action\": \"replace\", \"target\": \"node\",")
}

#[tokio::test]
async fn policy_may_have_the_node_replaced_for_its_container() {
    let bench = Bench::with_image(&for_the_node()).await;
    bench.report(&changed("web-1", 1, "c1")).await;
    bench.report(&changed("web-1", 2, "c1")).await;
    let order = bench.order(bench.actions().await.remove(0).id).await.unwrap();
    assert_eq!(order.target, OrderTarget::Node);
    assert_eq!(order.container.unwrap().identity.id, "c1");
    // The platform has it, and drains the node before it is gone.
    let now = (bench.clock.clock())();
    let id = bench.actions().await.remove(0).id;
    let telling =
        bench.judge.store.write("tell", move |tx| tx.move_action(&id, ActionState::Dispatched, "200", now));
    telling.await.unwrap();
    bench.report(&listing("web-1", 3, &[])).await;
    assert_eq!(bench.shown_by_subject().await, ["c1 dispatched: 200"]);
}

impl Bench {
    /// Starts another collector with other rules, and has it plan anew.
    async fn restart_with_rules(self, rules: &str) -> Self {
        let bench = self.restart(|fixture| fixture.write("policy/rules.rego", rules.as_bytes())).await;
        bench.judge.plan_anew().await.unwrap();
        bench
    }

    /// An order for `c1`, which is to be replaced itself.
    async fn with_container_order() -> Self {
        let bench = Self::with_image(RULES).await;
        bench.report(&changed("web-1", 1, "c1")).await;
        bench.report(&changed("web-1", 2, "c1")).await;
        assert_eq!(bench.shown_by_subject().await, ["c1 proposed: confirmed by the full sweeps 1 and 2"]);
        bench
    }

    /// What goes out next, and on what that is to be carried out.
    async fn due(&self) -> Vec<(String, OrderTarget)> {
        let due = self.begin_deliveries().await.into_iter();
        due.map(|due| (due.action_id, serde_json::from_slice::<Order>(&due.body).unwrap().target)).collect()
    }
}

/// Why what was ordered under the other policy does not go out.
const TURNED: &str = "policy says replace the node now, and the order was to replace the container";

#[tokio::test]
async fn an_order_that_no_platform_can_have_is_made_anew_for_another_target() {
    let bench = Bench::with_container_order().await;
    let id = bench.actions().await.remove(0).id;
    let bench = bench.restart_with_rules(&for_the_node()).await;
    assert_eq!(bench.shown_by_subject().await, [format!("c1 held: {TURNED}")]);
    assert_eq!(bench.due().await, []);
    bench.judge.judge_held().await.unwrap();
    let action = bench.actions().await.remove(0);
    assert_eq!(
        (action.id.as_str(), action.state, action.target),
        (&*id, ActionState::Proposed, OrderTarget::Node)
    );
    // And back, before it is sent.
    let bench = bench.restart_with_rules(RULES).await;
    bench.judge.judge_held().await.unwrap();
    assert_eq!(bench.due().await, [(id, OrderTarget::Container)]);
}

#[tokio::test]
async fn an_order_that_may_be_known_is_given_up_for_one_with_another_target() {
    let bench = Bench::with_container_order().await;
    let (first, target) = bench.due().await.remove(0);
    assert_eq!(target, OrderTarget::Container);
    let bench = bench.restart_with_rules(&for_the_node()).await;
    let known = "; the platform may have the order: it had not confirmed the one try";
    let shown = bench.shown_by_subject().await;
    assert_eq!(
        shown,
        ["c1 proposed: confirmed by the full sweeps 1 and 2", &format!("c1 withdrawn: {TURNED}{known}")]
    );
    let [(second, target)] = &bench.due().await[..] else { panic!("one goes out") };
    assert_eq!(*target, OrderTarget::Node);
    assert_ne!(*second, first, "its bytes are others");
}

#[tokio::test]
async fn an_order_that_the_platform_has_stays_what_it_is() {
    let bench = Bench::with_container_order().await;
    let (id, now) = (bench.actions().await.remove(0).id, (bench.clock.clock())());
    let telling =
        bench.judge.store.write("tell", move |tx| tx.move_action(&id, ActionState::Dispatched, "200", now));
    telling.await.unwrap();
    let bench = bench.restart_with_rules(&for_the_node()).await;
    assert_eq!(bench.shown_by_subject().await, ["c1 dispatched: 200"]);
    assert_eq!(bench.actions().await[0].target, OrderTarget::Container);
}

#[tokio::test]
async fn a_node_that_is_revoked_takes_its_containers_along() {
    let bench = Bench::with_image(RULES).await;
    bench.report(&changed("web-1", 1, "c1")).await;
    bench.report(&listing("web-1", 2, &["c1"])).await;
    let now = (bench.clock.clock())();
    bench.judge.store.write("retire", move |tx| retire(tx, "web-1", now)).await.unwrap();
    assert_eq!(bench.subjects().await, ["node web-1 congruent"]);
    assert_eq!(bench.shown_by_subject().await, ["c1 withdrawn: the node's enrolment was revoked"]);
}

/// A node tells of its containers itself: one that it makes up must not keep others from
/// being replaced.
#[tokio::test]
async fn a_node_waits_for_no_container_and_a_container_for_its_node() {
    let bench = Bench::with_image(RULES).await;
    for sequence in [1, 2] {
        bench.report(&changed("web-1", sequence, "c1")).await;
    }
    for sequence in [3, 4] {
        bench.sweep("web-1", sequence, tampered()).await;
        bench.sweep("web-2", sequence, tampered()).await;
    }
    let shown = bench.shown_by_subject().await;
    assert_eq!(shown[0], "c1 proposed: confirmed by the full sweeps 1 and 2");
    assert_eq!(shown[1], "web-1 proposed: confirmed by the full sweeps 3 and 4");
    assert!(shown[2].starts_with("web-2 held: action "), "one node at a time: {shown:?}");
}

#[tokio::test]
async fn a_container_is_heard_of_with_its_node() {
    let bench = Bench::with_image(RULES).await;
    bench.report(&looked("web-1", 1, "c1", vec![], &[])).await;
    bench.report(&listing("web-1", 2, &["c1"])).await;
    let states = async || {
        let rows = bench.judge.store.read("read", |view| view.subjects_of("web-1")).await.unwrap();
        rows.iter().map(|row| row.state).collect::<Vec<_>>()
    };
    // A sign of life that the store was told of, and one that it was not.
    bench.clock.set("2026-03-01T00:20:00Z");
    let at = (bench.clock.clock())();
    let noting = bench.judge.store.write("note", move |tx| tx.note_heard(&[("web-1".to_owned(), at)]));
    noting.await.unwrap();
    bench.judge.find_silent().await.unwrap();
    assert_eq!(states().await, [State::Congruent; 2]);
    bench.clock.set("2026-03-01T00:40:00Z");
    bench.judge.liveness.hear("web-1", "boot", (bench.clock.clock())());
    bench.judge.find_silent().await.unwrap();
    assert_eq!(states().await, [State::Congruent; 2]);
    // No word of the node, and then the node's alone: its container reports no more.
    bench.clock.set("2026-03-01T00:55:01Z");
    bench.judge.find_silent().await.unwrap();
    assert_eq!(states().await, [State::Silent; 2]);
    bench.report(&listing("web-1", 3, &["c1"])).await;
    bench.report(&looked("web-1", 4, "c1", vec![], &[])).await;
    assert_eq!(states().await, [State::Congruent; 2]);
    for (minute, sequence) in [(10, 5), (20, 6), (30, 7), (40, 8), (50, 9), (59, 10)] {
        bench.clock.set(&format!("2026-03-01T01:{minute}:00Z"));
        let report = listing("web-1", sequence, &["c1"]);
        bench.report(&report).await;
        bench.judge.find_silent().await.unwrap();
    }
    assert_eq!(states().await, [State::Congruent, State::Silent], "four times as long without a report");
}

#[tokio::test]
async fn what_is_silent_and_not_listed_is_over_also_where_some_may_be_missing() {
    let bench = Bench::with_image(RULES).await;
    bench.report(&looked("web-1", 1, "c1", vec![], &[])).await;
    let unsure = |sequence| {
        let mut report = listing("web-1", sequence, &[]);
        report.containers.as_mut().unwrap().gaps.push("docker's state cannot be read".to_owned());
        report
    };
    bench.report(&unsure(2)).await;
    assert_eq!(bench.subjects().await.len(), 2, "it may run yet");
    bench.clock.set("2026-03-01T01:00:21Z");
    bench.judge.find_silent().await.unwrap();
    bench.report(&unsure(3)).await;
    assert_eq!(bench.subjects().await, ["node web-1 incomplete"]);
}
