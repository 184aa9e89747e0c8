//! Nodes that come and go while the collector runs.

use super::*;
use crate::config::Node;
use crate::store::EnrolmentRow;
use crate::testing::enrolment;

/// Enrols a node, as the API does.
async fn enrol(bench: &Bench, node: &str) {
    let row = EnrolmentRow { enrolled_at: (bench.clock.clock())(), ..enrolment(node) };
    let (config, at) = (Arc::clone(&bench.judge.config), row.enrolled_at);
    let enrolling = bench.judge.store.write("enrol", move |tx| {
        config.nodes.admit(Node::enrolled(&row));
        tx.insert_node(&row.node, at, NEVER_REPORTED)?;
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
