//! The agent's systemd unit on a Debian that really boots: what the agent does in
//! its confinement, how it is reloaded, killed and left alone, and what it says.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use congruent_protocol::verification::State;
use congruent_tests::installation::Installation;
use congruent_tests::sandbox::{KeyFiles, Sandbox};
use congruent_tests::stock::{self, Booted, CONTRACTS};
use congruent_tests::systemd::exposure;
use congruent_tests::wait::wait_for;
use congruent_tests::{agent, binaries, tree};
use serde_json::Value;

const NODE: &str = "web-1";
const UNIT: &str = "congruent-agent.service";
const CONFIG: &str = "/etc/congruent/agent.toml";
const STATE: &str = "/var/lib/congruent";
/// A sweep of a whole Debian stands back for everything else on a busy machine.
const SWEPT: Duration = Duration::from_mins(5);
/// An immutable file.
const VICTIM: &str = "/etc/debian_version";

/// What `systemd-analyze security` may say at most.
const EXPOSURE: f64 = 3.0;

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(UNIT)
}

/// A stock image with the agent in it, and its manifest.
struct Image {
    sandbox: Sandbox,
    root: PathBuf,
    manifest: PathBuf,
    keys: KeyFiles,
}

impl Image {
    fn new() -> Result<Self> {
        let sandbox = Sandbox::for_trees()?;
        let (root, keys) = (sandbox.path("root"), sandbox.keygen("key")?);
        tree::copy(stock::image()?, &root)?;
        install(&root, &keys)?;
        let manifest = sandbox.path("web.manifest");
        agent::bake_composed(&root, &CONTRACTS.map(stock::contract), &keys, &manifest)?;
        fs::copy(&manifest, root.join("etc/congruent/web.manifest"))
            .context("cannot install the manifest")?;
        Ok(Self { sandbox, root, manifest, keys })
    }

    /// What the look from outside, at an instance that is down, comes to.
    fn look(&self) -> Result<(State, Vec<String>)> {
        let ended = agent::verify(&self.manifest, &self.keys.public, &self.root)?;
        let verification = agent::verification(&ended)?;
        let paths = verification.findings.iter().map(|finding| finding.path.to_string());
        Ok((verification.state, paths.collect()))
    }
}

/// As the README has it.
fn install(root: &Path, keys: &KeyFiles) -> Result<()> {
    let at = |path: &str| root.join(path);
    fs::copy(binaries::path("congruent")?, at("usr/bin/congruent")).context("cannot install the agent")?;
    fs::copy(unit(), at("usr/lib/systemd/system").join(UNIT)).context("cannot install the unit")?;
    let wanted = at("etc/systemd/system/multi-user.target.wants").join(UNIT);
    symlink(format!("/usr/lib/systemd/system/{UNIT}"), wanted).context("cannot enable the unit")?;
    fs::copy(&keys.public, at("etc/congruent/key.pub.pem")).context("cannot install the key")?;
    let toml = "manifest = \"web.manifest\"\ntrust = [\"key.pub.pem\"]\ninterval = \"1h\"\n";
    fs::write(at("etc/congruent/agent.toml"), toml).context("cannot configure the agent")
}

/// A booted node.
struct Node<'a>(&'a Booted);

impl Node<'_> {
    fn journal(&self) -> Result<String> {
        self.0.succeed(&["journalctl", "--unit", UNIT, "--output=cat", "--no-pager"])
    }

    /// Waits until the agent has said `words` this many times.
    fn wait_for_words(&self, words: &str, times: usize) -> Result<()> {
        let waited = wait_for(&format!("{words:?} in the journal"), SWEPT, || {
            Ok((self.journal()?.matches(words).count() >= times).then_some(()))
        });
        waited.with_context(|| self.journal().unwrap_or_default())
    }

    fn property(&self, name: &str) -> Result<String> {
        let shown = self.0.succeed(&["systemctl", "show", "--value", "--property", name, UNIT])?;
        Ok(shown.trim().to_owned())
    }

    fn status(&self) -> Result<Value> {
        let ended = self.0.run(&["congruent", "status", "--config", CONFIG, "--format", "json"])?;
        serde_json::from_slice(&ended.stdout).with_context(|| ended.stderr)
    }

    /// The files that the agent holds open for writing, and are files at all.
    fn written(&self) -> Result<Vec<String>> {
        let pid = self.property("MainPID")?;
        let list = format!(
            "cd /proc/{pid}/fd && for fd in *; do file=$(readlink $fd) || continue; \
             flags=$(sed -n 's/^flags:[[:space:]]*//p' ../fdinfo/$fd); \
             case $file in /*) [ $((flags & 3)) = 0 ] || echo $file;; esac; done"
        );
        Ok(self.0.succeed(&["sh", "-c", &list])?.lines().map(str::to_owned).collect())
    }

    /// The places that are not read-only as the agent sees them, of disks.
    fn writable(&self) -> Result<Vec<String>> {
        let pid = self.property("MainPID")?;
        let mounts = self.0.succeed(&["cat", &format!("/proc/{pid}/mountinfo")])?;
        let writable = mounts.lines().filter_map(|line| {
            let (mount, file_system) = line.split_once(" - ")?;
            let mut fields = mount.split(' ').skip(4);
            let (path, flags) = (fields.next()?, fields.next()?);
            let is_made_up = ["proc", "sysfs", "devpts", "mqueue", "hugetlbfs", "cgroup2"]
                .contains(&file_system.split(' ').next()?);
            (flags.split(',').any(|flag| flag == "rw") && !is_made_up).then(|| path.to_owned())
        });
        Ok(writable.collect())
    }
}

#[test]
fn the_unit_lives_on_a_booted_debian() -> Result<()> {
    let image = Image::new()?;
    let installation = Installation::new(&image.manifest, &image.keys.public, "")?;
    installation.enroll(NODE, &image.root.join(&STATE[1..]))?;
    let booted = Booted::start(&image.root, &image.sandbox.path("console"))?;
    let node = Node(&booted);

    check_first_sweep(&node, &installation)?;
    check_reload(&node)?;
    check_confined(&node)?;
    check_quiet(&node.journal()?)?;

    // Nobody answers, something is changed, and the agent is killed.
    installation.stop()?;
    booted.succeed(&["sh", "-c", &format!("echo mined >>{VICTIM}")])?;
    let killed = node.property("MainPID")?;
    booted.succeed(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", UNIT])?;
    node.wait_for_words("finding, not delivered", 1)?;
    let journal = node.journal()?;
    ensure!(journal.lines().any(|line| line.contains("not delivered") && line.contains(VICTIM)), "{journal}");
    ensure!(
        node.property("MainPID")? != killed && node.property("NRestarts")? == "1",
        "it was restarted once"
    );
    let status = node.status()?;
    ensure!(status["look"]["state"] == "divergent" && status["spool"]["reports"] == 1, "{status}");
    ensure!(status["delivery_failed"]["why"].is_string(), "{status}");

    booted.shut_down()?;
    let (state, paths) = image.look()?;
    ensure!(state == State::Divergent && paths == [VICTIM], "the agent changed something: {paths:?}");
    Ok(())
}

fn check_first_sweep(node: &Node<'_>, installation: &Installation) -> Result<()> {
    let reported = wait_for("a report", SWEPT, || {
        Ok(installation.node(NODE)?.filter(|shown| shown["report"].is_object()))
    });
    let shown = reported.with_context(|| node.journal().unwrap_or_default())?;
    ensure!(shown["state"] == "congruent", "{shown}\n{}", node.journal()?);
    node.wait_for_words("acknowledged", 1)?;
    let status = node.status()?;
    let coverage = &status["look"]["coverage"];
    // What the image has beneath `/dev` is hidden on every host that runs.
    ensure!(coverage["unreadable"] == 0 && coverage["unstable"] == 0, "{status}");
    ensure!(status["running"] == true && status["spool"]["reports"] == 0, "{status}");
    ensure!(node.property("ActiveState")? == "active" && node.property("NRestarts")? == "0");
    Ok(())
}

/// A configuration is read again; one that cannot be used changes nothing.
fn check_reload(node: &Node<'_>) -> Result<()> {
    let pid = node.property("MainPID")?;
    let reload = |change: &str, says: &str| -> Result<()> {
        node.0.succeed(&["sh", "-c", &format!("cp {CONFIG} /run/kept && {change}")])?;
        node.0.succeed(&["systemctl", "reload", UNIT])?;
        let waited = node.wait_for_words(says, 1);
        node.0.succeed(&["cp", "/run/kept", CONFIG])?;
        waited
    };
    reload(&format!("echo intervall = 1 >>{CONFIG}"), "the configuration is kept as it was")?;
    ensure!(node.journal()?.contains("did you mean `interval`?"), "the mend is said");
    reload(&format!("sed -i 's/1h/2h/' {CONFIG}"), "the configuration is read again")?;
    ensure!(node.property("MainPID")? == pid && node.property("ActiveState")? == "active", "it went on");
    Ok(())
}

/// It can write to its state directory alone, and does.
fn check_confined(node: &Node<'_>) -> Result<()> {
    let writable = node.writable()?;
    // Its /tmp, /var/tmp and /dev are its own, and go with it; what nspawn has under
    // /run/host lies beneath another mount.
    let own = |path: &String| {
        [STATE, "/tmp", "/var/tmp"].contains(&path.as_str())
            || path.starts_with("/dev")
            || path.starts_with("/run/host/")
    };
    ensure!(writable.contains(&STATE.to_owned()), "{writable:?}");
    ensure!(writable.iter().all(own), "{writable:?}");
    let written = node.written()?;
    ensure!(!written.is_empty(), "the spool's lock is held");
    ensure!(written.iter().all(|path| path.starts_with(STATE)), "{written:?}");
    Ok(())
}

/// What the log says of a good day: nothing was refused, nothing went wrong but
/// the configuration that was.
fn check_quiet(journal: &str) -> Result<()> {
    for line in journal.lines() {
        let is_trouble = ["WARN", "ERROR", "not permitted", "denied", "EPERM", "Unknown", "Failed"];
        let is_trouble = is_trouble.iter().any(|word| line.contains(word));
        if is_trouble && !line.contains("the configuration is kept as it was") {
            bail!("{line:?} in\n{journal}");
        }
    }
    Ok(())
}

#[test]
fn the_unit_is_well_formed_and_tight() -> Result<()> {
    let exposure = exposure(&unit(), "congruent")?;
    println!("exposure of {UNIT}: {exposure}");
    ensure!(exposure < EXPOSURE, "the exposure is {exposure}");
    Ok(())
}
