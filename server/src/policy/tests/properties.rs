//! What holds for any findings, and for very many.

use std::time::Instant;

use congruent_protocol::contract::Class;
use congruent_protocol::decision::{Severity, Verdict};
use congruent_protocol::drift::Finding;
use congruent_protocol::path::TreePath;
use proptest::prelude::*;
use serde_json::json;

use super::schemas::{assert_valid, input_schema};
use super::{Given, Shelf};
use crate::policy::Policy;
use crate::policy::concern::Concern;
use crate::policy::input::{POLICY_FINDINGS, POLICY_GAPS};

/// `count` harmless findings, and then one that is grave.
fn many(shelf: &Shelf, count: usize, grave: Option<&str>) -> Vec<Finding> {
    let page = &shelf.findings["page"];
    let mut findings: Vec<_> = (0..count)
        .map(|i| Finding { path: TreePath::new(format!("/srv/{i:06}")).unwrap(), ..page.clone() })
        .collect();
    findings.extend(grave.map(|name| {
        let path = TreePath::new("/zzz").unwrap();
        Finding { path, ..shelf.findings[name].clone() }
    }));
    findings
}

#[test]
fn no_verdict_hangs_on_what_was_cut() {
    let (policy, shelf) = (Policy::embedded().unwrap(), Shelf::open());
    for grave in ["setuid", "capability", "device", "mount", "program"] {
        let given = shelf.divergent("prod", many(&shelf, POLICY_FINDINGS, Some(grave)));
        let decision = policy.decide(&given.input()).unwrap();
        assert_eq!(decision.severity, Severity::Critical, "{grave}");
        assert!(decision.reasons.iter().any(|reason| reason.contains("/zzz (")), "{grave}: {decision:?}");
    }
}

#[test]
fn a_hundred_thousand_findings_take_bounded_time_and_room() {
    let (policy, shelf) = (Policy::embedded().unwrap(), Shelf::open());
    let given = shelf.divergent("prod", many(&shelf, 100_000, Some("setuid")));
    let began = Instant::now();
    let input = given.input();
    let counted = began.elapsed();
    let decision = policy.decide(&input).unwrap();
    println!("counted in {counted:?}, decided in {:?}", began.elapsed() - counted);
    assert_eq!(input.findings_total(), 100_001);
    let json = serde_json::to_value(&input).unwrap();
    assert_valid(input_schema(), &json, "100,001 findings");
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(findings.len(), POLICY_FINDINGS);
    assert_eq!((&findings[0]["path"], &findings[999]["path"]), (&json!("/srv/000000"), &json!("/zzz")));
    assert!(
        decision.reasons.len() < 15 && decision.reasons.iter().all(|reason| reason.chars().count() < 1200)
    );
    assert!(decision.reasons.iter().any(|reason| reason.contains("100001 differences")), "{decision:?}");
}

#[test]
fn reasons_stay_short_whatever_they_quote() {
    let (policy, shelf) = (Policy::embedded().unwrap(), Shelf::open());
    let long = format!("/{}", vec!["\u{1b}".repeat(255); 16].join("/"));
    let gap = json!({"path": "/etc", "reason": "\u{202e}x".repeat(5000)});
    let patch = json!({
        "state": "divergent", "note": "\u{7}note".repeat(5000),
        "manifest": {"name": "n".repeat(5000), "version": "v".repeat(5000)},
        "coverage": {"unreadable": vec![gap; 5000]},
    });
    let mut given = shelf.given(&patch, &[]);
    given.findings = shelf.findings.values().cloned().collect();
    given.findings.iter_mut().for_each(|finding| finding.path = TreePath::new(long.clone()).unwrap());
    let input = given.input();
    assert_valid(input_schema(), &serde_json::to_value(&input).unwrap(), "long");
    let decision = policy.decide(&input).unwrap();
    for reason in &decision.reasons {
        assert!(
            reason.chars().count() < 4000 && !reason.contains(['\u{1b}', '\u{7}', '\u{202e}']),
            "{reason}"
        );
    }
    assert!(decision.reasons.iter().any(|reason| reason.contains("Could not verify 5000 paths")));
}

#[test]
fn lists_in_coverage_and_facts_are_cut_and_counted() {
    let shelf = Shelf::open();
    let gap = json!({"path": "/x", "reason": "y"});
    let disk = shelf.base["facts"]["disks"][0].clone();
    let patch = json!({"state": "incomplete", "coverage": {"unstable": vec![gap; 777]}, "facts": {"disks": vec![disk; 500]}});
    let input = shelf.given(&patch, &[]).input();
    let json = serde_json::to_value(&input).unwrap();
    assert_eq!(json["coverage"]["unstable"].as_array().unwrap().len(), POLICY_GAPS);
    assert_eq!(json["facts"]["disks"].as_array().unwrap().len(), POLICY_GAPS);
    assert_eq!((input.summary().gaps.unstable, input.summary().gaps.total()), (777, 777));
}

/// Examples of each concern come before the mass of one of them.
#[test]
fn rules_see_examples_of_everything() {
    let shelf = Shelf::open();
    let mut findings: Vec<Finding> = Vec::new();
    for (name, count) in [("program", 3000), ("configuration", 2000), ("page", 2000), ("account", 12)] {
        findings.extend((0..count).map(|i| {
            let at = &shelf.findings[name];
            let parent = at.path.parent().unwrap();
            Finding { path: parent.join(format!("{name}-{i:05}").as_bytes()).unwrap(), ..at.clone() }
        }));
    }
    findings[5011].path = TreePath::new("/etc/shadow").unwrap();
    findings.sort_by(|a, b| a.path.cmp(&b.path));
    let json = serde_json::to_value(shelf.divergent("prod", findings).input()).unwrap();
    let listed = json["findings"].as_array().unwrap();
    let bearing = |concern: &str| {
        listed.iter().filter(|it| it["bears_on"].as_array().unwrap().contains(&json!(concern))).count()
    };
    assert_eq!(listed.len(), POLICY_FINDINGS);
    assert!(bearing("configuration") >= 10 && bearing("trust-anchor") >= 1 && bearing("code") > 900);
    assert!(listed.iter().filter(|it| it["bears_on"] == json!([])).count() >= 10);
    assert!(listed.is_sorted_by_key(|it| TreePath::new(it["path"].as_str().unwrap()).unwrap()));
}

fn arbitrary_finding() -> impl Strategy<Value = Finding> {
    let names: Vec<_> = Shelf::open().findings.into_values().collect();
    let paths = [
        "/",
        "/etc",
        "/etc/shadow",
        "/usr",
        "/usr/bin/x",
        "/boot/vmlinuz",
        "/srv/x",
        "/srv/x.py",
        "/opt/\u{1b}",
    ];
    let classes = [Class::Immutable, Class::Ephemeral, Class::Reserved];
    (
        prop::sample::select(names),
        prop::option::of(prop::sample::select(paths.to_vec())),
        prop::sample::select(classes.to_vec()),
    )
        .prop_map(|(finding, path, class)| Finding {
            path: path.map_or(finding.path.clone(), |path| TreePath::new(path).unwrap()),
            class,
            ..finding
        })
}

fn judge(policy: &Policy, given: &Given) -> (Severity, Verdict) {
    let decision = policy.decide(&given.input()).unwrap();
    (decision.severity, decision.action)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A machine cannot look better for having drifted more.
    #[test]
    fn more_findings_are_never_milder(
        some in prop::collection::vec(arbitrary_finding(), 0..6),
        more in prop::collection::vec(arbitrary_finding(), 1..6),
        environment in prop::sample::select(vec!["prod", "test", "dev", "live"]),
        gaps in any::<bool>(),
        silent in any::<bool>(),
    ) {
        let (policy, shelf) = (Policy::embedded().unwrap(), Shelf::open());
        let gap = json!({"path": "/x", "reason": "y"});
        let state = |findings: &[Finding]| match (silent, findings.is_empty(), gaps) {
            (true, ..) => "silent",
            (false, false, _) => "divergent",
            (false, true, true) => "incomplete",
            (false, true, false) => "congruent",
        };
        let given = |findings: Vec<Finding>| {
            let unreadable = if gaps { vec![gap.clone()] } else { vec![] };
            let patch = json!({
                "state": state(&findings), "subject": {"environment": environment},
                "coverage": {"unreadable": unreadable},
            });
            Given { findings, ..shelf.given(&patch, &[]) }
        };
        let all: Vec<_> = some.iter().cloned().chain(more).collect();
        let (before, after) = (judge(&policy, &given(some)), judge(&policy, &given(all)));
        prop_assert!(before.0 <= after.0 && before.1 <= after.1, "{:?} became {:?}", before, after);
        prop_assert!(!silent || after.1 == Verdict::Observe);
    }

    /// Each finding is counted once by change and class, and once or more by what it bears on.
    #[test]
    fn counts_add_up(findings in prop::collection::vec(arbitrary_finding(), 1..20)) {
        let total = findings.len() as u64;
        let bearing: Vec<_> = findings.iter().map(Concern::of).collect();
        let input = Shelf::open().divergent("prod", findings).input();
        let summary = input.summary();
        prop_assert_eq!(summary.by_change.values().sum::<u64>(), total);
        prop_assert_eq!(summary.by_class.values().sum::<u64>(), total);
        for concern in Concern::ALL {
            let counted = bearing.iter().filter(|concerns| concerns.contains(&concern)).count() as u64;
            prop_assert_eq!(summary.bears_on[&concern], counted);
        }
        prop_assert_eq!(summary.bears_on_nothing, bearing.iter().filter(|it| it.is_empty()).count() as u64);
        prop_assert!(bearing.iter().all(|concerns| concerns.is_sorted()));
    }
}
