//! The collector's systemd unit on a Debian that really boots: started, watched and
//! started anew when its writer hangs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use congruent_tests::program::end;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::stock::{self, Booted};
use congruent_tests::systemd::exposure;
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{binaries, tree};

use super::file;

const UNIT: &str = "congruent-server.service";
const STATE: &str = "/var/lib/congruent-server";
/// What `systemd-analyze security` may say at most.
const EXPOSURE: f64 = 1.5;
/// How long the watchdog waits here, which is 60 s in the unit.
const WATCHDOG: &str = "4s";
/// How long it may take until it is seen to have been started anew.
const RESTARTED: Duration = Duration::from_mins(2);

fn unit() -> PathBuf {
    file("packaging/systemd").join(UNIT)
}

/// As the documentation has it.
fn install(root: &Path) -> Result<()> {
    let at = |path: &str| root.join(path);
    let copy = |from: PathBuf, to: &str| {
        let made = at(to).parent().map(fs::create_dir_all).transpose();
        made.and_then(|_| fs::copy(&from, at(to)))
            .with_context(|| format!("cannot install {}", from.display()))
    };
    copy(binaries::path("congruent-server")?, "usr/bin/congruent-server")?;
    copy(unit(), &format!("usr/lib/systemd/system/{UNIT}"))?;
    copy(file("packaging/sysusers.d/congruent-server.conf"), "usr/lib/sysusers.d/congruent-server.conf")?;
    let wanted = at("etc/systemd/system/multi-user.target.wants").join(UNIT);
    symlink(format!("/usr/lib/systemd/system/{UNIT}"), wanted).context("cannot enable the unit")?;
    let more = format!("etc/systemd/system/{UNIT}.d/watchdog.conf");
    fs::create_dir_all(at(&more).with_file_name(""))?;
    fs::write(at(&more), format!("[Service]\nWatchdogSec={WATCHDOG}\n")).context("cannot set the watchdog")
}

struct Collector<'a>(&'a Booted);

impl Collector<'_> {
    fn property(&self, name: &str) -> Result<String> {
        let shown = self.0.succeed(&["systemctl", "show", "--value", "--property", name, UNIT])?;
        Ok(shown.trim().to_owned())
    }

    fn journal(&self) -> Result<String> {
        self.0.succeed(&["journalctl", "--unit", UNIT, "--output=cat", "--no-pager"])
    }

    /// Waits until it is active for the time after it was started anew so often.
    fn wait_until_active(&self, restarts: &str) -> Result<()> {
        let waited = wait_for("the unit to be active", RESTARTED, || {
            let is_so = self.property("ActiveState")? == "active" && self.property("NRestarts")? == restarts;
            Ok(is_so.then_some(()))
        });
        waited.with_context(|| self.journal().unwrap_or_default())
    }
}

#[test]
fn the_unit_is_watched_on_a_booted_debian() -> Result<()> {
    let sandbox = Sandbox::for_trees()?;
    let root = sandbox.path("root");
    tree::copy(stock::image()?, &root)?;
    install(&root)?;
    let booted = Booted::start(&root, &sandbox.path("console"))?;
    let collector = Collector(&booted);
    booted.succeed(&["systemd-sysusers"])?;
    let prepare = format!(
        "install -d -o congruent-server -g congruent-server -m 0700 {STATE} && cd {STATE} && \
         setpriv --reuid congruent-server --regid congruent-server --clear-groups \
         congruent-server init {STATE} --name 127.0.0.1 >/dev/null && \
         sed -i 's/0.0.0.0:844./127.0.0.1:0/' server.toml && systemctl start {UNIT}"
    );
    booted.succeed(&["sh", "-c", &prepare])?;
    // `systemctl start` came back, which it does when the collector says that it is ready.
    ensure!(collector.property("ActiveState")? == "active" && collector.property("NRestarts")? == "0");
    let status = collector.property("StatusText")?;
    ensure!(status.starts_with("accepting requests on https://127.0.0.1:"), "{status}");

    // All of it stands still.
    booted.succeed(&["systemctl", "kill", "--kill-whom=main", "--signal=STOP", UNIT])?;
    collector.wait_until_active("1")?;
    ensure!(collector.journal()?.to_lowercase().contains("watchdog timeout"), "{}", collector.journal()?);

    // Its writer hangs in a sync, and everything else goes on.
    let hung = hang_writer(&root)?;
    let noticed = wait_for("the watchdog to notice", RESTARTED, || {
        let times = collector.journal()?.to_lowercase().matches("watchdog timeout").count();
        Ok((times == 2).then_some(()))
    });
    noticed.with_context(|| collector.journal().unwrap_or_default())?;
    // A process that is traced does not end before its tracer.
    drop(hung);
    collector.wait_until_active("2")?;

    // A healthy one is left alone for longer than the watchdog waits, and stops by itself.
    let started = collector.property("ExecMainStartTimestampMonotonic")?;
    wait_for("the watchdog to be fed three times", PATIENCE, || {
        let fed = collector.property("WatchdogTimestampMonotonic")?;
        let (fed, started) = (fed.parse::<u64>()?, started.parse::<u64>()?);
        Ok((fed > started + 10_000_000).then_some(()))
    })?;
    ensure!(collector.property("NRestarts")? == "2", "{}", collector.journal()?);
    booted.succeed(&["systemctl", "stop", UNIT])?;
    ensure!(collector.property("Result")? == "success", "{}", collector.journal()?);
    println!(
        "the watchdog ({WATCHDOG} here) found a stopped process and a hung writer, and left a healthy one alone"
    );
    booted.shut_down()
}

/// strace, which holds the writer of the collector in that root; no more once dropped.
struct Hung(Child);

impl Drop for Hung {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// Has the thread that writes wait in its next sync for longer than any test.
fn hang_writer(root: &Path) -> Result<Hung> {
    let thread = wait_for("the writer's thread", PATIENCE, || writer_in(root))?;
    let mut strace = Command::new("strace");
    strace.args(["-qqq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync,pwrite64"]);
    strace.args(["-e", "inject=fsync,fdatasync,pwrite64:delay_enter=600000000", "-p", &thread]);
    let child = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(Hung(child.context("cannot start strace")?))
}

/// The thread named `store` of the process whose root is `root`.
fn writer_in(root: &Path) -> Result<Option<String>> {
    for process in fs::read_dir("/proc")?.flatten() {
        let is_ours =
            fs::read_to_string(process.path().join("comm")).is_ok_and(|name| name == "congruent-serve\n");
        let is_there = is_ours && same_root(&process.path().join("root"), root);
        let Some(threads) = is_there.then(|| fs::read_dir(process.path().join("task")).ok()).flatten() else {
            continue;
        };
        for thread in threads.flatten() {
            if fs::read_to_string(thread.path().join("comm")).is_ok_and(|name| name == "store\n") {
                return Ok(Some(thread.file_name().to_string_lossy().into_owned()));
            }
        }
    }
    Ok(None)
}

/// Whether a file that only this test's root has is there.
fn same_root(of_process: &Path, root: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |path: PathBuf| fs::metadata(path).map(|about| (about.dev(), about.ino())).ok();
    let binary = "usr/bin/congruent-server";
    id(of_process.join(binary)).is_some_and(|there| Some(there) == id(root.join(binary)))
}

#[test]
fn the_unit_is_well_formed_and_tight() -> Result<()> {
    let exposure = exposure(&unit(), "congruent-server")?;
    println!("exposure of {UNIT}: {exposure}");
    ensure!(exposure < EXPOSURE, "the exposure is {exposure}");
    Ok(())
}
