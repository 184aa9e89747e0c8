//! The operators' side: who may do what, imported manifests, groups that change
//! while the collector runs, and what the audit has of it all.

mod at_once;
mod groups;
mod killed;
mod mends;
mod nodes;
mod people;

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use congruent_tests::collector::Collector;
use congruent_tests::operator::Operator;
use congruent_tests::program::run;
use congruent_tests::site::{Site, TARGET};
use congruent_tests::{binaries, enrolled};
use serde_json::Value;

/// What the audit has of the token that a scene's node joins with.
const JOINED: &str = "join-token-created";

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
        scene.start()?;
        scene.admin().change(&["group", "create", "fleet", "--environment", "prod"])?;
        let agent = scene.site.write_agent("web-1")?;
        enrolled::enrol(scene.collector(), &agent, "fleet")?;
        Ok(scene)
    }

    /// Starts the collector, again where it runs.
    fn start(&mut self) -> Result<()> {
        if let Some(running) = self.collector.take() {
            assert_eq!(running.stop()?, Some(0));
        }
        let mut toml = "listen = \"127.0.0.1:0\"\ndatabase = \"congruent.db\"\n\
             operator-token-file = \"operator.token\"\nsilent-after = \"15m\"\n"
            .to_owned();
        toml.push_str(&self.site.agents_listen());
        if let Some(url) = &self.webhook {
            toml.push_str(&format!(
                "[[webhook]]\nname = {TARGET:?}\nurl = {url:?}\nsecret-file = \"platform.secret\"\n"
            ));
        }
        self.site.sandbox.write("server.toml", toml)?;
        self.collector = Some(self.site.start()?);
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
        let collector = self.collector();
        Operator { url: collector.url().to_owned(), token_file, authority: collector.authority().to_owned() }
    }

    /// Imports the site's manifest; gives its root.
    fn import(&self) -> Result<String> {
        let manifest = self.site.manifest();
        let answer = self.admin().change(&["manifest", "import", &manifest.to_string_lossy()])?;
        Ok(answer["root"].as_str().unwrap_or_default().to_owned())
    }

    /// The audit's action words, the newest first, but for the token that the scene's
    /// own node joined with.
    fn audit(&self) -> Result<Vec<String>> {
        let answer = self.admin().answer(&["audit", "list"])?;
        let rows = answer["audit"].as_array().cloned().unwrap_or_default();
        let words = rows.iter().map(|row| row["action"].as_str().unwrap_or_default().to_owned());
        Ok(words.filter(|word| word != JOINED).collect())
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
