//! Policies that are refused, or fail: each a clear sentence, none a verdict.

use std::time::Duration;

use serde_json::json;

use super::{Shelf, chain};
use crate::policy::engine::Policy;
use crate::policy::error::PolicyError;
use crate::policy::source::Source;

const LONG: Duration = Duration::from_secs(60);

fn load(text: &str, limit: Duration) -> Result<Policy, PolicyError> {
    Policy::from_sources(&[Source { path: "rules/a.rego".to_owned(), text: text.to_owned() }], limit)
}

/// The policy of these rules is not loaded, and the errors say so.
fn check(rules: &str, says: &[&str]) {
    let error = match load(&format!("package congruent\n\n{rules}\n"), LONG) {
        Ok(_) => panic!("it loads: {rules}"),
        Err(error) => chain(&error),
    };
    says.iter().for_each(|part| assert!(error.contains(part), "{rules}\ngives: {error}\nnot: {part}"));
}

#[test]
fn what_is_not_rego_is_refused() {
    check("decision := {\n  1 2 }", &["rules/a.rego:4:5", "expecting `}`", "Rego v1"]);
    check("decision { true }", &["rules/a.rego:3:10", "`if` keyword is required"]);
    check("allow := 1", &["no rule `decision`", "define data.congruent.decision"]);
    let elsewhere = load("package other\n\ndecision := 1\n", LONG).unwrap_err();
    assert!(matches!(elsewhere, PolicyError::NoEntryPoint), "{elsewhere}");
}

#[test]
fn recursion_is_refused_before_it_runs() {
    let back = "leads back to it; Rego has no recursion";
    check("decision := f(1)\nf(x) := f(x)", &["rules/a.rego:4:10", back]);
    check("decision := f(1)\nf(x) := g(x)\ng(x) := data.congruent.f(x)", &[back]);
    check("import data.congruent as c\ndecision := f(1)\nf(x) := c.f(x)", &[back]);
    check("decision := f(1)\nf(x) := y if { y := g(x) with g as f }\ng(x) := x", &[back]);
    check("decision := f(1)\nf(x) := {y | some y in f(x)}", &[back]);
    check("decision := f(1)\nf(x) := true if { every y in x { f(y) } }", &[back]);
    check("decision := a\na := b\nb := a", &["recursion detected"]);
    check("decision := f(1)\nf(x) := r\nr := f(1)", &["recursion detected"]);
    let deep: Vec<_> = (0..200).map(|i| format!("f{i}(x) := f{}(x)", i + 1)).collect();
    check(&format!("decision := f0(1)\n{}\nf200(x) := x", deep.join("\n")), &["over 100 deep"]);
}

#[test]
fn what_no_replay_could_reproduce_is_refused() {
    let says = ["is not for policies", "equal input has to give equal decisions"];
    check("decision := time.now_ns()", &says);
    check("decision := time[\"now_ns\"]()", &says);
    check("decision := x if { x := count([]) with count as time.now_ns }", &says);
    check("import data.time\ndecision := time.now_ns()", &says);
    check("decision := rand.intn(\"a\", 3)", &says);
    // There is nothing else to ask, whatever a policy wishes for.
    check("decision := http.send({})", &["could not find function http.send"]);
    check("decision := opa.runtime()", &["could not find function opa.runtime"]);
    check("decision := uuid.rfc4122(\"a\")", &["could not find function uuid.rfc4122"]);
}

#[test]
fn what_fails_gives_no_verdict() {
    let state = "no decision for the state `congruent` in the environment \"prod\"";
    check("decision := 1 / 0", &[state, "rules/a.rego:3:15", "divide by zero"]);
    check("decision := to_number(\"x\")", &[state, "could not parse string as number"]);
    check("decision := missing.function(1)", &["could not find function missing.function"]);
    check("decision := x if { x > 1 }", &["var x is unsafe"]);
    check("decision := 1\ndecision := 2", &["conflicts with rule at"]);
    check("decision := 1 if input.missing", &[state, "leaves data.congruent.decision undefined"]);
    check("decision := data.missing.decision", &["leaves data.congruent.decision undefined"]);
}

#[test]
fn another_shape_is_no_decision() {
    let shape = "not of the shape of decision.schema.json";
    check("decision := 1", &[shape]);
    check("decision contains 1", &[shape]);
    check("decision := [\"none\", \"none\", [], []]", &[shape, "not an object"]);
    let with = |action: &str, severity: &str, reasons: &str| {
        format!(
            r#"decision := {{"action": {action}, "severity": {severity}, "reasons": {reasons}, "controls": []}}"#
        )
    };
    check(&with("\"kill\"", "\"none\"", "[]"), &["decided for the action \"kill\"; there are `none`"]);
    check(&with("1", "\"none\"", "[]"), &[shape]);
    check(&with("\"none\"", "\"bad\"", "[]"), &[shape, "unknown variant `bad`"]);
    check(&with("\"none\"", "\"none\"", "\"x\""), &[shape]);
    check(&with("\"none\"", "\"none\"", "[1]"), &[shape]);
    check(
        &with(
            "\"none\"",
            "\"none\"",
            "[x | some x in [format_int(n, 10) | some n in numbers.range(1, 200)]]",
        ),
        &[shape, "it has 200 reasons; at most 100 are taken"],
    );
    check(
        r#"decision := {"action": "none", "severity": "none", "reasons": [], "controls": [], "why": 1}"#,
        &[shape, "unknown field `why`"],
    );
    check(r#"decision := {"action": "none", "severity": "none", "reasons": []}"#, &[shape, "missing field"]);
}

#[test]
fn a_loop_ends_at_the_time_limit() {
    let rules = "package congruent\n\nimport data.x\n\n\
        decision := count([1 | some a in numbers.range(1, 9999); some b in numbers.range(1, 9999); a == b])";
    let error = load(rules, Duration::from_millis(200)).unwrap_err();
    assert!(chain(&error).contains("did not decide within 200ms"), "{}", chain(&error));
}

/// A policy may decide for every state and fail on some input: that input then
/// has no decision, and the next one has again.
#[test]
fn a_failure_is_not_remembered() {
    let rules = r#"package congruent

decision := {"action": "observe", "severity": "low", "reasons": ["b", "a", "b"], "controls": {"c"}} if {
    input.subject.node == "self-check"
} else := {"action": "none", "severity": "none", "reasons": [], "controls": []} if {
    to_number(trim_prefix(input.subject.node, "web-")) > 0
}"#;
    let policy = load(rules, LONG).unwrap();
    let shelf = Shelf::open();
    let decide = |node: &str| {
        policy.decide(&shelf.given(&json!({"subject": {"node": node}}), &[]).input()).map_err(|e| chain(&e))
    };
    let good = decide("web-1").unwrap();
    assert!(decide("db").unwrap_err().contains("could not parse string as number"));
    assert_eq!(decide("web-1"), Ok(good));
    let listed = decide("self-check").unwrap();
    assert_eq!((listed.reasons, listed.controls), (vec!["a".into(), "b".into()], vec!["c".into()]));
}

#[test]
fn input_that_contradicts_itself_is_not_judged() {
    let policy = Policy::embedded().unwrap();
    let shelf = Shelf::open();
    let gap = json!({"coverage": {"unreadable": [{"path": "/x", "reason": "y"}]}});
    for (patch, findings, says) in [
        (json!({}), vec!["page".to_owned()], "it is congruent and has findings"),
        (gap, vec![], "it is congruent and has gaps"),
        (json!({"state": "divergent"}), vec![], "it is divergent and has no findings"),
    ] {
        let error = policy.decide(&shelf.given(&patch, &findings).input()).unwrap_err();
        assert!(chain(&error).contains(says), "{error}");
    }
}
