use std::collections::VecDeque;
use std::sync::Mutex;

use congruent_protocol::action::ActionState;
use congruent_protocol::decision::{Target, Verdict as PolicyVerdict};

use super::*;
use crate::clock;
use crate::metrics::Deliveries;
use crate::record::ActionRecord;
use crate::store::{Database, NewAction};
use crate::subject::SubjectId;
use crate::testing::{decision, wait_for};

/// A platform that answers as the script says, and keeps what it got.
struct Script {
    answers: Mutex<VecDeque<Outcome>>,
    got: Mutex<Vec<Order>>,
}

impl Driver for Script {
    async fn deliver(&self, _target: &str, order: Order, _at: Timestamp) -> Outcome {
        self.got.lock().unwrap().push(order);
        let answer = self.answers.lock().unwrap().pop_front();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

fn failed() -> Outcome {
    Outcome::Failed { why: "the platform answered 500".to_owned(), retry_after: None }
}

fn accepted() -> Outcome {
    Outcome::Accepted { answer: "the platform answered 200".to_owned() }
}

/// A store with one proposed action, whose order is due.
async fn store(path: &std::path::Path) -> Store {
    let store = Store::open(&Database::Sqlite(path.to_owned())).unwrap();
    let now = (clock::system())();
    let putting = store.write("put in an order", move |tx| {
        let decision_id = tx.insert_decision(&decision("web-1", None, Err("none")), b"{}")?;
        let action = NewAction {
            id: "act_1",
            subject: &SubjectId::node("web-1"),
            group: "web",
            verdict: PolicyVerdict::Replace,
            decision_id,
        };
        tx.insert_action(&action, ActionState::Proposed, "confirmed", now)?;
        tx.insert_order("act_1", "platform", b"{\"order\":1}", now)
    });
    putting.await.unwrap();
    store
}

struct Running {
    store: Store,
    driver: Arc<Script>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

fn run(store: &Store, answers: Vec<Outcome>) -> Running {
    let driver = Arc::new(Script { answers: Mutex::new(answers.into()), got: Mutex::default() });
    let (stop, stopping) = watch::channel(false);
    let signals = Signals::default();
    signals.planned.notify_one();
    let outbox = Arc::new(Outbox {
        metrics: Deliveries::default(),
        store: store.clone(),
        driver: Arc::clone(&driver),
        schedule: vec![Duration::ZERO, Duration::from_millis(1), Duration::from_millis(2)],
        clock: clock::system(),
        random: || 0.0,
        signals,
    });
    Running { store: store.clone(), driver, stop, task: tokio::spawn(outbox.run(stopping)) }
}

impl Running {
    async fn until(&self, state: ActionState) -> ActionRecord {
        wait_for(state.name(), || async {
            let reading = self.store.read("read", |view| {
                let row = view.action("act_1")?.expect("it was put in");
                ActionRecord::read(view, row)
            });
            Some(reading.await.unwrap()).filter(|action| action.state == state)
        })
        .await
    }
}

async fn check(answers: Vec<Outcome>, state: ActionState, outcomes: &[&str], reason: &str) {
    let dir = tempfile::tempdir().unwrap();
    let running = run(&store(&dir.path().join("db")).await, answers);
    let action = running.until(state).await;
    let said: Vec<_> = action.deliveries.iter().map(|delivery| delivery.outcome.as_str()).collect();
    assert_eq!((said.as_slice(), action.reason.as_str()), (outcomes, reason));
    let order = Order { id: "act_1".to_owned(), body: b"{\"order\":1}".to_vec() };
    assert!(running.driver.got.lock().unwrap().iter().all(|got| *got == order), "the same at every try");
    running.stop.send_replace(true);
    running.task.await.unwrap();
}

#[tokio::test]
async fn deliveries_end_as_the_platform_says() {
    let (no, yes) = ("the platform answered 500", "the platform answered 200");
    check(vec![accepted()], ActionState::Dispatched, &[yes], yes).await;
    check(vec![failed(), failed(), accepted()], ActionState::Dispatched, &[no, no, yes], yes).await;
    let last = "the platform answered 500; that was try 3, the last";
    check(vec![failed(), failed(), failed()], ActionState::Failed, &[no, no, last], last).await;
    let gone = Outcome::Gone { why: "the platform answered 410".to_owned() };
    let why = "the platform answered 410";
    check(vec![failed(), gone], ActionState::Failed, &[no, why], why).await;
}

/// Killed while a delivery is under way: the next collector sends it again,
/// under the same id, and it has lost no try.
#[tokio::test]
async fn what_was_under_way_is_sent_again_under_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("db")).await;
    let first = run(&store, vec![]);
    wait_for("the delivery to begin", || async { first.driver.got.lock().unwrap().first().cloned() }).await;
    first.task.abort();
    let under_way = store.read("read", |view| view.action("act_1")).await.unwrap().unwrap();
    assert!(under_way.in_flight, "it was noted before it was sent");
    store.write("resume", |tx| tx.resume_deliveries((clock::system())())).await.unwrap();
    let second = run(&store, vec![accepted()]);
    let action = second.until(ActionState::Dispatched).await;
    let tries = action.deliveries.iter().map(|delivery| (delivery.attempt, delivery.outcome.as_str()));
    let cut_off = "cut off when the collector ended; the platform may have the order";
    assert_eq!(tries.collect::<Vec<_>>(), [(1, cut_off), (1, "the platform answered 200")]);
    assert_eq!(*first.driver.got.lock().unwrap(), *second.driver.got.lock().unwrap());
    second.task.abort();
}

/// A platform may answer when what it was told of is gone already.
#[tokio::test]
async fn what_was_given_up_meanwhile_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir.path().join("db")).await;
    let now = (clock::system())();
    let recording = store.write("withdraw and record", move |tx| {
        let delivery = tx.begin_deliveries(now, 1)?.remove(0);
        tx.move_action("act_1", ActionState::Withdrawn, "it is gone", now)?;
        Verdict::Dispatched { reason: "200".to_owned() }.record(tx, &delivery, now)?;
        Ok((tx.action("act_1")?.unwrap().state, tx.deliveries("act_1")?.len()))
    });
    assert_eq!(recording.await.unwrap(), (ActionState::Withdrawn, 1), "the try is on record");
}

/// What becomes of the order for a container, which is to be replaced, when a try fails
/// while policy came to say this.
async fn after_a_failed_try(said: Result<(PolicyVerdict, Target), &'static str>) -> (ActionState, bool) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&Database::Sqlite(dir.path().join("db"))).unwrap();
    let now = (clock::system())();
    let trying = store.write("order, try and turn", move |tx| {
        let subject = SubjectId::container("web-1", "c1");
        tx.insert_subject(&subject, "web", now, "new")?;
        let ordered = Ok((PolicyVerdict::Replace, Target::Subject));
        let decision_id = tx.insert_decision(&decision("web-1", Some("c1"), ordered), b"{}")?;
        let verdict = PolicyVerdict::Replace;
        let action = NewAction { id: "act_1", subject: &subject, group: "web", verdict, decision_id };
        tx.insert_action(&action, ActionState::Proposed, "confirmed", now)?;
        tx.insert_order("act_1", "platform", b"{}", now)?;
        let delivery = tx.begin_deliveries(now, 1)?.remove(0);
        let decision_id = tx.insert_decision(&decision("web-1", Some("c1"), said), b"{}")?;
        tx.set_decision(&subject, decision_id, "key", said.map(|(verdict, _)| verdict))?;
        let again = Verdict::Again { why: "500".to_owned(), after: Duration::ZERO };
        let is_free = again.record(tx, &delivery, now)?;
        assert_eq!(tx.begin_deliveries(now, 1)?.is_empty(), is_free, "what is held is not tried again");
        Ok((tx.action("act_1")?.unwrap().state, is_free))
    });
    trying.await.unwrap()
}

#[tokio::test]
async fn what_policy_came_to_say_meanwhile_holds_an_order_whose_try_failed() {
    use PolicyVerdict::{None, Quarantine, Replace};
    assert_eq!(after_a_failed_try(Ok((Replace, Target::Subject))).await, (ActionState::Proposed, false));
    for turned in [
        Ok((Replace, Target::Node)),
        Ok((Quarantine, Target::Subject)),
        Ok((None, Target::Subject)),
        Err("policy failed"),
    ] {
        assert_eq!(after_a_failed_try(turned).await, (ActionState::Held, true), "{turned:?}");
    }
}
