//! Reports that a collector must refuse, or take without believing them.

use std::fs;

use anyhow::{Context, Result};
use congruent_protocol::digest::Algorithm;
use congruent_protocol::drift::Field;
use congruent_protocol::report::{Acknowledgement, Outcome, Refusal, Report};
use congruent_protocol::verification::{State, Verification};
use congruent_tests::collector::Collector;
use congruent_tests::site::{GROUP, Settings, Site, token};
use serde_json::Value;

use crate::real_report::{capture, changed, to_json};
use crate::watch::{count, node, settle, sweep};

/// Two nodes; the first has drifted in two files, and its report is at hand.
struct Scene {
    site: Site,
    collector: Collector,
    report: Report,
}

impl Scene {
    fn new(settings: &Settings) -> Result<Self> {
        let site = Site::small(&["web-1", "web-2"])?;
        site.tamper("web-1")?;
        fs::write(site.root("web-1").join("etc/added"), "")?;
        let report = capture(&site, "web-1")?;
        assert_eq!(report.findings().len(), 2);
        let collector = site.collect(settings)?;
        Ok(Self { site, collector, report })
    }

    fn changed(&self, change: impl FnOnce(&mut Verification)) -> Result<Vec<u8>> {
        to_json(&changed(self.report.clone(), change)?)
    }

    /// Posts a body that must be refused, and that must change nothing.
    fn check(
        &self,
        what: &str,
        token: &str,
        body: &[u8],
        status: u16,
        code: &str,
        says: &[&str],
    ) -> Result<()> {
        let before = node(&self.collector, "web-1")?["state"].take();
        let response = self.collector.post(token, body)?;
        assert_eq!(response.status, status, "{what}: {}", response.text());
        let refusal: Refusal = response.json()?;
        assert_eq!(refusal.code, code, "{what}: {}", refusal.message);
        for word in says {
            assert!(refusal.message.contains(word), "{what}: {word:?} is not in: {}", refusal.message);
        }
        assert_eq!(node(&self.collector, "web-1")?["state"], before, "{what}");
        assert_eq!(count(&self.site, "SELECT count(*) FROM reports")?, 0, "{what} was stored");
        Ok(())
    }

    /// The untouched report is still taken.
    fn check_nothing_was_lost(&self) -> Result<()> {
        let response = self.collector.report(&token("web-1"), &self.report)?;
        let answer: Acknowledgement = response.json()?;
        assert_eq!((answer.sequence, answer.state, answer.duplicate), (1, State::Divergent, false));
        Ok(())
    }
}

#[test]
fn who_reports_must_be_who_the_token_says() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    let body = to_json(&scene.report)?;
    scene.check("no such token", "nobody's", &body, 401, "unauthorized", &["token of a node"])?;
    scene.check("the operator's token", &token("operator"), &body, 401, "unauthorized", &[])?;
    scene.check("another node's token", &token("web-2"), &body, 403, "wrong-node", &["web-1", "web-2"])?;
    for (path, token) in [("/v1/nodes", "web-1"), ("/v1/actions", "web-2"), ("/v1/cmdb/items", "nobody")] {
        let url = format!("{}{path}", scene.collector.url());
        let token = self::token(token);
        let response = congruent_tests::http::request("GET", &url, Some(&token), None, b"")?;
        assert_eq!(
            (response.status, response.json::<Refusal>()?.code.as_str()),
            (401, "unauthorized"),
            "{path}"
        );
    }
    scene.check_nothing_was_lost()
}

#[test]
fn what_is_no_report_is_refused() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    let mine = token("web-1");
    let mut later: Value = serde_json::to_value(&scene.report)?;
    later["schema_version"] = 2.into();
    let later = serde_json::to_vec(&later)?;
    let body = to_json(&scene.report)?;
    scene.check("no JSON", &mine, b"hello", 400, "malformed", &["not JSON"])?;
    scene.check("another JSON", &mine, b"{\"schema_version\":1}", 400, "malformed", &["missing field"])?;
    scene.check("cut", &mine, &body[..body.len() - 9], 400, "malformed", &[])?;
    scene.check(
        "of a later version",
        &mine,
        &later,
        400,
        "unsupported-version",
        &["version 2", "version 1", "upgrade"],
    )?;
    scene.check_nothing_was_lost()
}

#[test]
fn a_report_that_does_not_recompute_is_refused_with_both_roots() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    let mine = token("web-1");
    let Outcome::Verified(verification) = &scene.report.outcome else { anyhow::bail!("no verification") };
    let claimed = verification.observed_root.to_string();
    let baked = verification.manifest.root.to_string();

    let left_out = scene.changed(|v| drop(v.findings.remove(0)))?;
    scene.check("a finding left out", &mine, &left_out, 422, "root-mismatch", &[&claimed, "blake3:"])?;
    let other_root = scene.changed(|v| v.observed_root = Algorithm::Blake3.digest(b"another"))?;
    scene.check("another root", &mine, &other_root, 422, "root-mismatch", &[&claimed])?;
    let all_left_out = scene.changed(|v| {
        v.findings.clear();
        v.state = State::Congruent;
    })?;
    scene.check("congruent by omission", &mine, &all_left_out, 422, "root-mismatch", &[&claimed, &baked])?;
    let claims = scene.changed(|v| v.state = State::Congruent)?;
    scene.check("congruent by claim", &mine, &claims, 422, "state-mismatch", &["congruent", "divergent"])?;
    let fields = scene.changed(|v| v.findings[1].fields = vec![Field::Mode])?;
    scene.check("fields that do not differ", &mine, &fields, 422, "finding-refused", &["/usr/bin/web"])?;
    let expected = scene.changed(|v| v.findings[1].expected = v.findings[1].observed.clone())?;
    scene.check("another baked value", &mine, &expected, 422, "finding-refused", &["/usr/bin/web"])?;
    let order = scene.changed(|v| v.findings.reverse())?;
    scene.check("out of order", &mine, &order, 422, "finding-refused", &[])?;
    let hidden = scene.changed(|v| v.coverage.entries_expected += 1)?;
    scene.check("another number of entries", &mine, &hidden, 422, "coverage-refused", &["entries"])?;
    scene.check_nothing_was_lost()?;
    let refused = node(&scene.collector, "web-1")?["refusals"].take();
    assert_eq!(refused.as_array().map(Vec::len), Some(8), "refusals are evidence: {refused}");
    Ok(())
}

#[test]
fn the_same_number_with_other_bytes_is_refused() -> Result<()> {
    let scene = Scene::new(&Settings::default())?;
    scene.check_nothing_was_lost()?;
    let mut other = scene.report.clone();
    other.facts.uptime_seconds += 1;
    let response = scene.collector.report(&token("web-1"), &other)?;
    assert_eq!((response.status, response.json::<Refusal>()?.code.as_str()), (409, "sequence-conflict"));
    assert_eq!(count(&scene.site, "SELECT count(*) FROM reports")?, 1);
    Ok(())
}

#[test]
fn a_body_over_the_limit_is_refused_with_the_limit() -> Result<()> {
    let scene = Scene::new(&Settings { max_body_bytes: Some(4096), ..Settings::default() })?;
    let large = vec![b' '; 1 << 20];
    let says = ["4096"];
    scene.check("a large body", &token("web-1"), &large, 413, "body-too-large", &says)?;
    scene.check("a body one byte over", &token("web-1"), &large[..4097], 413, "body-too-large", &says)?;
    scene.check("a body at the limit", &token("web-1"), &large[..4096], 400, "malformed", &[])?;

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

#[test]
fn an_agent_with_a_wrong_token_keeps_its_report() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let _collector = site.collect(&Settings::default())?;
    site.sandbox.write("web-1.token", "wrong-token-0123456789abcdef")?;
    let ended = site.sweep("web-1")?;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("401"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("wrong-token"), "a token in a log: {}", ended.stderr);
    site.sandbox.write("web-1.token", token("web-1"))?;
    sweep(&site, "web-1", 0)?;
    assert_eq!(count(&site, "SELECT count(*) FROM reports")?, 2);
    Ok(())
}
