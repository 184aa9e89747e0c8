//! A collector as `congruent-server init` makes it, whose nodes enrol and report by
//! their certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::collector::Collector;
use crate::program::run;
use crate::sandbox::Sandbox;
use crate::{agent, binaries};

/// How it is reached; the kernel chooses the ports.
const ADDRESS: &str = "127.0.0.1";
/// The group that `init` makes.
const GROUP: &str = "default";

/// A collector and its files.
pub struct Installation {
    sandbox: Sandbox,
    collector: Collector,
    fingerprint: String,
    agents_url: String,
}

impl Installation {
    /// A collector whose one group accepts `manifest`, signed by `signer`, with
    /// `more` at the top of its configuration.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn new(manifest: &Path, signer: &Path, more: &str) -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let folder = sandbox.path("collector");
        let mut init = Command::new(binaries::path("congruent-server")?);
        let made = run(init.arg("init").arg(&folder).args(["--name", ADDRESS]))?;
        ensure!(made.code == Some(0), "congruent-server init failed: {}", made.stderr);
        let fingerprint = made.text().trim_end().lines().last().context("init says nothing")?.to_owned();
        let config = configure(&folder, manifest, signer, more)?;
        let operator = fs::read_to_string(folder.join("operator.token")).context("init made no token")?;
        let collector = Collector::start(&config, &sandbox.path("server.log"), operator.trim())?;
        let agents_url = collector.agents_url()?;
        Ok(Self { sandbox, collector, fingerprint, agents_url })
    }

    /// Where it listens for nodes, by its own words.
    pub fn agents_url(&self) -> &str {
        &self.agents_url
    }

    /// The collector.
    pub fn collector(&self) -> &Collector {
        &self.collector
    }

    /// Enrols a node that keeps its state in `state`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn enroll(&self, node: &str, state: &Path) -> Result<()> {
        let token = self.sandbox.path(format!("{node}.join"));
        let mut create = Command::new(binaries::path("congruent-server")?);
        create.args(["token", "create", "--group", GROUP, "--ttl", "15m", "--reason", "a test"]);
        create.args(["--server", self.collector.url(), "--config"]).arg(self.config());
        let created = run(create.arg("--output").arg(&token))?;
        ensure!(created.code == Some(0), "no join token was made: {}", created.stderr);
        let mut enroll = agent::command(&["enroll", "--server", self.collector.url(), "--node", node])?;
        enroll.args(["--ca-fingerprint", &self.fingerprint, "--token-file"]).arg(token);
        let enrolled = run(enroll.arg("--state-directory").arg(state))?;
        ensure!(enrolled.code == Some(0), "{node} is not enrolled: {}", enrolled.stderr);
        Ok(())
    }

    /// A node as the collector shows it; none where it knows of no such node.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn node(&self, node: &str) -> Result<Option<Value>> {
        let answer = self.collector.get(&format!("/v1/nodes/{node}"))?;
        if answer.status == 200 { answer.json().map(Some) } else { Ok(None) }
    }

    /// Takes the collector down.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(self) -> Result<()> {
        let code = self.collector.stop()?;
        ensure!(code == Some(0), "the collector ended with {code:?}");
        Ok(())
    }

    fn config(&self) -> PathBuf {
        self.sandbox.path("collector/server.toml")
    }
}

/// Has what `init` made take ports that are free, and accept the manifest.
fn configure(folder: &Path, manifest: &Path, signer: &Path, more: &str) -> Result<PathBuf> {
    let config = folder.join("server.toml");
    let toml = fs::read_to_string(&config).context("init made no configuration")?;
    let toml = toml.replace("0.0.0.0:8440", "127.0.0.1:0").replace("0.0.0.0:8441", "127.0.0.1:0");
    let toml = toml.replace("# manifests = [\"web.manifest\"]", &format!("manifests = [{manifest:?}]"));
    let toml = toml.replace("# trust = [\"signer.pub.pem\"]", &format!("trust = [{signer:?}]"));
    fs::write(&config, format!("{more}\n{toml}")).context("cannot write the configuration")?;
    Ok(config)
}
