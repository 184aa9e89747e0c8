//! A simulated fleet at a real collector.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use congruent_fleet::Outcome;

use crate::binaries;
use crate::collector::{self, Collector};
use crate::load::Load;
use crate::program::{run, succeed};
use crate::site::{GROUP, Settings, Site};

/// What the simulated image is called.
const IMAGE: &str = "simulated";

/// Which processor each side has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    /// The simulator's.
    pub simulator: usize,
    /// The collector's.
    pub collector: usize,
}

/// A site without real nodes, whose group accepts two simulated releases.
pub struct Simulated {
    /// The installation.
    pub site: Site,
    /// Its collector.
    pub collector: Collector,
    settings: Settings,
    pinned: Option<Pinned>,
}

impl Simulated {
    /// Starts a collector with these settings, but for the manifests.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(settings: Settings) -> Result<Self> {
        Self::start_on(settings, None)
    }

    /// The same, on a processor of its own.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_on(settings: Settings, pinned: Option<Pinned>) -> Result<Self> {
        Self::start_at(Site::small(&[])?, settings, pinned)
    }

    /// The same at a site that there is already.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_at(site: Site, settings: Settings, pinned: Option<Pinned>) -> Result<Self> {
        let simulator = binaries::path("fleet-simulator")?;
        let words = ["manifest", "--name", IMAGE, "--group", GROUP, "--out"].map(PathBuf::from);
        let files = [site.sandbox.folder().to_owned(), "--key".into(), site.keys.secret.clone()];
        succeed(&simulator.to_string_lossy(), words.into_iter().chain(files))?;
        let manifests = [1, 2].map(|release| format!("{IMAGE}-{release}.0.manifest")).to_vec();
        let settings = Settings { manifests, ..settings };
        let config = site.write_server(&settings)?;
        let command = on(pinned.map(|pinned| pinned.collector), collector::command(&config)?);
        let collector = site.start_as(command)?;
        Ok(Self { site, collector, settings, pinned })
    }

    /// Stops the collector, does something meanwhile, and starts it with these settings.
    /// Nodes find it where it was.
    ///
    /// # Errors
    /// When it does not end or come up again.
    pub fn restarted(self, settings: Settings, meanwhile: impl FnOnce(&Site) -> Result<()>) -> Result<Self> {
        let Self { site, collector, pinned, .. } = self;
        collector.stop()?;
        meanwhile(&site)?;
        let manifests = [1, 2].map(|release| format!("{IMAGE}-{release}.0.manifest")).to_vec();
        let settings = Settings { manifests, ..settings };
        let config = site.write_server(&settings)?;
        let command = on(pinned.map(|pinned| pinned.collector), collector::command(&config)?);
        let collector = site.start_as(command)?;
        Ok(Self { site, collector, settings, pinned })
    }

    /// `fleet-simulator run` of a scenario, with these arguments more; gives the outcome.
    ///
    /// # Errors
    /// When it fails, or takes longer than a test may.
    pub fn run(&self, scenario: &str, arguments: &[&str]) -> Result<Outcome> {
        let ended = run(&mut self.watching(scenario, arguments)?)?;
        ensure!(ended.code == Some(0), "fleet-simulator failed: {}", ended.stderr);
        serde_json::from_slice(&ended.stdout).with_context(|| ended.text())
    }

    /// The same, however long it takes, by nodes that stay enrolled from one run to the
    /// next.
    ///
    /// # Errors
    /// When it fails.
    pub fn measure(&self, scenario: &str, arguments: &[&str]) -> Result<Outcome> {
        let mut command = self.watching(scenario, arguments)?;
        let ended = command.arg("--enrolments").arg(self.enrolments()).stdin(Stdio::null()).output();
        let ended = ended.context("cannot start fleet-simulator")?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "fleet-simulator failed: {said}");
        serde_json::from_slice(&ended.stdout).context("the outcome is not JSON")
    }

    /// Begins a run that goes on beside the test, with these arguments more; collectors
    /// may come and go meanwhile.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(&self, scenario: &str, arguments: &[&str]) -> Result<Load> {
        let mut command = self.command(scenario, arguments)?;
        command.arg("--enrolments").arg(self.enrolments());
        Load::start(command)
    }

    /// Kills the collector, and starts another in its place, where nodes find it.
    ///
    /// # Errors
    /// When that does not come up.
    pub fn kill_collector(&mut self) -> Result<()> {
        self.collector.end();
        self.site.write_server(&self.settings)?;
        self.collector = self.site.start()?;
        Ok(())
    }

    /// Where the nodes that [`measure`](Self::measure) ran are kept.
    pub fn enrolments(&self) -> PathBuf {
        self.site.sandbox.path("enrolments")
    }

    /// Has them all report to another address than this collector's, or back to it.
    ///
    /// # Errors
    /// When they cannot be changed.
    pub fn redirect(&self, from: &str, to: &str) -> Result<()> {
        let text = fs::read_to_string(self.enrolments()).context("no enrolments")?;
        ensure!(text.contains(from), "no node reports to {from}");
        fs::write(self.enrolments(), text.replace(from, to)).context("cannot write the enrolments")
    }

    /// A run that tells what it cost the collector.
    fn watching(&self, scenario: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command(scenario, arguments)?;
        if !arguments.contains(&"--collector-pid") {
            command.args(["--collector-pid", &self.collector.process_id().to_string()]);
        }
        if self.site.has_file() {
            command.arg("--database").arg(self.site.database());
        }
        Ok(on(self.pinned.map(|pinned| pinned.simulator), command))
    }

    fn command(&self, scenario: &str, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binaries::path("fleet-simulator")?);
        command.args(["run", scenario, "--format", "json", "--group", GROUP]);
        command.args(["--server", self.collector.url()]).arg("--ca").arg(self.collector.authority());
        command.arg("--operator-token-file").arg(self.site.sandbox.path("operator.token"));
        for release in [1, 2] {
            command.arg("--manifest").arg(self.site.sandbox.path(format!("{IMAGE}-{release}.0.manifest")));
        }
        command.args(arguments);
        Ok(command)
    }
}

/// The same command on one processor, where there is one for it.
pub fn on(processor: Option<usize>, command: Command) -> Command {
    let Some(processor) = processor else { return command };
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", &processor.to_string()]).arg(command.get_program()).args(command.get_args());
    pinned
}
