//! What an agent that only runs costs: bytes to the collector, memory and CPU while
//! it waits. It sweeps a real Debian root, and finds nothing.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use congruent_tests::installation::Installation;
use congruent_tests::program::end;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::wait::wait_for;
use congruent_tests::{agent, debian};

use super::options::Options;
use super::section::Section;
use super::subject::Subject;
use super::target::{self, Target};
use super::tell;
use super::wire::{Burst, Count, Relay};

const NODE: &str = "web-1";
/// Long enough for a sweep of the whole root, whatever else the machine does.
const PATIENCE: Duration = Duration::from_mins(10);
const MINUTE: Duration = Duration::from_mins(1);
/// An answer to a ping of HTTP/2, or a word about how much it takes: no request.
const NO_REQUEST_BYTES: u64 = 60;
/// How many heartbeats are counted. The first ones say in words what later ones say
/// by number.
const HEARTBEATS: usize = 5;

/// What the kernel counts in where it tells programs of time: `USER_HZ`, the same on
/// x86 and ARM.
const TICK: Duration = Duration::from_millis(10);

/// An agent that reports through a relay.
struct Running {
    child: Child,
    count: Count,
    installation: Installation,
    _sandbox: Sandbox,
}

impl Running {
    /// With these intervals of sweeps and of heartbeats.
    fn start(subject: &Subject, interval: &str, heartbeat: &str) -> Result<Self> {
        let (sandbox, relay) = (Sandbox::new()?, Relay::new()?);
        let more = format!("heartbeat-interval = {heartbeat:?}");
        let installation = Installation::new(&subject.manifest, &subject.keys.public, &more)?;
        let state = sandbox.path("state");
        installation.enroll(NODE, &state)?;
        let url = installation.agents_url();
        let target: SocketAddr =
            url.trim_start_matches("https://").parse().context("no address for nodes")?;
        report_to(&state.join("enrolment.json"), url, &format!("https://127.0.0.1:{}", relay.port()?))?;
        let count = relay.lead_to(target);
        let config = format!(
            "manifest = {:?}\ntrust = [{:?}]\nroot = {:?}\nstate-directory = {state:?}\ninterval = {interval:?}\n\
             [sweep]\nidle = false\n",
            subject.manifest, subject.keys.public, subject.folder
        );
        let config = sandbox.write("agent.toml", config)?;
        let log = fs::File::create(sandbox.path("log")).context("cannot make the agent's log")?;
        let mut command = agent::command(&["agent", "--config"])?;
        command.arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().context("cannot start the agent")?;
        Ok(Self { child, count, installation, _sandbox: sandbox })
    }

    /// Waits until the collector has the report with this number.
    fn reported(&self, sequence: u64) -> Result<()> {
        wait_for(&format!("report {sequence}"), PATIENCE, || {
            let node = self.installation.node(NODE)?;
            let newest = node.and_then(|node| node["report"]["sequence"].as_u64());
            Ok(newest.filter(|newest| *newest >= sequence).map(drop))
        })
    }

    /// The requests, each as it went over the wire.
    fn requests(&self) -> Vec<Burst> {
        let bursts = self.count.bursts();
        bursts.into_iter().filter(|burst| burst.carried > NO_REQUEST_BYTES).collect()
    }

    /// What it holds in memory, in bytes.
    fn resident_bytes(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")?;
        Ok(kilobytes * 1024.0)
    }

    /// What it used of the processors so far.
    fn cpu(&self) -> Result<Cpu> {
        Cpu::of(self.child.id())
    }
}

/// What a process used of the processors: to the nanosecond by each thread that is
/// there, and in ticks by all that ever were.
struct Cpu {
    threads: HashMap<OsString, u64>,
    ticks: u64,
}

impl Cpu {
    fn of(process: u32) -> Result<Self> {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).context("the agent is gone")?;
        let threads = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            Some((task.file_name(), text.split(' ').next()?.parse().ok()?))
        });
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).context("the agent is gone")?;
        // User's and kernel's, counted from behind the name, which may hold anything.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
        let ticks = fields.map_while(|field| field.parse::<u64>().ok()).sum();
        Ok(Self { threads: threads.collect(), ticks })
    }

    fn since(&self, before: &Self) -> Duration {
        let used =
            self.threads.iter().map(|(thread, nanos)| nanos - before.threads.get(thread).unwrap_or(&0));
        let ticks = TICK.saturating_mul(u32::try_from(self.ticks - before.ticks).unwrap_or(u32::MAX));
        ticks.max(Duration::from_nanos(used.sum()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Has a node report elsewhere, as where a balancer stands before the collector.
fn report_to(enrolment: &Path, from: &str, to: &str) -> Result<()> {
    let kept = fs::read_to_string(enrolment).context("the node is not enrolled")?;
    ensure!(kept.contains(from), "the node does not report to {from}");
    fs::write(enrolment, kept.replace(from, to)).context("cannot change where the node reports")
}

pub(crate) fn section(_: &Options) -> Result<Section> {
    let sandbox = Sandbox::new()?;
    let subject = Subject::bake(debian::root()?, &sandbox)?;
    let report = report_bytes(&subject)?;
    let heartbeat = heartbeat_bytes(&subject)?;
    let (memory, cpu) = idle(&subject)?;
    let figures = [
        (Target::REPORT, report as f64),
        (Target::HEARTBEAT, heartbeat as f64),
        (Target::IDLE_MEMORY, memory / 1e6),
        (Target::IDLE_CPU, cpu * 100.0),
    ];
    let text = format!(
        "An agent that sweeps a Debian root where nothing changed. The report is the second on one connection, as TCP \
         carries it from node to collector, with its headers and TLS; so are heartbeats, of which the median counts, \
         but without TLS's framing. Idle is a minute after the first sweep was acknowledged, with a heartbeat in it.\n\n{}",
        target::table(&figures)
    );
    Ok(Section { title: "The agent in daily life", text, picture: None })
}

fn report_bytes(subject: &Subject) -> Result<u64> {
    tell("the report of a clean sweep");
    let running = Running::start(subject, "10s", "1h")?;
    running.reported(2)?;
    Ok(running.requests().last().context("nothing was sent")?.bytes)
}

fn heartbeat_bytes(subject: &Subject) -> Result<u64> {
    tell("heartbeats");
    let running = Running::start(subject, "1h", "2s")?;
    running.reported(1)?;
    let before = running.requests().len();
    let beats = wait_for("heartbeats", PATIENCE, || {
        let requests = running.requests().split_off(before);
        // The last may be under way.
        Ok((requests.len() > HEARTBEATS).then_some(requests))
    })?;
    let mut carried: Vec<u64> = beats[..HEARTBEATS].iter().map(|beat| beat.carried).collect();
    carried.sort_unstable();
    Ok(carried[HEARTBEATS / 2])
}

/// The resident bytes, and the share of a processor.
fn idle(subject: &Subject) -> Result<(f64, f64)> {
    tell("an idle agent, for a minute");
    let running = Running::start(subject, "1h", "50s")?;
    running.reported(1)?;
    // What comes with the answer is done by then.
    let settled = running.count.bursts().len();
    let (begun, before) = (Instant::now(), running.cpu()?);
    let minute = || Ok((begun.elapsed() >= MINUTE).then_some(()));
    wait_for("a minute to pass", PATIENCE, minute)?;
    let used = running.cpu()?.since(&before);
    ensure!(running.count.bursts().len() > settled, "there was no heartbeat in that minute");
    Ok((running.resident_bytes()?, used.as_secs_f64() / begun.elapsed().as_secs_f64()))
}
