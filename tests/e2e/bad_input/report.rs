//! Reports that a collector must refuse, or take without believing them.

use std::fs;

use anyhow::{Context, Result};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::drift::Field;
use congruent_protocol::key::SecretKey;
use congruent_protocol::report::{Acknowledgement, Outcome, Refusal, Report, SetChange, seal};
use congruent_protocol::verification::{State, Verification};
use congruent_tests::collector::Collector;
use congruent_tests::curl::Curl;
use congruent_tests::enrolled::{redirect, told};
use congruent_tests::http::request_tls;
use congruent_tests::site::{GROUP, Settings, Site};
use serde_json::Value;

use crate::real_report::{capture, changed, payload};
use crate::watch::{count, node, settle, sweep};

/// Two nodes; the first has drifted in two files, and its report is at hand.
pub(super) struct Scene {
    pub(super) site: Site,
    pub(super) collector: Collector,
    report: Report,
}

impl Scene {
    pub(super) fn new(settings: &Settings) -> Result<Self> {
        let site = Site::small(&["web-1", "web-2"])?;
        site.tamper("web-1")?;
        fs::write(site.root("web-1").join("etc/added"), "")?;
        let collector = site.collect(settings)?;
        let report = capture(&site, "web-1")?;
        assert_eq!(report.findings().len(), 2);
        Ok(Self { site, collector, report })
    }

    /// What the first node would send.
    pub(super) fn body(&self) -> Result<Vec<u8>> {
        self.site.sealed("web-1", &self.report)
    }

    /// The same look with a change, as the first node's first report.
    fn changed(&self, change: impl FnOnce(&mut Verification)) -> Result<Vec<u8>> {
        self.site.sealed("web-1", &changed(self.report.clone(), change)?)
    }

    /// The same report, telling its set of findings in another way.
    fn told(&self, change: impl FnOnce(SetChange) -> SetChange) -> Result<Vec<u8>> {
        let Ok(report) =
            told(self.report.clone()).try_map(|set| Ok::<_, std::convert::Infallible>(change(set)));
        self.payload(&serde_json::to_vec(&report)?)
    }

    /// Any payload, as the first node's first report.
    fn payload(&self, payload: &[u8]) -> Result<Vec<u8>> {
        self.site.enrolled("web-1")?.sealed_payload(payload, 1)
    }

    /// Posts a body of the first node that must be refused, and that must change
    /// nothing.
    fn check(&self, what: &str, body: &[u8], status: u16, code: &str, says: &[&str]) -> Result<()> {
        self.check_from("web-1", what, body, status, code, says)
    }

    fn check_from(
        &self,
        from: &str,
        what: &str,
        body: &[u8],
        status: u16,
        code: &str,
        says: &[&str],
    ) -> Result<()> {
        let before = node(&self.collector, "web-1")?["state"].take();
        let response = self.site.post(&self.collector, from, body)?;
        assert_eq!(response.status, status, "{what}: {}", response.text());
        let refusal: Refusal = response.json()?;
        assert_eq!(refusal.code, code, "{what}: {}", refusal.message);
        for word in says {
            assert!(refusal.message.contains(word), "{what}: {word:?} is not in: {}", refusal.message);
        }
        self.check_unchanged(what, &before)
    }

    /// Nothing was stored, and the first node's state is as it was.
    pub(super) fn check_unchanged(&self, what: &str, before: &Value) -> Result<()> {
        assert_eq!(&node(&self.collector, "web-1")?["state"], before, "{what}");
        assert_eq!(count(&self.site, "SELECT count(*) FROM reports")?, 0, "{what} was stored");
        Ok(())
    }

    /// The untouched report is still taken, once.
    pub(super) fn check_nothing_was_lost(&self) -> Result<()> {
        let body = self.body()?;
        for duplicate in [false, true] {
            let answer: Acknowledgement = self.site.post(&self.collector, "web-1", &body)?.json()?;
            assert_eq!(
                (answer.sequence, answer.state, answer.duplicate),
                (1, State::Divergent, duplicate),
                "{:?}",
                answer.note
            );
        }
        assert_eq!(count(&self.site, "SELECT count(*) FROM reports")?, 1, "a replayed report counts twice");
        Ok(())
    }
}

#[test]
fn a_report_must_be_its_senders_own() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    let (body, payload) = (scene.body()?, payload(&scene.report)?);
    let (one, other) = (scene.site.enrolled("web-1")?, scene.site.enrolled("web-2")?);
    let url = format!("{}/v1/reports", scene.collector.agents_url()?);
    let ended = Curl::new(scene.collector.authority()).try_ask("POST", &url, "{}")?;
    assert_ne!(ended.code, Some(0), "no certificate, and an answer: {}", ended.text());
    scene.check_from("web-2", "another node's report", &body, 422, "bad-signature", &["not signed by"])?;
    let claimed = other.sealed_payload(&payload, 1)?;
    scene.check_from("web-2", "for another node", &claimed, 422, "wrong-node", &["web-1", "web-2"])?;

    let stranger = seal(&payload, &SecretKey::from_seed([7; 32]), &one.seal_key(1)?);
    scene.check("another key", &stranger, 422, "bad-signature", &[])?;
    let later = seal(&payload, &one.key, &one.seal_key(2)?);
    scene.check("another number's seal", &later, 422, "broken-seal", &["number 1"])?;
    let foreign = seal(&payload, &one.key, &other.seal_key(1)?);
    scene.check("another node's seal", &foreign, 422, "broken-seal", &[])?;
    let beats = format!("{}/v1/heartbeats", scene.collector.agents_url()?);
    for (chain, status) in [(&one.enrolment, 200), (&other.enrolment, 422)] {
        let beat =
            serde_json::json!({ "boot": "b", "chain": chain, "sequence": 0, "spooled": 0 }).to_string();
        let answer = one.curl(scene.collector.authority()).ask("POST", &beats, &beat)?;
        assert_eq!(answer.status, status, "a heartbeat of {chain}: {}", answer.text());
    }
    let chain = Report { chain: other.enrolment, ..scene.report.clone() };
    let chain = scene.site.sealed("web-1", &chain)?;
    scene.check("another chain", &chain, 422, "wrong-chain", &["the node's enrolment began"])?;
    let mut altered = body.clone();
    let last = altered.len() - 2;
    altered[last] ^= 1;
    scene.check("an altered byte", &altered, 422, "bad-signature", &[])?;
    scene.check("cut", &body[..body.len() - 9], 422, "bad-signature", &[])?;
    scene.check_nothing_was_lost()
}

/// A node's certificate opens nothing of the operators'.
#[test]
fn nodes_are_no_operators() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    let node = scene.site.enrolled("web-1")?.curl(scene.collector.authority());
    for path in ["/v1/nodes", "/v1/actions", "/v1/cmdb/items"] {
        let url = format!("{}{path}", scene.collector.url());
        for response in [
            node.ask("GET", &url, "")?,
            request_tls(
                scene.collector.authority(),
                "GET",
                &url,
                &[("authorization", "Bearer nobody's")],
                b"",
            )?,
        ] {
            let refusal: Refusal = response.json()?;
            assert_eq!((response.status, refusal.code.as_str()), (401, "unauthorized"), "{path}");
        }
        let there = format!("{}{path}", scene.collector.agents_url()?);
        assert_eq!(node.ask("GET", &there, "")?.status, 404, "{path}");
    }
    Ok(())
}

#[test]
fn what_is_no_report_is_refused() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    let mut later: Value = serde_json::to_value(told(scene.report.clone()))?;
    later["schema_version"] = 2.into();
    let later = scene.payload(&serde_json::to_vec(&later)?)?;
    let unnumbered = Report { sequence: 0, ..scene.report.clone() };
    let unnumbered = scene.payload(&payload(&unnumbered)?)?;
    scene.check("not sealed", b"hello", 400, "malformed", &["does not begin with a line"])?;
    scene.check("no JSON", &scene.payload(b"hello")?, 400, "malformed", &["not JSON"])?;
    let other = scene.payload(b"{\"schema_version\":1}")?;
    scene.check("another JSON", &other, 400, "malformed", &["missing field"])?;
    let version = ["version 2", "version 1", "upgrade"];
    scene.check("of a later version", &later, 400, "unsupported-version", &version)?;
    scene.check("without a number", &unnumbered, 400, "malformed", &["numbered from 1"])?;
    scene.check_nothing_was_lost()
}

#[test]
fn a_report_that_does_not_recompute_is_refused_with_both_roots() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    let Outcome::Verified(verification) = &scene.report.outcome else { anyhow::bail!("no verification") };
    let claimed = verification.observed_root.to_string();
    let baked = verification.manifest.root.to_string();

    let left_out = scene.changed(|v| drop(v.findings.remove(0)))?;
    scene.check("a finding left out", &left_out, 422, "root-mismatch", &[&claimed, "blake3:"])?;
    let other_root = scene.changed(|v| v.observed_root = Algorithm::Blake3.digest(b"another"))?;
    scene.check("another root", &other_root, 422, "root-mismatch", &[&claimed])?;
    let all_left_out = scene.changed(|v| {
        v.findings.clear();
        v.state = State::Congruent;
    })?;
    scene.check("congruent by omission", &all_left_out, 422, "root-mismatch", &[&claimed, &baked])?;
    let claims = scene.changed(|v| v.state = State::Congruent)?;
    scene.check("congruent by claim", &claims, 422, "state-mismatch", &["congruent", "divergent"])?;
    let fields = scene.changed(|v| v.findings[1].fields = vec![Field::Mode])?;
    scene.check("fields that do not differ", &fields, 422, "finding-refused", &["/usr/bin/web"])?;
    let expected = scene.changed(|v| v.findings[1].expected = v.findings[1].observed.clone())?;
    scene.check("another baked value", &expected, 422, "finding-refused", &["/usr/bin/web"])?;
    let order = scene.changed(|v| v.findings.reverse())?;
    scene.check("out of order", &order, 422, "finding-refused", &["tree order"])?;
    let hidden = scene.changed(|v| v.coverage.entries_expected += 1)?;
    scene.check("another number of entries", &hidden, 422, "coverage-refused", &["entries"])?;
    scene.check_nothing_was_lost()?;
    let refused = node(&scene.collector, "web-1")?["refusals"].take();
    let rows = refused.as_array().into_iter().flatten();
    let mut counts: Vec<_> = rows.map(|row| (row["code"].as_str(), row["count"].as_u64())).collect();
    counts.sort_unstable();
    let kept = [("coverage-refused", 1), ("finding-refused", 3), ("root-mismatch", 3), ("state-mismatch", 1)];
    let kept = kept.map(|(code, count)| (Some(code), Some(count)));
    assert_eq!(counts, kept, "refusals are evidence: {refused}");
    Ok(())
}

/// The set is told by its digest, and must come to it.
#[test]
fn findings_must_come_to_the_set_that_is_stated() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    let other = Algorithm::Blake3.digest(b"another");
    let short = scene.told(|mut set| {
        set.added.pop();
        set
    })?;
    scene.check("one left out of the set", &short, 422, "finding-refused", &["come to the set"])?;
    let stated = scene.told(|set| SetChange { digest: other, ..set })?;
    scene.check("another set is stated", &stated, 422, "finding-refused", &["come to the set"])?;
    let counted = scene.told(|set| SetChange { count: 1, ..set })?;
    scene.check("another number is stated", &counted, 422, "finding-refused", &[])?;
    let resolved = scene.told(|set| SetChange { resolved: vec![set.added[0].path.clone()], ..set })?;
    scene.check("what never was is resolved", &resolved, 422, "finding-refused", &[])?;
    let unknown = scene.told(|set| SetChange { base: Some(other), ..set })?;
    scene.check("an unknown base", &unknown, 409, "unknown-base", &["send the whole set"])?;
    scene.check_nothing_was_lost()
}

#[test]
fn the_same_number_with_other_bytes_is_refused() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    scene.check_nothing_was_lost()?;
    let mut other = scene.report.clone();
    other.facts.uptime_seconds += 1;
    let other = scene.site.sealed("web-1", &other)?;
    let response = scene.site.post(&scene.collector, "web-1", &other)?;
    assert_eq!((response.status, response.json::<Refusal>()?.code.as_str()), (409, "sequence-conflict"));
    assert_eq!(count(&scene.site, "SELECT count(*) FROM reports")?, 1);
    Ok(())
}

#[test]
fn a_body_over_the_limit_is_refused_with_the_limit() -> Result<()> {
    let scene = Scene::new(&Settings { max_body_bytes: Some(4096), ..Settings::default() })?;
    let large = vec![b' '; 1 << 20];
    let says = ["4096"];
    scene.check("a large body", &large, 413, "body-too-large", &says)?;
    scene.check("a body one byte over", &large[..4097], 413, "body-too-large", &says)?;
    scene.check("a body at the limit", &large[..4096], 400, "malformed", &[])?;

    // The agent keeps what was refused, says so, and tells the collector that
    // there was something: the last state must not stand.
    for index in 0..40 {
        fs::write(scene.site.root("web-2").join(format!("etc/{index}")), "")?;
    }
    let ended = scene.site.sweep("web-2")?;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("over 4096 bytes"), "{}", ended.stderr);
    assert_eq!(fs::read_dir(scene.site.state("web-2").join("refused"))?.count(), 1);
    let shown = node(&scene.collector, "web-2")?;
    assert_eq!(shown["state"], "unknown", "{shown}");
    assert!(shown["note"].as_str().is_some_and(|note| note.contains("4096")), "{}", shown["note"]);
    Ok(())
}

#[test]
fn a_report_for_a_manifest_that_is_not_accepted_makes_the_node_unknown() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    sweep(&site, "web-1", 0)?;
    // A newer bake by the same key, which nobody has accepted.
    site.tamper("web-1")?;
    congruent_tests::agent::bake(&site.root("web-1"), None, &site.keys, &site.manifest())?;
    let ended = sweep(&site, "web-1", 0)?;
    let shown = node(&collector, "web-1")?;
    let root = shown["report"]["manifest"]["root"].as_str().context("no root")?.to_owned();
    assert_eq!(shown["state"], "unknown");
    for word in [root.as_str(), GROUP, "not accepted"] {
        assert!(shown["note"].as_str().is_some_and(|note| note.contains(word)), "{word}: {}", shown["note"]);
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
    assert_ne!(shown["verdict"], "none", "policy takes it for well");
    assert_eq!(shown["protected"], Value::Null);
    settle(&site)?;
    assert_eq!(count(&site, "SELECT count(*) FROM reports")?, 2, "it was not kept");
    Ok(())
}

/// Somebody who answers in the collector's place gets nothing.
#[test]
fn an_agent_keeps_its_report_from_who_is_not_its_collector() -> Result<()> {
    let (site, foreign) = (Site::small(&["web-1"])?, Site::small(&["web-1"])?);
    let _collector = site.collect(&Settings::default())?;
    let impostor = foreign.collect(&Settings::default())?;
    let own = redirect(&site.state("web-1"), &impostor.agents_url()?)?;
    site.tamper("web-1")?;
    let ended = site.sweep("web-1")?;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for says in ["stays spooled", "cannot reach the collector", "certificate", "finding, not delivered: "] {
        assert!(ended.stderr.contains(says), "{says}: {}", ended.stderr);
    }
    assert_eq!(count(&foreign, "SELECT count(*) FROM reports")?, 0);
    redirect(&site.state("web-1"), &own)?;
    sweep(&site, "web-1", 1)?;
    assert_eq!(count(&site, "SELECT count(*) FROM reports")?, 2);
    Ok(())
}
