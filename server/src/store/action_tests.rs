use super::*;
use crate::store::Store;
use crate::testing::{Fixture, decision, time};

/// Puts in an action that policy called for, and takes it to its state.
fn put(
    tx: &Tx<'_>,
    id: &str,
    container: Option<&str>,
    target: Target,
    state: ActionState,
) -> Result<(), StoreError> {
    let at = time("2026-03-01T00:00:00Z");
    let decision_id =
        tx.insert_decision(&decision("web-1", container, Ok((Verdict::Replace, target))), b"{}")?;
    let subject = &SubjectId { node: "web-1".to_owned(), container: container.map(str::to_owned) };
    let action = NewAction { id, subject, group: "web", verdict: Verdict::Replace, decision_id };
    tx.insert_action(&action, ActionState::Held, "waiting", at)?;
    tx.move_action(id, state, "moved", at)
}

#[tokio::test]
async fn what_is_open_on_a_node_is_seen_behind_much_that_is_over() {
    use ActionState::{Dispatched, Held, Withdrawn};
    let fixture = Fixture::new("report-only");
    let store = Store::open(&fixture.config().database).unwrap();
    let putting = store.write("put in actions", |tx| {
        put(tx, "own", None, Target::Subject, Dispatched)?;
        put(tx, "for c1", Some("c1"), Target::Node, Held)?;
        put(tx, "of c2", Some("c2"), Target::Subject, Held)?;
        for over in 0..=LOOKED_THROUGH {
            put(tx, &format!("over {over}"), Some("c3"), Target::Node, Withdrawn)?;
        }
        Ok(())
    });
    putting.await.unwrap();
    let shown = async |limit| {
        let reading = store.read("read", move |view| view.actions_on_node("web-1", limit)).await;
        reading.unwrap().into_iter().map(|action| action.id).collect::<Vec<_>>()
    };
    assert_eq!(shown(4).await, ["over 1000", "over 999", "for c1", "own"]);
    assert_eq!(shown(1).await, ["for c1", "own"], "all that are open");
}
