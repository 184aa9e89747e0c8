//! What becomes of orders when the collector starts again, under the same
//! configuration or another.

use super::*;
use crate::serve::Collector;
use crate::subject::SubjectId;

/// The configuration with `web-1` in a group of its own.
fn web_1_apart(mode: &str) -> String {
    let toml = server_toml(mode);
    let group = &toml[toml.find("[[group]]").unwrap()..toml.find("# node").unwrap()];
    let apart = group.replace("name = \"web\"", "name = \"apart\"");
    toml.replacen("in web", "in apart", 1) + &apart
}

/// What becomes of an order that waits, or was on its way, at a restart with
/// another configuration.
async fn check_restart(toml: &str, on_its_way: bool, expected: &str) {
    let bench = Bench::with_order().await;
    let first = bench.actions().await.remove(0).id;
    if on_its_way {
        assert_eq!(bench.begin_deliveries().await.len(), 1);
    }
    let bench = bench.restart_with(toml).await;
    assert_eq!(bench.shown().await, [expected]);
    assert!(bench.begin_deliveries().await.is_empty());
    assert_eq!(bench.actions().await[0].id, first);
}

#[tokio::test]
async fn an_order_that_is_not_called_for_after_a_restart_is_not_sent() {
    let replace = server_toml("replace");
    let known = "; the platform may have the order: it had not confirmed the one try";
    for (toml, expected) in [
        (server_toml("report-only"), "web-1 held: group web is report-only"),
        (
            replace.replace("manifests = [\"web.manifest\"]", "manifests = []"),
            "web-1 held: the node is unknown, and only drift that was seen is acted on",
        ),
        (replace.replace("silent-after = \"15m\"", "silent-after = \"5s\""), STALE),
        (
            replace.replace("environment = \"prod\"", "environment = \"dev\""),
            "web-1 withdrawn: policy no longer calls for it: it says observe",
        ),
        (
            replace.replace("environment = \"prod\"", "environment = \"broken\""),
            "web-1 held: policy fails, and nothing is ordered without it",
        ),
        (replace.replace("# node web-1 in web", ""), "web-1 withdrawn: the node is not enrolled any more"),
    ] {
        check_restart(&toml, false, expected).await;
        check_restart(&toml, true, &format!("{expected}{known}")).await;
    }
}

/// The standing clock is ten seconds later than the reports.
const STALE: &str = "web-1 held: the newest report was 10s old when it arrived, by the node's clock; \
     waiting for a fresh one";

#[tokio::test]
async fn an_order_that_was_on_its_way_goes_out_again_with_the_same_bytes() {
    let bench = Bench::with_order().await;
    let first = bench.begin_deliveries().await;
    let bench = bench.restart_with(&server_toml("replace")).await;
    assert_eq!(bench.begin_deliveries().await, first);
    // The brake is pulled, and let go: the platform may have the order.
    let bench = bench.restart_with(&server_toml("report-only")).await;
    let bench = bench.restart_with(&server_toml("replace")).await;
    assert_eq!(bench.begin_deliveries().await, first);
    assert_eq!(bench.actions().await.len(), 1);
}

#[tokio::test]
async fn an_order_that_waits_follows_its_group_to_another_webhook() {
    let bench = Bench::with_order().await;
    let body = bench.order(bench.actions().await.remove(0).id).await;
    let bench = bench.restart_with(&server_toml("replace").replace("\"platform\"", "\"cloud\"")).await;
    let due = bench.begin_deliveries().await.remove(0);
    assert_eq!((due.webhook.as_str(), due.attempt), ("cloud", 1));
    assert_eq!(serde_json::from_slice::<Order>(&due.body).ok(), body);
    assert_eq!(
        bench.shown().await,
        ["web-1 proposed: the group's webhook is cloud now, and takes the order"]
    );
}

#[tokio::test]
async fn the_budget_is_that_of_the_group_that_a_node_is_in() {
    // Renamed: the order still takes the budget.
    let bench = Bench::with_order().await;
    let id = bench.actions().await.remove(0).id;
    let renamed =
        server_toml("replace").replace("name = \"web\"", "name = \"www\"").replace("in web", "in www");
    let bench = bench.restart_with(&renamed).await;
    bench.sweep("web-2", 1, tampered()).await;
    bench.sweep("web-2", 2, tampered()).await;
    let held = format!("web-2 held: action {id} of node web-1 is open in group www");
    assert_eq!(bench.shown().await[1], held);
    // Moved to another: it does not take the old one's.
    let bench = bench.restart_with(&web_1_apart("replace")).await;
    assert_eq!(bench.shown().await[1], "web-2 proposed: confirmed by the full sweeps 1 and 2");
    // Together again: one of the two waits.
    let bench = bench.restart_with(&server_toml("replace")).await;
    assert_eq!(bench.begin_deliveries().await.len(), 1);
}

/// The whole collector: it plans before it delivers.
#[tokio::test]
async fn a_restart_as_report_only_stops_an_order_that_is_due() {
    crate::serve::install_crypto();
    let Bench { judge, ingest, clock, fixture } = Bench::with_order().await;
    drop((judge, ingest));
    let toml = format!("policy = \"policy\"\n{}", server_toml("report-only"));
    fixture.write("server.toml", toml.as_bytes());
    let collector = wait_for("the store's lock", || async {
        Collector::start(fixture.config(), clock.clock()).await.ok()
    })
    .await;
    let read = || {
        crate::store::read_only(&fixture.config().database, "read the actions", |view| {
            let row = view.newest_action(&SubjectId::node("web-1"))?.expect("it was ordered");
            ActionRecord::read(view, row)
        })
        .unwrap()
    };
    wait_for("the plan", || async { Some(read()).filter(|action| action.reason.contains("report-only")) })
        .await;
    collector.run_until(async {}).await.unwrap();
    let action = read();
    assert_eq!((action.state, action.deliveries.len()), (ActionState::Held, 0));
}
