use congruent_protocol::decision::{Decision, Severity, Target, Verdict};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::report::ContainerIdentity;
use congruent_protocol::verification::{ManifestId, Protected};
use serde_json::Value;

use super::*;
use crate::config::Mode;
use crate::scope::{ScopeGroup, ScopeManifest, ScopeNode};
use crate::store::{LookTimes, RecordKind, RemovalRow, StateRow};
use crate::subject::SubjectId;
use crate::testing::{added, root_of, tampered, time};

fn scope() -> Scope {
    let manifest = ManifestId {
        name: "web".to_owned(),
        version: "1.4.2".to_owned(),
        root: root_of(&[]),
        signed_by: vec!["sha256:00".to_owned()],
    };
    let node = |id: &str| ScopeNode { id: id.to_owned(), group: "web".to_owned() };
    Scope {
        policy_digest: Algorithm::Blake3.digest(b"policy"),
        engine: "regorus".to_owned(),
        silent_after_seconds: 900,
        groups: vec![ScopeGroup {
            name: "web".to_owned(),
            environment: "prod".to_owned(),
            mode: Mode::ReportOnly,
            manifests: vec![ScopeManifest { id: manifest, protected: Protected { entries: 6, of: 8 } }],
        }],
        nodes: vec![node("web-1"), node("web-2")],
    }
}

fn state(at: &str, state: State) -> StateRow {
    let subject = SubjectId::node("web-1");
    StateRow { subject, at: time(at), state, note: None, report_id: None, is_over: false, identity: None }
}

fn sweep(report_id: i64, at: &str, findings: &[Finding]) -> LookTimes {
    LookTimes {
        report_id,
        received_at: time(at),
        state: if findings.is_empty() { State::Congruent } else { State::Divergent },
        findings_digest: congruent_protocol::report::findings_digest(findings),
        beside: None,
        held: true,
        complete: true,
    }
}

/// A month in which `web-1` was congruent, then divergent in two ways, and
/// `web-2` never reported.
fn evidence() -> Evidence {
    let (one, two) = (tampered(), vec![added("/bin/new"), tampered().remove(0)]);
    let digest = |findings: &[Finding]| congruent_protocol::report::findings_digest(findings);
    let web_1 = SubjectEvidence {
        identity: None,
        states: vec![
            state("2026-02-01T00:00:00Z", State::Unknown),
            state("2026-02-01T00:01:00Z", State::Congruent),
            state("2026-03-10T00:00:00Z", State::Divergent),
        ],
        looks: vec![
            sweep(1, "2026-02-28T00:00:00Z", &[]),
            sweep(2, "2026-03-02T00:00:00Z", &[]),
            sweep(3, "2026-03-10T00:00:00Z", &one),
            sweep(4, "2026-03-11T00:00:00Z", &two),
            sweep(5, "2026-03-12T00:00:00Z", &one),
        ],
        findings: [((digest(&one), None), one), ((digest(&two), None), two)].into(),
    };
    let decision = Decision {
        action: Verdict::Observe,
        target: Target::default(),
        severity: Severity::High,
        reasons: vec![],
        controls: vec!["OWN-1".to_owned(), "PCI-DSS-11.5.2".to_owned()],
    };
    let decision = DecisionRecord {
        id: 7,
        at: time("2026-03-10T00:00:00Z"),
        node: "web-1".to_owned(),
        container: None,
        group: "web".to_owned(),
        state: State::Divergent,
        sequence: Some(3),
        decision: Some(decision),
        policy_error: None,
        policy_digest: Algorithm::Blake3.digest(b"policy"),
        engine: "regorus".to_owned(),
        input_digest: Algorithm::Blake3.digest(b"input"),
    };
    let subject = SubjectId::container("web-1", "c1");
    let over = StateRow {
        subject: subject.clone(),
        note: Some("it is gone".to_owned()),
        is_over: true,
        ..state("2026-03-09T00:00:00Z", State::Unknown)
    };
    let c1 = SubjectEvidence {
        identity: Some(ContainerIdentity {
            id: "c1".to_owned(),
            name: Some("shop".to_owned()),
            runtime: "docker".to_owned(),
            image: Some("app:1".to_owned()),
            config_digest: None,
        }),
        states: vec![state("2026-03-08T00:00:00Z", State::Congruent), over],
        looks: vec![sweep(6, "2026-03-08T00:00:00Z", &[])],
        findings: BTreeMap::new(),
    };
    let running = SubjectId::container("web-1", "c2");
    let c2 = SubjectEvidence {
        states: vec![state("2026-03-08T00:00:00Z", State::Unknown)],
        ..SubjectEvidence::default()
    };
    Evidence {
        containers: [(subject, c1), (running, c2)].into(),
        scopes: vec![(time("2026-02-01T00:00:00Z"), scope())],
        nodes: [("web-1".to_owned(), web_1), ("web-2".to_owned(), SubjectEvidence::default())].into(),
        decisions: vec![decision],
        actions: vec![],
        refusals: vec![],
        audit: vec![],
        removed: vec![],
    }
}

fn rendered(evidence: &Evidence, now: &str) -> Value {
    let period = Period { from: time("2026-03-01T00:00:00Z"), to: time("2026-04-01T00:00:00Z") };
    serde_json::to_value(Document::of(evidence, period, time(now))).unwrap()
}

#[test]
fn every_node_is_shown_with_state_coverage_and_findings() {
    let report = rendered(&evidence(), "2026-05-01T00:00:00Z");
    let (one, two) = (&report["nodes"][0], &report["nodes"][1]);
    assert_eq!(
        (&one["id"], &one["state"], &one["group"]),
        (&"web-1".into(), &"divergent".into(), &"web".into())
    );
    assert_eq!(one["coverage"]["sweeps"], 4);
    assert_eq!(one["coverage"]["last_sweep_at"], "2026-03-12T00:00:00Z");
    assert_eq!(one["coverage"]["largest_gap_seconds"], 20 * 86400, "from the last sweep to the end");
    assert_eq!(one["states"].as_array().unwrap().len(), 1);
    let findings = one["findings"].as_array().unwrap();
    let seen: Vec<_> = findings
        .iter()
        .map(|f| [&f["path"], &f["first_seen"], &f["last_seen"]].map(|value| value.as_str().unwrap()))
        .collect();
    let (tenth, eleventh, twelfth) = ("2026-03-10T00:00:00Z", "2026-03-11T00:00:00Z", "2026-03-12T00:00:00Z");
    assert_eq!(seen, [["/bin/new", eleventh, eleventh], ["/bin/tool", tenth, twelfth]]);
    assert_eq!((&findings[0]["in_last_sweep"], &findings[1]["in_last_sweep"]), (&false.into(), &true.into()));
    assert_ne!(findings[1]["expected"]["content"], findings[1]["observed"]["content"]);
    assert_eq!((&two["state"], &two["coverage"]["sweeps"]), (&"unknown".into(), &0.into()));
    assert_eq!(two["coverage"]["largest_gap_seconds"], 31 * 86400);
    assert_eq!(report["totals"]["nodes_by_state"], serde_json::json!({"divergent": 1, "unknown": 1}));
    let container = &one["containers"][0];
    assert_eq!((&container["id"], &container["note"]), (&"c1".into(), &"it is gone".into()));
    assert_eq!((&container["name"], &container["image"]), (&"shop".into(), &"app:1".into()));
    assert_eq!((&container["state"], &container["since"]), (&"over".into(), &"2026-03-09T00:00:00Z".into()));
    let states: Vec<_> = container["states"].as_array().unwrap().iter().map(|row| &row["state"]).collect();
    assert_eq!(states, ["congruent", "over"]);
    assert_eq!(container["coverage"]["largest_gap_seconds"], 86400, "what is over is not waited for");
    let running = &one["containers"][1];
    assert_eq!((&running["state"], &running["name"]), (&"unknown".into(), &Value::Null));
    assert_eq!((&report["totals"]["containers"], &two["containers"]), (&2.into(), &serde_json::json!([])));
    assert_eq!(report["totals"]["containers_by_state"], serde_json::json!({"over": 1, "unknown": 1}));
    assert_eq!(
        (&report["totals"]["nodes_without_sweep"], &report["totals"]["findings"]),
        (&1.into(), &2.into())
    );
}

#[test]
fn a_layer_that_was_mended_is_gone_from_the_last_look_that_would_have_seen_it() {
    let subject = SubjectId::container("web-1", "c1");
    let found = vec![added("/bin/planted")];
    let of = |held, state, findings: &[Finding]| LookTimes {
        state,
        held,
        complete: held,
        ..sweep(0, "2026-03-08T00:00:00Z", findings)
    };
    // Held to a manifest, or not.
    let damaged = |held| of(held, State::Divergent, &found);
    let clean = |held| of(held, if held { State::Congruent } else { State::Unknown }, &[]);
    let incomplete = LookTimes { complete: false, ..of(true, State::Incomplete, &[]) };
    let beside = Some(Algorithm::Blake3.digest(b"beside"));
    let not_accepted = LookTimes { beside, ..of(false, State::Unknown, &[]) };
    let check = |looks: &[LookTimes], expected: bool| {
        let days = looks.iter().zip([8, 9, 10]);
        let looks: Vec<_> = days
            .map(|(look, day)| LookTimes {
                received_at: time(&format!("2026-03-{day:02}T00:00:00Z")),
                ..*look
            })
            .collect();
        let c1 = SubjectEvidence {
            looks: looks.clone(),
            findings: [(damaged(true).found(), found.clone())].into(),
            ..SubjectEvidence::default()
        };
        let containers = [(subject.clone(), c1)].into();
        let report = rendered(&Evidence { containers, ..evidence() }, "2026-05-01T00:00:00Z");
        let shown = &report["nodes"][0]["containers"][0];
        assert_eq!(shown["findings"][0]["in_last_sweep"], expected, "{looks:?}");
        let sweeps = looks.iter().filter(|look| look.held).count();
        assert_eq!(shown["coverage"]["sweeps"], sweeps, "{looks:?}");
        assert_eq!(shown["coverage"]["other_looks"], looks.len() - sweeps, "{looks:?}");
    };
    check(&[damaged(false), damaged(false)], true);
    check(&[damaged(false), clean(false)], false);
    check(&[damaged(false), clean(false), damaged(false)], true);
    // A sweep looks at the layers as well, where it can.
    check(&[damaged(false), clean(true)], false);
    check(&[damaged(false), incomplete], true);
    check(&[damaged(false), clean(true), clean(false)], false);
    check(&[damaged(true), incomplete], false);
    // Without a manifest nobody looks at all that a sweep does, but sees the same layers.
    check(&[damaged(true), clean(false)], true);
    check(&[damaged(false), damaged(true), clean(false)], false);
    check(&[damaged(true), clean(false), clean(true)], false);
    // It found something, of which nothing is told.
    check(&[damaged(false), not_accepted], true);
}

#[test]
fn a_period_that_is_not_over_is_reported_as_of_now() {
    let report = rendered(&evidence(), "2026-03-12T01:00:00Z");
    assert_eq!(report["period"]["as_of"], "2026-03-12T01:00:00Z");
    assert_eq!(report["nodes"][0]["coverage"]["largest_gap_seconds"], 8 * 86400);
}

#[test]
fn controls_name_their_evidence_and_those_without_are_not_covered() {
    let report = rendered(&evidence(), "2026-05-01T00:00:00Z");
    let control = |id: &str| {
        let controls = report["controls"].as_array().unwrap();
        controls.iter().find(|control| control["control"] == id).unwrap().clone()
    };
    let pci = control("PCI-DSS-11.5.2");
    assert_eq!((&pci["status"], &pci["decisions"]), (&"covered".into(), &serde_json::json!([7])));
    assert_eq!(pci["nodes"], serde_json::json!(["web-1"]));
    assert_eq!(pci["nodes_without_evidence"], serde_json::json!(["web-2"]));
    assert_eq!(control("PCI-DSS-10.3.4")["status"], "not covered");
    assert_eq!(control("NIST-800-53-SI-7(5)")["status"], "not covered", "nothing was ordered");
    assert_eq!(control("NIST-800-53-SI-7(15)")["manifests"][0], root_of(&[]).to_string());
    let own = control("OWN-1");
    assert_eq!((&own["asks"], &own["status"]), (&Value::Null, &"covered".into()));
}

#[test]
fn the_scope_names_manifests_and_signers() {
    let report = rendered(&evidence(), "2026-05-01T00:00:00Z");
    let manifest = &report["scope"][0]["groups"][0]["manifests"][0];
    assert_eq!((&manifest["name"], &manifest["signed_by"][0]), (&"web".into(), &"sha256:00".into()));
    assert_eq!(report["policy_digest"], report["scope"][0]["policy_digest"]);
}

#[test]
fn what_was_removed_is_told() {
    let whole = evidence();
    assert_eq!(rendered(&whole, "2026-05-01T00:00:00Z")["removed"], serde_json::json!([]));
    let removal = RemovalRow { kind: RecordKind::Reports, until: time("2026-03-05T00:00:00Z"), count: 12 };
    let report = rendered(&Evidence { removed: vec![removal], ..whole }, "2026-05-01T00:00:00Z");
    let removed = serde_json::json!([{"kind": "reports", "until": "2026-03-05T00:00:00Z", "count": 12}]);
    assert_eq!(report["removed"], removed);
}
