use congruent_protocol::decision::Severity;
use congruent_protocol::digest::Algorithm;

use super::*;
use crate::testing::time;

const NOW: &str = "2026-03-01T12:00:00Z";

/// A situation by its parts; all gates are open unless said otherwise.
struct Case {
    mode: Mode,
    state: State,
    verdict: Verdict,
    age_minutes: i64,
    sweeps: Vec<FullSweep>,
    action: Option<Action>,
    others: Vec<Other>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            mode: Mode::Replace,
            state: State::Divergent,
            verdict: Verdict::Replace,
            age_minutes: 0,
            sweeps: vec![sweep(2, true), sweep(1, true)],
            action: None,
            others: vec![],
        }
    }
}

fn sweep(sequence: u64, called_for_action: bool) -> FullSweep {
    FullSweep {
        chain: 1,
        sequence,
        state: if called_for_action { State::Divergent } else { State::Congruent },
        manifest_root: Some(Algorithm::Blake3.digest(b"root")),
        findings_digest: Algorithm::Blake3.digest(b"findings"),
        called_for_action,
    }
}

fn action(state: ActionState) -> Option<Action> {
    Some(Action { id: "act_1".to_owned(), state, in_flight: false, updated_at: time("2026-03-01T11:00:00Z") })
}

fn check(case: &Case) -> Plan {
    let decision =
        Decision { action: case.verdict, severity: Severity::High, reasons: vec![], controls: vec![] };
    plan(&Situation {
        now: time(NOW),
        group: "web",
        mode: case.mode,
        state: case.state,
        decision: &decision,
        age_on_arrival: SignedDuration::from_mins(case.age_minutes),
        fresh_within: SignedDuration::from_mins(15),
        full_sweeps: &case.sweeps,
        action: case.action.as_ref(),
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
    assert_eq!(check(&Case { verdict: Verdict::Quarantine, ..Case::default() }), both);
    assert_eq!(check(&Case { action: action(ActionState::Held), ..Case::default() }), both);
    assert_eq!(check(&Case { action: action(ActionState::Withdrawn), ..Case::default() }), both);
    let mut other = Case::default();
    other.sweeps[0].findings_digest = Algorithm::Blake3.digest(b"other");
    let reason = "confirmed by the full sweeps 1 and 2, with other findings in the second";
    assert_eq!(check(&other), ordered(reason));
}

#[test]
fn the_first_closed_gate_holds_and_says_so() {
    let waiting = "waiting for a second full sweep";
    let one = || Other { id: "act_9".to_owned(), node: "web-2".to_owned() };
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
            Case { action: action(ActionState::Failed), ..Case::default() },
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
fn sweeps_of_another_machine_or_manifest_do_not_confirm() {
    let mut replaced = Case::default();
    replaced.sweeps[0].chain = 2;
    let mut released = Case::default();
    released.sweeps[0].manifest_root = Some(Algorithm::Blake3.digest(b"next"));
    for case in [replaced, released] {
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
    let none = |state, live| Case { state, verdict: Verdict::None, action: action(live), ..Case::default() };
    let again = withdrawn("the node is congruent again");
    for live in [ActionState::Held, ActionState::Proposed] {
        assert_eq!(check(&none(State::Congruent, live)), again);
        let observe = Case { verdict: Verdict::Observe, ..none(State::Divergent, live) };
        assert_eq!(check(&observe), withdrawn("policy no longer calls for it: it says observe"));
        for state in [State::Silent, State::Incomplete, State::Unknown] {
            assert_eq!(check(&none(state, live)), Plan::Nothing, "{state:?}");
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
fn a_group_that_becomes_report_only_takes_back_what_was_not_sent() {
    let case = Case { mode: Mode::ReportOnly, action: action(ActionState::Proposed), ..Case::default() };
    assert_eq!(check(&case), held("group web is report-only"));
}

#[test]
fn after_the_cool_down_a_failed_action_is_tried_anew() {
    let mut case = Case { action: action(ActionState::Failed), ..Case::default() };
    case.action.as_mut().unwrap().updated_at = time("2026-02-28T11:00:00Z");
    assert_eq!(check(&case), ordered("confirmed by the full sweeps 1 and 2"));
}
