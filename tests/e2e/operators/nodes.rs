//! Nodes at the operators' command line: lists in pages, names that mean harm, and
//! nodes that are forgotten.

use std::time::Instant;

use anyhow::{Context, Result};
use congruent_protocol::key::SecretKey;
use congruent_tests::enrolled;
use congruent_tests::program::run;
use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::Scene;
use crate::watch::sweep;

/// Names that a node may have, and that mean harm to whoever takes them for something else.
const HOSTILE: [&str; 7] = [
    "<img src=x onerror=alert(1)>",
    "'; DROP TABLE nodes; --",
    "100%_of\\it",
    "--revoke",
    "a?b=c&d#e",
    "\"quoted\", $(reboot) `id`",
    "web-1 ",
];

impl Scene {
    /// Enrols a node under any name.
    fn enrol(&self, at: usize, name: &str) -> Result<()> {
        let toml = format!(
            "node = {}\nmanifest = 'web.manifest'\ntrust = ['key.pub.pem']\nstate-directory = 'state-{at}'\n",
            json!(name)
        );
        let config = self.site.sandbox.write(format!("agent-{at}.toml"), toml)?;
        enrolled::enrol(self.collector(), &config, "fleet")
    }

    fn ids(&self, flags: &[&str]) -> Result<Vec<String>> {
        let answer = self.admin().answer(&[&["node", "list"], flags].concat())?;
        let ids = answer["nodes"].as_array().context("no list")?.iter();
        Ok(ids.map(|node| node["id"].as_str().unwrap_or_default().to_owned()).collect())
    }

    fn text(&self, arguments: &[&str]) -> Result<String> {
        let ended = self.admin().run(arguments)?;
        anyhow::ensure!(ended.code == Some(0), "{arguments:?}: {}", ended.stderr);
        Ok(ended.text())
    }
}

#[test]
fn names_that_mean_harm_are_names() -> Result<()> {
    let scene = Scene::new()?;
    for (at, name) in HOSTILE.iter().enumerate() {
        scene.enrol(at, name)?;
    }
    let mut names: Vec<_> = HOSTILE.iter().map(|&name| name.to_owned()).chain(["web-1".to_owned()]).collect();
    names.sort();
    assert_eq!(scene.ids(&[])?, names);
    let table = scene.text(&["node", "list"])?;
    for (at, name) in HOSTILE.iter().enumerate() {
        assert!(table.contains(name.trim_end()), "{name:?} in {table}");
        let mut show = scene.admin().command(&["node", "show", "--format", "json"])?;
        let shown: Value = serde_json::from_slice(&run(show.arg("--").arg(name))?.stdout)?;
        assert_eq!(shown["id"], json!(name));
        let found = scene.ids(&[&format!("--name={}", name.replace('?', "*"))])?;
        assert!(found.contains(&(*name).to_owned()), "{name:?}: {found:?}");
        let prefix = scene.ids(&[&format!("--prefix={name}")])?;
        assert_eq!(prefix, [*name], "{at}");
        let mut forget = scene.admin().command(&["node", "forget", "--revoke", "--reason", "a test"])?;
        let ended = run(forget.arg("--").arg(name))?;
        assert_eq!(ended.code, Some(0), "{name:?}: {}", ended.stderr);
    }
    assert_eq!(scene.ids(&[])?, ["web-1"]);
    // What is no name of a node never becomes one.
    for (at, name) in ["", "a/b", "\u{1b}[2J", "a\nb", "..", "\u{202e}x"].iter().enumerate() {
        let refused = scene.enrol(100 + at, name).err().with_context(|| format!("{name:?} was taken"))?;
        assert!(!refused.to_string().contains('\u{1b}'), "{refused}");
    }
    Ok(())
}

#[test]
fn a_node_is_shown_with_what_matters() -> Result<()> {
    let scene = Scene::new()?;
    let new = scene.text(&["node", "show", "web-1"])?;
    for says in ["unknown since", "it has never reported", "last report   none yet", "by join token jt_"] {
        assert!(new.contains(says), "{says:?} in {new}");
    }
    let (root, admin) = (scene.import()?, scene.admin());
    let key = scene.site.keys.public.to_string_lossy().into_owned();
    admin.change(&["group", "edit", "fleet", "--accept", &root, "--trust", &key])?;
    scene.site.tamper("web-1")?;
    sweep(&scene.site, "web-1", 1)?;
    let decided = congruent_tests::wait::wait_for("the decision", congruent_tests::wait::PATIENCE, || {
        let shown = scene.text(&["node", "show", "web-1"])?;
        Ok(shown.contains("decision ").then_some(shown))
    })?;
    for says in ["divergent since", "modified /usr/bin/web", "number 1,", "environment prod", &root] {
        assert!(decided.contains(says), "{says:?} in {decided}");
    }
    assert_eq!(scene.ids(&["--state", "divergent"])?, ["web-1"]);
    assert_eq!(scene.ids(&["--state", "silent"])?, [""; 0]);
    assert_eq!(scene.ids(&["--silent-for", "1h"])?, [""; 0]);
    let decisions = scene.text(&["decision", "list", "--node", "web-1"])?;
    assert!(decisions.contains("divergent"), "{decisions}");
    let id = scene.admin().answer(&["decision", "list"])?["decisions"][0]["id"].to_string();
    assert_eq!(scene.admin().answer(&["decision", "show", &id])?["input"]["state"], "divergent");
    scene.text(&["action", "list", "--group", "fleet"])?;
    Ok(())
}

#[test]
fn a_node_that_is_gone_is_forgotten_and_its_name_is_free() -> Result<()> {
    let scene = Scene::new()?;
    sweep(&scene.site, "web-1", 0)?;
    let admin = scene.admin();
    let refused = admin.run(&["node", "forget", "web-1", "--reason", "x"])?;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("is enrolled and may report"), "{}", refused.stderr);
    assert!(refused.stderr.contains("`--revoke`"), "{}", refused.stderr);
    let held = admin.run(&["group", "delete", "fleet", "--reason", "x"])?;
    assert!(
        held.code == Some(2)
            && held.stderr.contains("nodes are in the group \"fleet\": 1, such as \"web-1\""),
        "{}",
        held.stderr
    );

    let forgotten = admin.change(&["node", "forget", "web-1", "--revoke"])?;
    assert_eq!(forgotten["revoked"], json!(true));
    let gone = admin.run(&["node", "show", "web-1"])?;
    assert!(gone.code == Some(2) && gone.stderr.contains("\"web-1\""), "{}", gone.stderr);
    assert!(scene.text(&["node", "list"])?.contains("no node is enrolled yet"));
    let agent = scene.site.sweep("web-1")?;
    assert!(agent.stderr.contains("was revoked"), "{}", agent.stderr);
    // Evidence stays.
    let report = scene.auditors_report()?;
    let words: Vec<_> =
        report["audit"].as_array().context("no audit")?.iter().map(|row| &row["action"]).collect();
    assert!(words.ends_with(&[&json!("node-revoked"), &json!("node-forgotten")]), "{words:?}");
    let database = Connection::open(scene.site.database())?;
    let reports: i64 = database.query_row("SELECT count(*) FROM reports", [], |row| row.get(0))?;
    assert!(reports >= 1, "reports are gone");

    std::fs::remove_dir_all(scene.site.state("web-1"))?;
    let config = scene.site.write_agent("web-1")?;
    enrolled::enrol(scene.collector(), &config, "fleet")?;
    let anew = scene.admin().answer(&["node", "show", "web-1"])?;
    assert_eq!((&anew["state"], &anew["report"]), (&json!("unknown"), &Value::Null));
    admin.change(&["node", "revoke", "web-1"])?;
    assert_eq!(scene.ids(&["--revoked"])?, ["web-1"]);
    assert_eq!(admin.change(&["group", "delete", "fleet"])?["version"], json!(2));
    assert!(scene.text(&["group", "list"])?.contains("no group yet"));
    assert!(scene.text(&["group", "history", "fleet"])?.contains("true"), "its history stays");
    Ok(())
}

#[test]
fn thousands_are_listed_page_by_page() -> Result<()> {
    const NODES: u64 = 2500;
    let mut scene = Scene::new()?;
    let stopped = scene.collector.take().context("it runs")?;
    assert_eq!(stopped.stop()?, Some(0));
    plant(&scene, NODES)?;
    scene.start()?;
    let began = Instant::now();
    let ids = scene.ids(&["--prefix", "db-"])?;
    println!("{NODES} nodes listed in {} ms", began.elapsed().as_millis());
    let expected: Vec<_> = (0..NODES).map(|at| format!("db-{at:05}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(scene.ids(&["--limit", "1234"])?, expected[..1234]);
    let table = scene.text(&["node", "list", "--limit", "1001"])?;
    assert_eq!(table.lines().count(), 1001 + 2, "heading and summary");
    let last = table.lines().last().unwrap_or_default();
    let rest = "there are more: give --after db-01000, or a higher --limit";
    assert!(last.starts_with("1001 of 2501 nodes;") && last.ends_with(rest), "{last}");
    assert_eq!(scene.ids(&["--prefix", "db-", "--after", "db-01000"])?, expected[1001..]);
    let table = scene.text(&["node", "list", "--prefix", "db-", "--after", "db-02490", "--limit", "8"])?;
    let last = table.lines().last().unwrap_or_default();
    assert_eq!(last, "8 nodes; there are more: give --after db-02498, or a higher --limit");
    let document = scene.admin().run(&["node", "list", "--format", "json", "--limit", "1"])?.text();
    let parsed: Value = serde_json::from_str(&document)?;
    assert_eq!(document, format!("{parsed:#}\n"), "sorted, as all documents");
    assert_eq!((&parsed["schema_version"], &parsed["truncated"]), (&json!(1), &json!(true)));
    assert_eq!(parsed["next"], parsed["nodes"][0]["id"]);
    let document = scene.admin().run(&["node", "list", "--format", "json"])?.text();
    let parsed: Value = serde_json::from_str(&document)?;
    assert_eq!(document, format!("{parsed:#}\n"), "also where it came in pages");
    assert_eq!((&parsed["next"], &parsed["truncated"]), (&json!(null), &json!(false)));
    Ok(())
}

/// Enrols so many nodes as the collector would, all at once.
fn plant(scene: &Scene, nodes: u64) -> Result<()> {
    let mut database = Connection::open(scene.site.database())?;
    let transaction = database.transaction()?;
    for at in 0..nodes {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&at.to_le_bytes());
        let key = SecretKey::from_seed(seed).public();
        let sql = "INSERT INTO enrolments (id, node, group_name, key, public_key, seal_key, enrolled_at, \
             admitted_by, agent_version) VALUES (?1, ?2, 'fleet', ?3, ?4, ?5, 1, 'jt_1', '0.1.0')";
        let (id, node) = (format!("enr_{at}"), format!("db-{at:05}"));
        transaction.execute(sql, params![id, node, key.id().to_string(), key.to_spki(), seed])?;
    }
    Ok(transaction.commit()?)
}
