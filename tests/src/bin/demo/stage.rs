//! What the demo plays on: the files, the two programs, the platform's receiver.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use congruent_protocol::drift::Finding;
use congruent_protocol::verification::State;
use congruent_tests::collector::Collector;
use congruent_tests::enrolled::fingerprint;
use congruent_tests::program::{self, run};
use congruent_tests::receiver::{Answer, Delivery, WebhookReceiver};
use congruent_tests::signature::WebhookSecret;
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{agent, binaries};

use super::say;

const OPERATOR: &str = "demo-operator-token-that-nobody-else-has";
/// Where processes are noted that are to be ended, one id a line.
const PROCESSES: &str = "pids";
const SERVER: &str = r#"
listen = "127.0.0.1:0"
agents-listen = "127.0.0.1:0"
database = "congruent.db"
operator-token-file = "operator.token"
silent-after = "15m"

[[group]]
name = "web"
environment = "prod"
mode = "replace"
manifests = ["web.manifest"]
trust = ["signer.pub.pem"]
webhook = "platform"

[[webhook]]
name = "platform"
secret-file = "platform.secret"
"#;
const AGENT: &str = r#"
node = "web-1"
manifest = "web.manifest"
trust = ["signer.pub.pem"]
root = "root"
state-directory = "state"
interval = "3s"
"#;

/// A collector, an agent, and a receiver of webhooks, over one folder.
pub(crate) struct Stage {
    folder: PathBuf,
    receiver: WebhookReceiver,
    collector: Option<Collector>,
    agent: Option<Child>,
}

/// What the collector says of the machine.
pub(crate) struct Node {
    pub(crate) entries: u64,
    pub(crate) findings: Vec<Finding>,
}

impl Stage {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let secret = WebhookSecret::new(*b"a demo's secret, of 32 bytes ...");
        for (name, text) in [("platform.secret", secret.to_text()), ("operator.token", OPERATOR.to_owned())] {
            write_secret(&folder.join(name), &text)?;
        }
        let receiver = WebhookReceiver::start(secret, Answer::Status(204))?;
        Ok(Self { folder: folder.to_owned(), receiver, collector: None, agent: None })
    }

    /// The root file system of the machine.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Makes a key and bakes the root, showing the commands and what they say.
    pub(crate) fn bake(&self) -> Result<()> {
        self.show("congruent", "keygen --output signer.pem")?;
        self.show("congruent", "bake root --name web --version 1.4.2 --key signer.pem --output web.manifest")
    }

    fn show(&self, program: &str, line: &str) -> Result<()> {
        println!("\n  $ {program} {line}");
        let mut command = Command::new(binaries::path(program)?);
        let ended = run(command.args(line.split(' ')).current_dir(&self.folder))?;
        ended.text().lines().chain(ended.stderr.lines()).for_each(|said| say(&format!("| {said}")));
        ensure!(ended.code == Some(0), "{program} failed: {:?}", ended.code);
        Ok(())
    }

    /// Starts the collector, then the agent.
    pub(crate) fn start(&mut self) -> Result<()> {
        let config = self.folder.join("server.toml");
        fs::write(&config, format!("{SERVER}url = \"{}\"\n", self.receiver.url()))?;
        println!("\n  $ congruent-server serve --config server.toml");
        let collector = Collector::start(&config, &self.folder.join("server.log"), OPERATOR)?;
        note_process(&self.folder, collector.process_id())?;
        say(&format!("| listening on {}", collector.url()));
        say(&format!("| enrolled nodes on {}", collector.agents_url()?));

        let config = self.folder.join("agent.toml");
        fs::write(&config, AGENT)?;
        self.enrol(&collector)?;
        self.collector = Some(collector);
        println!("\n  $ congruent agent --config agent.toml\n");
        let log = File::create(self.folder.join("agent.log"))?;
        let mut command = agent::command(&["agent", "--config"])?;
        let child = command.arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let child = child.context("cannot start the agent")?;
        note_process(&self.folder, child.id())?;
        self.agent = Some(child);
        Ok(())
    }

    /// Makes the machine known to the collector, showing how.
    fn enrol(&self, collector: &Collector) -> Result<()> {
        let (url, fingerprint) = (collector.url(), fingerprint(collector.authority())?);
        let token = "token create --config server.toml --group web --output join.token --reason a-demo";
        self.show("congruent-server", &format!("{token} --server {url}"))?;
        let enroll = "enroll --config agent.toml --token-file join.token";
        self.show("congruent", &format!("{enroll} --server {url} --ca-fingerprint {fingerprint}"))
    }

    fn collector(&self) -> Result<&Collector> {
        self.collector.as_ref().context("the collector was not started")
    }

    /// Waits until the collector gives the machine this state with as many
    /// findings at least: a sweep may come in the midst of changes.
    pub(crate) fn wait_for(&self, state: State, findings: usize) -> Result<Node> {
        let collector = self.collector()?;
        wait_for(&format!("web-1 to be {}", state.name()), PATIENCE, || {
            let mut node = collector.json("/v1/nodes/web-1")?;
            let found: Vec<Finding> = serde_json::from_value(node["findings"].take())?;
            if node["state"] != state.name() || found.len() < findings {
                return Ok(None);
            }
            let entries = node["coverage"]["entries_seen"].as_u64().unwrap_or_default();
            Ok(Some(Node { entries, findings: found }))
        })
        .with_context(|| self.logs())
    }

    /// Waits until the platform has an order.
    pub(crate) fn wait_for_order(&self) -> Result<Delivery> {
        let deliveries = self.receiver.wait_for(1, PATIENCE).with_context(|| self.logs())?;
        deliveries.into_iter().next().context("there is no delivery")
    }

    /// Why the plan ordered this action.
    pub(crate) fn plan_reason(&self, action: &str) -> Result<String> {
        let action = self.collector()?.json(&format!("/v1/actions/{action}"))?;
        let steps = action["history"].as_array().context("an action has a history")?;
        let step = steps.iter().find(|step| step["state"] == "proposed");
        let reason = step.and_then(|step| step["reason"].as_str()).map(str::to_owned);
        reason.context("the action was never proposed")
    }

    /// What agent and collector logged, for when something went wrong.
    fn logs(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        format!("the agent's log:\n{}\nthe collector's log:\n{}", read("agent.log"), read("server.log"))
    }

    /// Stops what was started.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.end_agent();
        if let Some(collector) = self.collector.take() {
            ensure!(collector.stop()? == Some(0), "the collector did not stop cleanly");
        }
        Ok(())
    }

    fn end_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            program::end(&mut agent);
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.end_agent();
        drop(self.collector.take());
        // The numbers may belong to others from now on.
        let _ = fs::remove_file(self.folder.join(PROCESSES));
    }
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Notes a process for `scripts/demo`, which ends it should we not get to it.
fn note_process(folder: &Path, id: u32) -> Result<()> {
    let mut file = File::options().append(true).create(true).open(folder.join(PROCESSES))?;
    writeln!(file, "{id}").context("cannot note a process")
}
