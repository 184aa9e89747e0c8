//! Nodes that come and go while the collector runs.

use super::*;
use crate::config::Node;
use crate::store::EnrolmentRow;
use crate::subject::SubjectId;
use crate::testing::enrolment;

/// Enrols a node, as the API does.
async fn enrol(bench: &Bench, node: &str) {
    let row = EnrolmentRow { enrolled_at: (bench.clock.clock())(), ..enrolment(node) };
    let (config, at) = (Arc::clone(&bench.judge.config), row.enrolled_at);
    let enrolling = bench.judge.store.write("enrol", move |tx| {
        config.nodes.admit(Node::enrolled(&row));
        tx.insert_subject(&SubjectId::node(&row.node), &row.group, at, NEVER_REPORTED)?;
        tx.insert_enrolment(&row)
    });
    enrolling.await.unwrap();
}

#[tokio::test]
async fn a_node_that_has_just_enrolled_is_given_time() {
    let bench = Bench::new("report-only").await;
    let state = async |node: &'static str| {
        bench.judge.find_silent().await.unwrap();
        bench.node(node).await.state
    };
    // The collector was ready for hours when it came.
    bench.clock.set("2026-03-01T08:00:00Z");
    enrol(&bench, "web-9").await;
    assert_eq!(state("web-9").await, State::Unknown);
    bench.clock.set("2026-03-01T08:15:00Z");
    assert_eq!(state("web-9").await, State::Unknown);
    bench.clock.set("2026-03-01T08:15:01Z");
    assert_eq!(state("web-9").await, State::Silent);
}

#[tokio::test]
async fn what_was_to_happen_to_a_revoked_node_is_given_up_and_others_have_room() {
    for is_told in [false, true] {
        revoke_with_an_order(is_told).await;
    }
}

/// An order is over with the enrolment, also where the platform has it.
async fn revoke_with_an_order(is_told: bool) {
    let bench = Bench::new("replace").await;
    enrol(&bench, "web-9").await;
    for node in ["web-9", "web-1"] {
        bench.sweep(node, 1, tampered()).await;
        bench.sweep(node, 2, tampered()).await;
    }
    let shown = bench.shown().await;
    assert!(shown.iter().any(|line| line.starts_with("web-9 proposed")), "{shown:?}");
    assert!(shown.iter().any(|line| line.starts_with("web-1 held")), "{shown:?}");
    let (config, now) = (Arc::clone(&bench.judge.config), (bench.clock.clock())());
    let revoking = bench.judge.store.write("revoke", move |tx| {
        let order = tx.newest_action(&SubjectId::node("web-9"))?.unwrap();
        if is_told {
            tx.move_action(&order.id, ActionState::Dispatched, "told", now)?;
        }
        config.nodes.revoke("web-9");
        retire(tx, "web-9", now)
    });
    revoking.await.unwrap();
    bench.judge_all().await;
    let shown = bench.shown().await;
    assert!(
        shown.iter().any(|line| line == "web-9 withdrawn: the node's enrolment was revoked"),
        "{shown:?}"
    );
    assert!(shown.iter().any(|line| line.starts_with("web-1 proposed")), "{shown:?}");
}

#[tokio::test]
async fn a_node_that_enrols_anew_inherits_nothing() {
    let bench = Bench::new("report-only").await;
    enrol(&bench, "web-9").await;
    bench.sweep("web-9", 1, vec![]).await;
    bench.sweep("web-9", 2, tampered()).await;
    // Committed, and judged only once the name is another machine's.
    bench.store_only(&sweep("web-9", 3, tampered())).await;
    let old = bench.node("web-9").await;
    assert!(old.report_id.and(old.verified_report_id).and(old.decision_id).is_some(), "{old:?}");
    bench.clock.set("2026-03-01T08:00:00Z");
    let now = (bench.clock.clock())();
    let anew =
        bench.judge.store.write("enrol", move |tx| tx.begin_node_anew("web-9", "web", now, NEVER_REPORTED));
    anew.await.unwrap();
    let new = SubjectRow {
        id: SubjectId::node("web-9"),
        identity: None,
        group: Some("web".to_owned()),
        generation: old.generation + 1,
        state: State::Unknown,
        note: Some(NEVER_REPORTED.to_owned()),
        since: now,
        last_seen: None,
        reported_at: None,
        report_id: None,
        verified_report_id: None,
        decision_id: None,
        decision_key: None,
        policy_error: None,
    };
    assert_eq!(bench.node("web-9").await, new);
    bench.judge.judge_reports().await.unwrap();
    assert_eq!(bench.node("web-9").await, new);
}

#[tokio::test]
async fn a_sweep_of_the_machine_before_confirms_nothing() {
    let bench = Bench::new("replace").await;
    enrol(&bench, "web-9").await;
    bench.sweep("web-9", 1, tampered()).await;
    let (config, now) = (Arc::clone(&bench.judge.config), (bench.clock.clock())());
    let anew = bench.judge.store.write("enrol anew", move |tx| {
        config.nodes.revoke("web-9");
        retire(tx, "web-9", now)?;
        config.nodes.admit(Node::enrolled(&EnrolmentRow { id: "enr_anew".to_owned(), ..enrolment("web-9") }));
        tx.begin_node_anew("web-9", "web", now, NEVER_REPORTED)
    });
    anew.await.unwrap();
    for (sequence, expected) in [(1, "web-9 held"), (2, "web-9 proposed")] {
        let mut report = sweep("web-9", sequence, tampered());
        report.chain = "enr_anew".to_owned();
        bench.store_only(&report).await;
        bench.judge.judge_reports().await.unwrap();
        let newest = bench
            .judge
            .store
            .read("read", |view| view.newest_action(&SubjectId::node("web-9")))
            .await
            .unwrap()
            .unwrap();
        let shown = format!("{} {}: {}", newest.subject.node, newest.state.name(), newest.reason);
        assert!(shown.starts_with(expected), "{sequence}: {shown}");
    }
}
