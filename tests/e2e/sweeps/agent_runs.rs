//! The agent's sweeps: quick ones between full ones, and what a restart costs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Result, ensure};
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{agent, program};

use super::Swept;

/// An agent that runs, and its log.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Without a collector it logs what it finds.
    fn start(swept: &Swept, sweep: &str) -> Result<Self> {
        let scene = &swept.scene;
        let state = scene.sandbox.path("state");
        let configuration = format!(
            "node = 'web-1'\nmanifest = '{}'\ntrust = ['{}']\nroot = '{}'\nstate-directory = '{}'\n\
             interval = '30m'\n[sweep]\n{sweep}\n",
            scene.manifest.display(),
            scene.keys.public.display(),
            scene.root.display(),
            state.display()
        );
        let configuration = scene.sandbox.write("agent.toml", configuration)?;
        let log = scene.sandbox.path("agent.log");
        let mut command = agent::command(&["agent", "--config"])?;
        command.arg(configuration).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        Ok(Self { child: command.spawn()?, log })
    }

    /// Waits for a line of the log that has all these words.
    fn wait_for_line(&mut self, words: &[&str]) -> Result<()> {
        let waited = wait_for(&format!("the log to say {words:?}"), PATIENCE, || {
            ensure!(self.child.try_wait()?.is_none(), "the agent ended");
            let log = fs::read_to_string(&self.log)?;
            Ok(log.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(()))
        });
        waited.map_err(|error| error.context(fs::read_to_string(&self.log).unwrap_or_default()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        program::end(&mut self.child);
    }
}

#[test]
fn quick_sweeps_find_what_changes_between_full_ones() -> Result<()> {
    let swept = Swept::new(|_| Ok(()))?;
    let mut running = Running::start(&swept, "quick-interval = '200ms'")?;
    running.wait_for_line(&["sweep completed", "mode=\"full\"", "state=\"congruent\""])?;
    running.wait_for_line(&["sweep completed", "mode=\"quick\"", "state=\"congruent\"", "bytes=0"])?;
    fs::write(swept.scene.root.join("etc/passwd"), "changed")?;
    running.wait_for_line(&["sweep completed", "mode=\"quick\"", "state=\"divergent\""])?;
    running.wait_for_line(&["finding: modified", "/etc/passwd"])
}

#[test]
fn a_sweep_goes_on_after_a_restart() -> Result<()> {
    let swept = Swept::new(large)?;
    // Without quick sweeps it would keep no state.
    let sweep = "quick-interval = '20m'\nmax-bytes-per-second = '1M'";
    let running = Running::start(&swept, sweep)?;
    let part = swept.scene.sandbox.path("state/sweep-cache.part");
    wait_for("some of the sweep to be kept", PATIENCE, || {
        Ok((fs::metadata(&part).map_or(0, |metadata| metadata.len()) > 600).then_some(()))
    })?;
    drop(running);
    let mut running = Running::start(&swept, sweep)?;
    running.wait_for_line(&["going on with the sweep that began at"])?;
    running.wait_for_line(&["sweep completed", "mode=\"full\"", "state=\"congruent\""])?;
    let log = fs::read_to_string(&running.log)?;
    assert!(!log.contains("recalled=0"), "nothing was recalled: {log}");
    Ok(())
}

fn large(root: &Path) -> Result<()> {
    fs::create_dir(root.join("srv"))?;
    let content: Vec<u8> = (0_u32..).flat_map(u32::to_be_bytes).take(50_000).collect();
    (0..80).try_for_each(|number| Ok(fs::write(root.join(format!("srv/large-{number:03}")), &content)?))
}
