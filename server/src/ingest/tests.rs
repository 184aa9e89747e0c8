mod containers;
mod large;

use std::convert::Infallible;
use std::sync::Arc;

use congruent_protocol::contract::{Class, Contract};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::drift::Finding;
use congruent_protocol::key::SecretKey;
use congruent_protocol::ledger::FirstValue;
use congruent_protocol::verification::{Hidden, Mount, MountTreatment, State, SweepMode, Verification};

use super::*;
use crate::blobs::Blobs;
use crate::config::Mode;
use crate::store::EnrolmentRow;
use crate::testing::{
    Fixture, StandingClock, added, enrolment, fleet, manifest, manifest_under, path, report, root_of,
    sealed_by, server_toml, sweep, tampered, tree, verified,
};

struct Bench {
    ingest: Ingest,
    clock: StandingClock,
    _fixture: Fixture,
}

impl Bench {
    fn new() -> Self {
        Self::with(&manifest("1.4.2", &SecretKey::from_seed([1; 32])))
    }

    fn with(manifest: &[u8]) -> Self {
        let fixture = Fixture::new("report-only");
        fixture.write("web.manifest", manifest);
        Self::over(fixture)
    }

    fn over(fixture: Fixture) -> Self {
        let clock = StandingClock::at("2026-03-01T00:00:20Z");
        let config = Arc::new(fixture.config());
        let store = Store::open(&config.database).unwrap();
        store.keep_bodies_in(Blobs::open(&config.blobs).unwrap());
        let ingest = Ingest {
            config,
            store,
            clock: clock.clock(),
            judge: Arc::default(),
            budget: Arc::default(),
            arrived: Arc::default(),
            metrics: Metrics::default(),
            computing: Computing::default(),
        };
        Self { ingest, clock, _fixture: fixture }
    }

    async fn body(&self, body: Vec<u8>) -> Result<Acknowledgement, Refused> {
        self.ingest.take(self.ingest.config.nodes.get("web-1").unwrap(), body).await
    }

    /// Sends what `web-1` signed and sealed as its first report.
    async fn bytes(&self, payload: &str) -> Result<Acknowledgement, Refused> {
        self.body(sealed_by("web-1", 1, payload.as_bytes())).await
    }

    async fn send(&self, report: &Report) -> Result<Acknowledgement, Refused> {
        let Ok(told) = report.clone().try_map(|set| Ok::<_, Infallible>(SetChange::between(None, &set).0));
        self.body(sealed_by("web-1", report.sequence, &serde_json::to_vec(&told).unwrap())).await
    }

    async fn node(&self) -> Option<crate::store::SubjectRow> {
        self.ingest.store.read("read a node", |view| view.node("web-1")).await.unwrap()
    }

    async fn chain_notes(&self) -> Vec<String> {
        let notes = self.ingest.store.read("read notes", |view| view.chain_notes("web-1", 9)).await.unwrap();
        notes.into_iter().map(|note| note.note).collect()
    }
}

fn no_ledger() -> Ledger {
    Ledger::empty(root_of(&[]))
}

/// An honest verification, changed.
fn changed(change: impl FnOnce(&mut Verification)) -> Report {
    let mut verification = verified(tampered(), &[]);
    change(&mut verification);
    report("web-1", 1, Outcome::Verified(Box::new(verification)))
}

#[tokio::test]
async fn honest_reports_are_stored_with_their_state() {
    let bench = Bench::new();
    let gaps = verified(vec![], &["/etc/motd"]);
    let both = verified(tampered(), &["/etc/motd"]);
    for (sequence, outcome, state) in [
        (1, Outcome::Verified(Box::new(verified(vec![], &[]))), State::Congruent),
        (2, Outcome::Verified(Box::new(verified(tampered(), &[]))), State::Divergent),
        (3, Outcome::Verified(Box::new(gaps)), State::Incomplete),
        (4, Outcome::Verified(Box::new(both)), State::Divergent),
        (5, Outcome::NoManifest("it is gone".to_owned()), State::Unknown),
    ] {
        let answer = bench.send(&report("web-1", sequence, outcome)).await.unwrap();
        assert_eq!((answer.sequence, answer.state, answer.duplicate), (sequence, state, false));
    }
    let node = bench.node().await.unwrap();
    assert_eq!(node.note.as_deref(), Some("the agent has no usable manifest: it is gone"));
    let verified = bench.ingest.store.read("read", move |view| view.report(node.verified_report_id.unwrap()));
    assert_eq!(verified.await.unwrap().unwrap().report.sequence, 1);
}

#[tokio::test]
async fn reports_that_do_not_hold_are_refused_recorded_and_no_sign_of_life() {
    let root = root_of(&[]);
    let shown = root.to_string();
    let mount = |at: &str, content| Mount { path: path(at), content, filesystem: None, source: None };
    let table: Vec<(Report, &str, u16, &str)> = vec![
        (
            Report { node: "web-2".to_owned(), ..changed(|_| {}) },
            "wrong-node",
            422,
            "the enrolment of node \"web-1\"",
        ),
        (Report { schema_version: 2, ..changed(|_| {}) }, "unsupported-version", 400, "schema version 2"),
        (changed(|v| v.schema_version = 7), "unsupported-version", 400, "schema version 7"),
        (Report { sequence: 0, ..changed(|_| {}) }, "malformed", 400, "numbered from 1"),
        (Report { sequence: u64::MAX, ..changed(|_| {}) }, "malformed", 400, "numbered from 1"),
        (Report { boot: "b".repeat(1001), ..changed(|_| {}) }, "malformed", 400, "boot is over 1000 bytes"),
        (changed(|v| v.manifest.version = "1.4.3".into()), "manifest-mismatch", 422, "is web 1.4.2"),
        (changed(|v| v.state = State::Congruent), "state-mismatch", 422, "claims the state congruent"),
        (changed(|v| v.conditional = true), "state-mismatch", 422, "conditional = true"),
        (changed(|v| v.observed_root = root), "root-mismatch", 422, &shown),
        (
            changed(|v| v.findings = vec![added("/bin/new")]),
            "root-mismatch",
            422,
            "its findings and the manifest give",
        ),
        (changed(|v| v.findings.push(added("/a"))), "finding-refused", 422, "tree order"),
        (changed(|v| v.findings[0].fields.clear()), "finding-refused", 422, "/bin/tool does not hold"),
        (
            changed(|v| v.findings[0].observed.as_mut().unwrap().uid = None),
            "finding-refused",
            422,
            "usable uid",
        ),
        (changed(|v| v.coverage.entries_seen = 0), "coverage-refused", 422, "had to be there"),
        (
            changed(|v| v.coverage.finished_at = crate::testing::time("2001-01-01T00:00:00Z")),
            "coverage-refused",
            422,
            "ended before it began",
        ),
        (changed(|v| v.coverage.entries_expected = 1), "coverage-refused", 422, "the manifest has 8"),
        (
            changed(|v| v.findings[0].observed.as_mut().unwrap().content = None),
            "coverage-refused",
            422,
            "was not read, and is no gap",
        ),
        (
            changed(|v| v.coverage.mounts = vec![mount("/bin", MountTreatment::Hide)]),
            "coverage-refused",
            422,
            "the mount at /bin",
        ),
        (
            changed(|v| v.coverage.mounts = vec![mount("/etc", MountTreatment::Unnamed)]),
            "coverage-refused",
            422,
            "the unnamed mount at /etc is no finding",
        ),
        (
            changed(|v| v.coverage.hidden = vec![Hidden { path: path("/bin"), entries: 2 }]),
            "coverage-refused",
            422,
            "hides /bin",
        ),
    ];
    let bench = Bench::new();
    for (report, code, status, says) in table {
        let refused = bench.send(&report).await.unwrap_err();
        assert_eq!((refused.code(), refused.status()), (code, status), "{refused}");
        assert!(chain_of(&refused).contains(says), "{refused}");
        let last = bench.ingest.store.read("read", |view| view.refusals("web-1", 1)).await.unwrap();
        assert_eq!(last[0].code, code);
    }
    let long = format!("{{\"schema_version\":1,\"outcome\":{{\"{}\":1}}}}", "\u{7f}".repeat(5000));
    for body in ["", "{", "[]", "{\"schema_version\":1}", &long] {
        let refused = bench.bytes(body).await.unwrap_err();
        assert_eq!((refused.code(), refused.status()), ("malformed", 400), "{body}");
    }
    let last = bench.ingest.store.read("read", |view| view.refusals("web-1", 1)).await.unwrap();
    assert!(last[0].message.chars().count() <= 1001, "names from outside do not fill the store");
    assert!(last[0].message.contains("\\x7f"), "nor reach a log as they are: {}", last[0].message);
    assert_eq!(bench.node().await, None);
}

#[tokio::test]
async fn a_named_mount_may_hide_what_is_beneath() {
    let mut verification = verified(vec![], &[]);
    verification.coverage.mounts = vec![Mount {
        path: path("/proc"),
        content: MountTreatment::Hide,
        filesystem: Some("proc".to_owned()),
        source: None,
    }];
    verification.coverage.hidden = vec![Hidden { path: path("/proc"), entries: 1 }];
    let answer = Bench::new().send(&report("web-1", 1, Outcome::Verified(Box::new(verification)))).await;
    assert_eq!(answer.unwrap().state, State::Congruent);
}

#[tokio::test]
async fn a_manifest_that_is_not_accepted_is_unknown() {
    let bench = Bench::new();
    let stranger = Algorithm::Blake3.digest(b"another root");
    let answer = bench.send(&changed(|v| v.manifest.root = stranger)).await.unwrap();
    assert_eq!(answer.state, State::Unknown);
    let note = format!("the manifest with the root {stranger} is not accepted for the group web");
    assert_eq!(answer.note, Some(note));
}

#[tokio::test]
async fn everything_may_be_sent_twice_and_counts_once() {
    let bench = Bench::new();
    let first = sweep("web-1", 1, vec![]);
    let stored = bench.send(&first).await.unwrap();
    bench.clock.set("2026-03-01T00:10:00Z");
    let again = bench.send(&first).await.unwrap();
    assert_eq!((again.duplicate, again.digest, again.state), (true, stored.digest, State::Congruent));
    let seen = bench.node().await.unwrap().last_seen;
    assert_eq!(seen, Some(crate::testing::time("2026-03-01T00:00:20Z")), "a copy is no sign of life");
    let other = bench.send(&sweep("web-1", 1, tampered())).await.unwrap_err();
    assert_eq!((other.code(), other.status()), ("sequence-conflict", 409));
    assert!(other.to_string().contains("the newest is 1, so the next is 2"), "{other}");
}

#[tokio::test]
async fn late_reports_and_gaps_are_kept_and_change_nothing() {
    let bench = Bench::new();
    let first = bench.send(&sweep("web-1", 1, vec![])).await.unwrap();
    bench.send(&Report { previous: Some(first.digest), ..sweep("web-1", 4, vec![]) }).await.unwrap();
    let late = bench.send(&sweep("web-1", 3, tampered())).await.unwrap();
    assert_eq!((late.state, late.duplicate), (State::Congruent, false));
    assert!(late.note.unwrap().contains("a later report"));
    assert_eq!(bench.node().await.unwrap().state, State::Congruent);
    let looking = bench
        .ingest
        .store
        .read("read", |view| Ok(view.unjudged_reports(1)?.first().map(|row| row.report.sequence)));
    assert_eq!(looking.await.unwrap(), Some(1), "the late one is not judged");
    assert_eq!(bench.chain_notes().await, ["reports 2 to 3 are missing"]);
}

#[tokio::test]
async fn a_replaced_node_begins_a_new_chain() {
    let bench = Bench::new();
    for sequence in 1..=3 {
        bench.send(&sweep("web-1", sequence, tampered())).await.unwrap();
    }
    let reenrolled = EnrolmentRow { id: "enr_2".to_owned(), ..enrolment("web-1") };
    bench.ingest.config.nodes.admit(Node::enrolled(&reenrolled));
    let stale = bench.send(&sweep("web-1", 4, tampered())).await.unwrap_err();
    assert_eq!((stale.code(), stale.status()), ("wrong-chain", 422));
    let reborn = Report { chain: "enr_2".to_owned(), ..sweep("web-1", 1, vec![]) };
    assert_eq!(bench.send(&reborn).await.unwrap().state, State::Congruent);
    assert_eq!(bench.node().await.unwrap().state, State::Congruent);
    let second = Report { chain: "enr_2".to_owned(), ..sweep("web-1", 2, vec![]) };
    assert!(!bench.send(&second).await.unwrap().duplicate);
    assert!(bench.chain_notes().await.iter().any(|note| note.contains("new chain")));
}

#[tokio::test]
async fn quick_sweeps_verify_nothing_for_the_cmdb() {
    let bench = Bench::new();
    let mut verification = verified(vec![], &[]);
    verification.coverage.mode = SweepMode::Quick;
    bench.send(&report("web-1", 1, Outcome::Verified(Box::new(verification)))).await.unwrap();
    let node = bench.node().await.unwrap();
    assert_eq!((node.state, node.verified_report_id), (State::Congruent, None));
}

/// A clean sweep is not held to the entries again; what that skips is exactly
/// the root that was computed when the manifest was accepted.
#[test]
fn without_findings_the_root_is_the_baked_one() {
    let fixture = Fixture::new("report-only");
    let config = fixture.config();
    let group = config.groups.get("web").unwrap();
    let accepted = &group.manifests[0];
    assert_eq!(accepted.recompute(&[], &findings_digest(&[]), &no_ledger()).unwrap(), accepted.root());
    assert_eq!(accepted.root(), root_of(&[]));
    assert_eq!(accepted.entries_count(), tree().len() as u64);
    assert_eq!(
        accepted.recompute(&tampered(), &findings_digest(&tampered()), &no_ledger()).unwrap(),
        root_of(&tampered())
    );
}

/// Nothing is read in reserved places, and that is no gap.
#[test]
fn a_program_in_a_reserved_place_is_taken_for_what_it_is() {
    let config = Fixture::new("report-only").config();
    let mut program = crate::testing::file(b"");
    program.node = congruent_protocol::entry::Node::File { size: 4, content: None };
    let place = path("/var/lib/congruent/x");
    let report = changed(|v| {
        v.findings = vec![Finding::added(&place, Class::Reserved, (&program).into())];
        v.observed_root = root_of(&[]);
    });
    let standing = check::stand(
        &report,
        &findings_digest(report.findings()),
        &config.groups.get("web").unwrap(),
        &no_ledger(),
        crate::testing::time("2026-03-01T00:00:00Z"),
    );
    assert_eq!(standing.unwrap().state, State::Divergent);
}

/// Another file in the manifest's place changes nothing: the one that was
/// verified is still open.
#[test]
fn the_accepted_manifest_is_the_one_that_was_verified() {
    let fixture = Fixture::new("report-only");
    let config = fixture.config();
    std::fs::remove_file(fixture.path("web.manifest")).unwrap();
    fixture.write("web.manifest", b"another");
    let group = config.groups.get("web").unwrap();
    let accepted = &group.manifests[0];
    assert_eq!(
        accepted.recompute(&tampered(), &findings_digest(&tampered()), &no_ledger()).unwrap(),
        root_of(&tampered())
    );
}

/// What can no longer be read is our trouble and not the agent's: 503, no evidence.
#[test]
fn a_manifest_that_cannot_be_read_is_no_verdict() {
    let fixture = Fixture::new("report-only");
    let config = fixture.config();
    let file = std::fs::OpenOptions::new().write(true).open(fixture.path("web.manifest")).unwrap();
    file.set_len(700).unwrap();
    let report = changed(|_| {});
    let refused = check::stand(
        &report,
        &findings_digest(report.findings()),
        &config.groups.get("web").unwrap(),
        &no_ledger(),
        crate::testing::time("2026-03-01T00:00:00Z"),
    )
    .unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("manifest-unavailable", 503));
    assert!(!refused.is_evidence());
}

#[tokio::test]
async fn a_report_is_stored_as_the_group_that_stands_has_it() {
    let fixture = Fixture::new("report-only");
    let toml = server_toml("report-only").replacen("in web", "in fleet", 1);
    fixture.write("server.toml", toml.as_bytes());
    let config = Arc::new(fixture.config());
    let store = Store::open(&config.database).unwrap();
    let now = crate::testing::time("2026-03-01T00:00:20Z");
    let ingest = Ingest {
        config: Arc::clone(&config),
        store,
        clock: StandingClock::at("2026-03-01T00:00:20Z").clock(),
        judge: Arc::default(),
        budget: Arc::default(),
        arrived: Arc::default(),
        metrics: Metrics::default(),
        computing: Computing::default(),
    };
    config.groups.put(fleet(&fixture, &config, 1, false, Mode::ReportOnly));
    let report = sweep("web-1", 1, vec![]);
    let (standing, group) = hold(&report, &findings_digest(&[]), &config, &no_ledger(), now).unwrap();
    assert_eq!(standing.state, State::Unknown);
    let body = serde_json::to_vec(&report).unwrap();
    let checked = Checked {
        digest: Algorithm::Blake3.digest(&body),
        body: Body::Row(PackedBytes::of(&body).unwrap()),
        findings_digest: findings_digest(&[]),
        report,
        set: None,
        ledger: no_ledger(),
        standing,
        group,
        is_small: true,
    };
    // The group changes between the look at the manifest and the transaction.
    config.groups.put(fleet(&fixture, &config, 2, true, Mode::ReportOnly));
    let (known, stale) = (Arc::clone(&config), Arc::new(checked));
    let storing = Arc::clone(&stale);
    let stored = ingest.store.write("store", move |tx| store_current(tx, &storing, &known, now)).await;
    assert!(matches!(stored, Ok(Stored::Stale)), "it was stored as it was held before");
    let held = ingest.hold_again(Arc::into_inner(stale).unwrap(), now).await.unwrap();
    assert_eq!((held.standing.state, held.group.1), (State::Congruent, Some(2)));
    // An older version that comes late does not come back.
    config.groups.put(fleet(&fixture, &config, 1, false, Mode::ReportOnly));
    let stored = ingest.store.write("store", move |tx| store_current(tx, &held, &config, now)).await;
    assert!(matches!(stored, Ok(Stored::Answer { answer, .. }) if answer.state == State::Congruent));
}

#[tokio::test]
async fn a_cloned_disk_is_noticed_and_both_machines_are_named() {
    let bench = Bench::new();
    bench.send(&sweep("web-1", 1, vec![])).await.unwrap();
    let mut other = sweep("web-1", 1, tampered());
    other.boot = "boot-2".to_owned();
    other.facts.host_name = Some("web-1-copy".to_owned());
    let refused = bench.send(&other).await.unwrap_err();
    assert_eq!((refused.code(), refused.status()), ("cloned", 409));
    for machine in ["web-1.example in boot boot-1", "web-1-copy in boot boot-2"] {
        assert!(refused.to_string().contains(machine), "{refused}");
    }
    // Between reports, heartbeats show it.
    for boot in ["boot-1", "boot-2", "boot-1"] {
        bench.ingest.hear("web-1", boot).await;
    }
    let refusals = bench.ingest.store.read("read", |view| view.refusals("web-1", 9)).await.unwrap();
    let told: Vec<_> = refusals.iter().map(|refusal| (refusal.code.as_str(), &*refusal.message)).collect();
    let [("two-boots", by_life), ("cloned", by_report)] = told[..] else { panic!("{told:?}") };
    assert!(by_life.contains("boot-1 and boot-2"), "{by_life}");
    assert!(by_report.contains("web-1.example") && by_report.contains("web-1-copy"), "{by_report}");
}

#[tokio::test]
async fn what_its_node_did_not_sign_and_seal_is_refused() {
    let bench = Bench::new();
    let honest = crate::testing::sealed(&sweep("web-1", 1, tampered()));
    let told = &honest[honest.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
    let mut altered = honest.clone();
    let end = altered.len() - 3;
    altered[end] ^= 1;
    for (body, code) in [
        (altered, "bad-signature"),
        (sealed_by("web-2", 1, told), "bad-signature"),
        (sealed_by("web-1", 2, told), "broken-seal"),
        (told.to_vec(), "malformed"),
    ] {
        assert_eq!(bench.body(body).await.unwrap_err().code(), code);
    }
    assert_eq!(bench.body(honest).await.unwrap().state, State::Divergent);
}

#[tokio::test]
async fn findings_are_told_by_the_difference_to_what_is_known() {
    let bench = Bench::new();
    let tell = |sequence: u64, base: Option<&[Finding]>, set: &[Finding]| {
        let told = sweep("web-1", sequence, set.to_vec());
        let Ok(told) = told.try_map(|set| Ok::<_, Infallible>(SetChange::between(base, &set)));
        let pages = match &told.outcome {
            Outcome::Verified(verification) => verification.findings.1.clone(),
            _ => Vec::new(),
        };
        let Ok(told) = told.try_map(|(change, _)| Ok::<_, Infallible>(change));
        (sealed_by("web-1", sequence, &serde_json::to_vec(&told).unwrap()), pages)
    };
    let (one, two) = (vec![added("/bin/a")], vec![added("/bin/a"), added("/bin/b")]);
    let (early, _) = tell(2, Some(&one), &two);
    let refused = bench.body(early.clone()).await.unwrap_err();
    assert_eq!((refused.code(), refused.status(), refused.is_evidence()), ("unknown-base", 409, false));
    bench.body(tell(1, None, &one).0).await.unwrap();
    bench.body(early).await.unwrap();
    let node = bench.node().await.unwrap();
    let known = bench.ingest.store.read("read", move |view| view.report_body(node.report_id.unwrap()));
    assert_eq!(known.await.unwrap().findings(), two);

    // The whole set, sent ahead, stands in for a base that is not known.
    let three = vec![added("/bin/d")];
    let (strange, _) = tell(3, Some(&[added("/bin/c")]), &three);
    let json = serde_json::to_vec(&three).unwrap();
    assert_eq!(bench.body(strange.clone()).await.unwrap_err().code(), "unknown-base");
    let odd = [&b"[ "[..], &json[1..]].concat();
    let odd_name = Algorithm::Blake3.digest(&odd);
    bench.ingest.take_page("web-1", odd_name, odd).unwrap();
    let wrong = bench.ingest.take_page("web-1", findings_digest(&two), json.clone()).unwrap_err();
    assert_eq!(wrong.code(), "malformed", "a page is what its name says");
    bench.ingest.take_page("web-1", findings_digest(&three), json).unwrap();
    bench.body(strange).await.unwrap();

    let many: Vec<Finding> = (0..4000).map(|at| added(&format!("/bin/{at:04}"))).collect();
    let (large, pages) = tell(4, Some(&one), &many);
    assert_eq!(bench.body(large.clone()).await.unwrap_err().code(), "missing-pages");
    for page in pages {
        bench.ingest.take_page("web-1", page.id.digest, page.json).unwrap();
    }
    let answer = bench.body(large).await.unwrap();
    assert_eq!((answer.state, answer.duplicate), (State::Divergent, false));
    assert!(bench.ingest.arrived.staged.of("web-1").is_empty(), "pages are forgotten with their report");
}

#[tokio::test]
async fn first_values_are_recorded_once_and_held_to_from_then_on() {
    let pinned = "rule = [{ path = '/etc/machine-id', class = 'pinned' }]";
    let contract = Contract::from_toml(pinned).unwrap();
    let bench =
        Bench::with(&manifest_under(contract, &tree(), "1.4.2", &SecretKey::from_seed([1; 32]), None));
    let value = |content: &[u8]| FirstValue {
        path: path("/etc/machine-id"),
        attributes: (&crate::testing::file(content)).into(),
    };
    let first_seen = |sequence, content: &'static [u8], first_values| {
        let mut report = sweep("web-1", sequence, vec![]);
        report.first_values = first_values;
        if let Outcome::Verified(verification) = &mut report.outcome {
            verification.coverage.first_seen = vec![value(content)];
        }
        report
    };
    let ahead = bench.send(&first_seen(1, b"one", 1)).await.unwrap_err();
    assert_eq!((ahead.code(), ahead.status()), ("unknown-ledger", 422));
    bench.send(&first_seen(1, b"one", 0)).await.unwrap();
    let changed = bench.send(&first_seen(2, b"two", 0)).await.unwrap_err();
    assert_eq!(changed.code(), "unknown-ledger", "it was not held to what is recorded");
    bench.send(&first_seen(3, b"one", 0)).await.unwrap();
    let ledger =
        bench.ingest.store.read("read", |view| view.ledger("enr_web-1", root_of(&[]), 99)).await.unwrap();
    let kept = ledger.first_values()[&path("/etc/machine-id")].content().copied();
    assert_eq!(kept, crate::testing::file(b"one").content().copied(), "the first one counts");
    assert_eq!(
        bench.ingest.arrived.liveness.first_values("web-1"),
        Some(1),
        "nodes are told how many there are"
    );
}
