use congruent_protocol::digest::Algorithm;

use super::*;
use crate::subject::SubjectId;
use crate::testing::time;

const NOW: &str = "2026-03-01T12:00:00Z";

/// A situation by its parts; all gates are open unless said otherwise.
struct Case {
    mode: Mode,
    state: State,
    is_mended: bool,
    verdict: Option<Verdict>,
    target: OrderTarget,
    age_minutes: i64,
    arrived_minutes_ago: i64,
    sweeps: Vec<FullSweep>,
    action: Option<Action>,
    failed: Option<Action>,
    others: Vec<Other>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            mode: Mode::Replace,
            state: State::Divergent,
            is_mended: false,
            verdict: Some(Verdict::Replace),
            target: OrderTarget::Node,
            age_minutes: 0,
            arrived_minutes_ago: 0,
            sweeps: vec![sweep(2, true), sweep(1, true)],
            action: None,
            failed: None,
            others: vec![],
        }
    }
}

fn sweep(sequence: u64, called_for_action: bool) -> FullSweep {
    let at = |minute| {
        after(time("2026-03-01T11:00:00Z"), SignedDuration::from_mins(10 * sequence as i64 + minute))
    };
    FullSweep {
        chain: 1,
        sequence,
        swept: Some((at(0), at(5))),
        state: if called_for_action { State::Divergent } else { State::Congruent },
        manifest_root: Some(Algorithm::Blake3.digest(b"root")),
        findings: (Algorithm::Blake3.digest(b"findings"), None),
        called_for_action,
    }
}

fn action(state: ActionState) -> Option<Action> {
    let (id, updated_at) = ("act_1".to_owned(), time("2026-03-01T11:00:00Z"));
    let (verdict, target) = (Verdict::Replace, OrderTarget::Node);
    Some(Action { id, verdict, target, state, is_tried: false, in_flight: false, updated_at })
}

fn check(case: &Case) -> Plan {
    plan(&Situation {
        subject: &SubjectId::node("web-1"),
        now: time(NOW),
        group: "web",
        mode: case.mode,
        state: case.state,
        is_mended: case.is_mended,
        verdict: case.verdict,
        target: case.target,
        age_on_arrival: SignedDuration::from_mins(case.age_minutes),
        since_arrival: SignedDuration::from_mins(case.arrived_minutes_ago),
        fresh_within: SignedDuration::from_mins(15),
        full_sweeps: &case.sweeps,
        action: case.action.as_ref(),
        failed: case.failed.as_ref(),
        others: &case.others,
    })
}

fn held(reason: &str) -> Plan {
    Plan::Hold { reason: reason.to_owned() }
}

fn ordered(reason: &str) -> Plan {
    Plan::Order { reason: reason.to_owned() }
}

fn withdrawn(reason: &str) -> Plan {
    Plan::Withdraw { reason: reason.to_owned() }
}

#[test]
fn what_passes_every_gate_is_ordered() {
    let both = ordered("confirmed by the full sweeps 1 and 2");
    assert_eq!(check(&Case::default()), both);
    assert_eq!(check(&Case { verdict: Some(Verdict::Quarantine), ..Case::default() }), both);
    assert_eq!(check(&Case { action: action(ActionState::Held), ..Case::default() }), both);
    assert_eq!(check(&Case { action: action(ActionState::Withdrawn), ..Case::default() }), both);
    let mut other = Case::default();
    other.sweeps[0].findings.0 = Algorithm::Blake3.digest(b"other");
    let reason = "confirmed by the full sweeps 1 and 2, with other findings in the second";
    assert_eq!(check(&other), ordered(reason));
}

#[test]
fn the_first_closed_gate_holds_and_says_so() {
    let waiting = "waiting for a second full sweep";
    let one = || Other { id: "act_9".to_owned(), subject: SubjectId::node("web-2") };
    for (case, reason) in [
        (Case { mode: Mode::ReportOnly, others: vec![one()], ..Case::default() }, "group web is report-only"),
        (
            Case { state: State::Silent, ..Case::default() },
            "the node is silent, and only drift that was seen is acted on",
        ),
        (
            Case { age_minutes: 16, ..Case::default() },
            "the newest report was 16m old when it arrived, by the node's clock; waiting for a fresh one",
        ),
        (
            Case { arrived_minutes_ago: 16, ..Case::default() },
            "the newest report arrived 16m ago; waiting for a fresh one",
        ),
        (
            Case {
                action: action(ActionState::Held),
                failed: action(ActionState::Failed),
                ..Case::default()
            },
            "action act_1 of this node failed; the next waits until 2026-03-02T11:00:00Z",
        ),
        (Case { sweeps: vec![], ..Case::default() }, waiting),
        (Case { sweeps: vec![sweep(1, true)], ..Case::default() }, waiting),
        (Case { sweeps: vec![sweep(2, true), sweep(1, false)], ..Case::default() }, waiting),
        (Case { others: vec![one()], ..Case::default() }, "action act_9 of node web-2 is open in group web"),
        (
            Case { others: vec![one()], action: action(ActionState::Held), ..Case::default() },
            "action act_9 of node web-2 is open in group web",
        ),
    ] {
        assert_eq!(check(&case), held(reason));
    }
}

#[test]
fn sweeps_of_another_machine_or_manifest_or_of_one_look_do_not_confirm() {
    let mut replaced = Case::default();
    replaced.sweeps[0].chain = 2;
    let mut released = Case::default();
    released.sweeps[0].manifest_root = Some(Algorithm::Blake3.digest(b"next"));
    let mut sent_twice = Case::default();
    sent_twice.sweeps[0].swept = sent_twice.sweeps[1].swept;
    let mut overlapping = Case::default();
    overlapping.sweeps[0].swept = overlapping.sweeps[1].swept.map(|(_, ended)| (ended, ended));
    for case in [replaced, released, sent_twice, overlapping] {
        assert_eq!(check(&case), held("waiting for a second full sweep"));
    }
}

#[test]
fn an_action_is_not_given_twice() {
    let in_flight = || action(ActionState::Proposed).map(|action| Action { in_flight: true, ..action });
    for action in [action(ActionState::Dispatched), action(ActionState::Proposed), in_flight()] {
        assert_eq!(check(&Case { action: action.clone(), ..Case::default() }), Plan::Nothing, "{action:?}");
    }
}

#[test]
fn an_action_that_is_not_called_for_is_given_up_on_evidence() {
    let none =
        |state, live| Case { state, verdict: Some(Verdict::None), action: action(live), ..Case::default() };
    let again = withdrawn("the node is congruent again");
    for live in [ActionState::Held, ActionState::Proposed] {
        assert_eq!(check(&none(State::Congruent, live)), again);
        let observe = Case { verdict: Some(Verdict::Observe), ..none(State::Divergent, live) };
        assert_eq!(check(&observe), withdrawn("policy no longer calls for it: it says observe"));
        for state in [State::Silent, State::Incomplete, State::Unknown] {
            let ground = format!("the node is {}, and only drift that was seen is acted on", state.name());
            let expected = if live == ActionState::Held { Plan::Nothing } else { held(&ground) };
            assert_eq!(check(&none(state, live)), expected, "{state:?}");
        }
    }
    for live in [ActionState::Held, ActionState::Proposed] {
        let mended = |state, verdict| Case { is_mended: true, verdict, ..none(state, live) };
        let gone = withdrawn("nothing that was found of the node is left: policy says none");
        assert_eq!(check(&mended(State::Unknown, Some(Verdict::None))), gone);
        for (state, verdict) in [
            (State::Unknown, None),
            (State::Unknown, Some(Verdict::Replace)),
            (State::Silent, Some(Verdict::None)),
            (State::Incomplete, Some(Verdict::None)),
        ] {
            assert!(
                !matches!(check(&mended(state, verdict)), Plan::Withdraw { .. }),
                "{state:?} {verdict:?}"
            );
        }
    }
    for over in [ActionState::Dispatched, ActionState::Failed, ActionState::Withdrawn] {
        assert_eq!(check(&none(State::Congruent, over)), Plan::Nothing, "{over:?}");
    }
    let in_flight = action(ActionState::Proposed).map(|action| Action { in_flight: true, ..action });
    let case = Case { action: in_flight, ..none(State::Congruent, ActionState::Proposed) };
    assert_eq!(check(&case), Plan::Nothing);
}

#[test]
fn an_order_that_waits_is_held_when_its_ground_is_gone() {
    let proposed = || Case { action: action(ActionState::Proposed), ..Case::default() };
    let other = Other { id: "act_9".to_owned(), subject: SubjectId::node("web-2") };
    for (case, reason) in [
        (Case { mode: Mode::ReportOnly, ..proposed() }, "group web is report-only"),
        (
            Case { state: State::Unknown, ..proposed() },
            "the node is unknown, and only drift that was seen is acted on",
        ),
        (Case { verdict: None, ..proposed() }, "policy fails, and nothing is ordered without it"),
        (
            Case { verdict: Some(Verdict::Quarantine), ..proposed() },
            "policy says quarantine now, and the order was to replace",
        ),
        (
            Case { target: OrderTarget::Container, ..proposed() },
            "policy says replace the container now, and the order was to replace the node",
        ),
        (
            Case { arrived_minutes_ago: 16, ..proposed() },
            "the newest report arrived 16m ago; waiting for a fresh one",
        ),
        (Case { others: vec![other], ..proposed() }, "action act_9 of node web-2 is open in group web"),
    ] {
        assert_eq!(check(&case), held(reason));
    }
    // An order that was confirmed once is not confirmed again.
    assert_eq!(check(&Case { sweeps: vec![], ..proposed() }), Plan::Nothing);
}

/// The bytes of an order that the platform may have stay what they are, and so does its id.
#[test]
fn an_order_that_may_be_known_is_superseded_by_what_policy_says_now() {
    let tried = |state| action(state).map(|action| Action { is_tried: true, ..action });
    let other = |state| Case { target: OrderTarget::Container, action: tried(state), ..Case::default() };
    let reason = "policy says replace the container now, and the order was to replace the node".to_owned();
    let superseded = |next| Plan::Supersede { reason: reason.clone(), next: Box::new(next) };
    for live in [ActionState::Held, ActionState::Proposed] {
        assert_eq!(check(&other(live)), superseded(ordered("confirmed by the full sweeps 1 and 2")));
        let report_only = Case { mode: Mode::ReportOnly, ..other(live) };
        assert_eq!(check(&report_only), superseded(held("group web is report-only")));
        // What cannot be seen, or is not said, takes nothing back.
        let unseen = "the node is silent, and only drift that was seen is acted on";
        assert_eq!(check(&Case { state: State::Silent, ..other(live) }), held(unseen));
    }
    let failing = Case { verdict: None, ..other(ActionState::Proposed) };
    assert_eq!(check(&failing), held("policy fails, and nothing is ordered without it"));
    let same = Case { action: tried(ActionState::Proposed), ..Case::default() };
    assert_eq!(check(&same), Plan::Nothing);
    for over in [ActionState::Dispatched, ActionState::Failed, ActionState::Withdrawn] {
        assert!(!matches!(check(&other(over)), Plan::Supersede { .. }), "{over:?}");
    }
}

#[test]
fn after_the_cool_down_a_failed_action_is_tried_anew() {
    let failed = || action(ActionState::Failed);
    let mut case = Case { action: failed(), failed: failed(), ..Case::default() };
    case.failed.as_mut().unwrap().updated_at = time("2026-02-28T11:00:00Z");
    assert_eq!(check(&case), ordered("confirmed by the full sweeps 1 and 2"));
}

/// Most judgements are of nodes about which nothing is to be done, and the rest of their
/// situations is not read.
#[test]
fn of_what_is_idle_nothing_comes_whatever_else_is_so() {
    use ActionState::{Dispatched, Failed, Held, Proposed, Withdrawn};
    let states = [Held, Proposed, Dispatched, Failed, Withdrawn].map(action);
    let verdicts = [
        None,
        Some(Verdict::None),
        Some(Verdict::Observe),
        Some(Verdict::Quarantine),
        Some(Verdict::Replace),
    ];
    let mut idle = 0;
    for action in states.into_iter().chain([None]) {
        for verdict in verdicts {
            for state in
                [State::Congruent, State::Divergent, State::Incomplete, State::Silent, State::Unknown]
            {
                let case = Case { state, verdict, action: action.clone(), ..Case::default() };
                if is_idle(verdict, case.action.as_ref().map(|action| action.state)) {
                    assert_eq!(check(&case), Plan::Nothing, "{state:?} {verdict:?} {action:?}");
                    idle += 1;
                }
            }
        }
    }
    assert_eq!(idle, 4 * 3 * 5);
}
