//! The operators' side: who may do what, imported manifests, groups that change
//! while the collector runs, and what the audit has of it all.

mod at_once;
mod groups;
mod killed;
mod people;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use congruent_tests::binaries;
use congruent_tests::collector::Collector;
use congruent_tests::operator::Operator;
use congruent_tests::program::run;
use congruent_tests::site::{Site, TARGET, token};
use serde_json::Value;

/// A collector whose one node is in the group `fleet`, which stands in the store.
struct Scene {
    site: Site,
    collector: Option<Collector>,
    webhook: Option<String>,
}

impl Scene {
    /// With a group that accepts nothing yet.
    fn new() -> Result<Self> {
        Self::ordering(None)
    }

    /// The same, with a webhook for its orders.
    fn ordering(webhook: Option<String>) -> Result<Self> {
        let mut scene = Self { site: Site::small(&["web-1"])?, collector: None, webhook };
        // A node needs its group, and the group a collector that runs.
        scene.start(false)?;
        scene.admin().change(&["group", "create", "fleet", "--environment", "prod"])?;
        scene.start(true)?;
        Ok(scene)
    }

    /// Starts the collector, again where it runs; with its node or without.
    fn start(&mut self, with_node: bool) -> Result<()> {
        if let Some(running) = self.collector.take() {
            assert_eq!(running.stop()?, Some(0));
        }
        let mut toml = "listen = \"127.0.0.1:0\"\ndatabase = \"congruent.db\"\n\
             operator-token-file = \"operator.token\"\nsilent-after = \"15m\"\ntls = false\n"
            .to_owned();
        if with_node {
            toml.push_str("[[node]]\nid = \"web-1\"\ngroup = \"fleet\"\ntoken-file = \"web-1.token\"\n");
        }
        if let Some(url) = &self.webhook {
            toml.push_str(&format!(
                "[[webhook]]\nname = {TARGET:?}\nurl = {url:?}\nsecret-file = \"platform.secret\"\n"
            ));
        }
        let config = self.site.sandbox.write("server.toml", toml)?;
        let log = self.site.sandbox.path("server.log");
        let collector = Collector::start(&config, &log, &token("operator"))?;
        self.site.write_agent("web-1", Some(collector.url()))?;
        self.collector = Some(collector);
        Ok(())
    }

    fn collector(&self) -> &Collector {
        self.collector.as_ref().expect("it was started")
    }

    /// The operator whose token the configuration names.
    fn admin(&self) -> Operator {
        self.operator(self.site.sandbox.path("operator.token"))
    }

    fn operator(&self, token_file: PathBuf) -> Operator {
        Operator { url: self.collector().url().to_owned(), token_file }
    }

    /// Imports the site's manifest; gives its root.
    fn import(&self) -> Result<String> {
        let manifest = self.site.manifest();
        let answer = self.admin().change(&["manifest", "import", &manifest.to_string_lossy()])?;
        Ok(answer["root"].as_str().unwrap_or_default().to_owned())
    }

    /// The audit's action words, the newest first.
    fn audit(&self) -> Result<Vec<String>> {
        let answer = self.admin().answer(&["audit", "list"])?;
        let rows = answer["audit"].as_array().cloned().unwrap_or_default();
        Ok(rows.iter().map(|row| row["action"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// The auditor's report about all that was.
    fn auditors_report(&self) -> Result<Value> {
        let config = self.site.sandbox.path("server.toml");
        let mut command = Command::new(binaries::path("congruent-server")?);
        command.args(["report", "--from", "2020-01-01", "--to", "2199-01-01", "--config"]).arg(config);
        let ended = run(&mut command)?;
        anyhow::ensure!(ended.code == Some(0), "{}", ended.stderr);
        Ok(serde_json::from_slice(&ended.stdout)?)
    }

    /// The group as it stands.
    fn group(&self) -> Result<Value> {
        self.admin().answer(&["group", "show", "fleet"])
    }
}
