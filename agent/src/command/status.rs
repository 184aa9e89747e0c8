//! `congruent status`: what the agent on this node last did, what waits, and how long
//! its certificate lasts. It reads the state directory, also while the agent runs.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use congruent_protocol::path::escape;
use congruent_protocol::verification::State;
use jiff::Timestamp;
use serde::Serialize;

use super::Outcome;
use crate::cli::{Status as Args, StatusFormat};
use crate::config::Config;
use crate::output;
use crate::spool::{self, Waiting};
use crate::status::{ContainersNoted, Failure, LookNoted, Noted, STATUS_SCHEMA};

/// All that is told.
#[derive(Debug, Serialize)]
struct Told {
    schema_version: u32,
    node: String,
    /// Whether an agent runs with this state directory.
    running: bool,
    /// None where the node is not enrolled.
    collector: Option<Collector>,
    look: Option<LookNoted>,
    /// None where containers are not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    containers: Option<ContainersNoted>,
    look_failed: Option<Failure>,
    delivery_failed: Option<Failure>,
    spool: Waiting,
}

#[derive(Debug, Serialize)]
struct Collector {
    url: String,
    group: String,
    enrolment: String,
    /// When it answered last.
    heard_at: Option<Timestamp>,
    /// The node's certificate: when it is renewed, and when it is over.
    renew_at: Timestamp,
    expires_at: Timestamp,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let config = Config::load_for_status(&args.config)?;
    let told = Told::gather(&config)?;
    let mut out = io::stdout().lock();
    let printed = match args.format {
        StatusFormat::Json => output::json(&mut out, &told),
        StatusFormat::Text => told.print(&mut out, Timestamp::now()),
    };
    match printed.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write the status");
        }
        _ => {}
    }
    // Without a look nothing is known, nor since one that failed.
    let look = told.look.filter(|_| told.look_failed.is_none());
    let node = look.map_or(State::Unknown, |look| look.state);
    Ok(Outcome::Looked(told.containers.map_or(node, |containers| containers.with_node(node))))
}

impl Told {
    fn gather(config: &Config) -> anyhow::Result<Self> {
        let directory = &config.state_directory;
        check_readable(directory)?;
        let noted = Noted::read(directory).unwrap_or_default();
        let collector = config.collector.as_ref().map(|enrolment| Collector {
            url: enrolment.agents_url.clone(),
            group: enrolment.group.clone(),
            enrolment: enrolment.enrolment.clone(),
            heard_at: noted.heard_at,
            renew_at: enrolment.renew_at,
            expires_at: enrolment.expires_at,
        });
        let Noted { look, containers, look_failed, delivery_failed, .. } = noted;
        let (running, spool) = (spool::is_in_use(directory), spool::waiting(directory)?);
        let node = config.node.clone();
        let schema_version = STATUS_SCHEMA;
        Ok(Self {
            schema_version,
            node,
            running,
            collector,
            look,
            containers,
            look_failed,
            delivery_failed,
            spool,
        })
    }

    fn print(&self, out: &mut impl Write, now: Timestamp) -> io::Result<()> {
        writeln!(out, "node         {}", escape(self.node.as_bytes()))?;
        writeln!(out, "agent        {}", if self.running { "running" } else { "not running" })?;
        match &self.look {
            None => writeln!(out, "state        unknown: no look was completed yet")?,
            Some(look) => print_look(out, look, now)?,
        }
        if let Some(containers) = &self.containers {
            print_containers(out, containers, now)?;
        }
        if let Some(Failure { at, why }) = &self.look_failed {
            writeln!(out, "look failed  {at}: {}", escape(why.as_bytes()))?;
        }
        let Waiting { reports, bytes, lost } = self.spool;
        let reports = output::counted(reports, "report waits", "reports wait");
        write!(out, "spool        {reports}, {bytes} bytes")?;
        match lost {
            0 => writeln!(out)?,
            lost => writeln!(out, "; {lost} were lost since the node enrolled")?,
        }
        match &self.collector {
            None => writeln!(out, "collector    none; `congruent enroll` enrols the node")?,
            Some(collector) => self.print_collector(out, collector, now)?,
        }
        Ok(())
    }

    fn print_collector(&self, out: &mut impl Write, collector: &Collector, now: Timestamp) -> io::Result<()> {
        let Collector { url, group, heard_at, renew_at, expires_at, .. } = collector;
        writeln!(out, "collector    {url}, group {}", escape(group.as_bytes()))?;
        match heard_at {
            None => writeln!(out, "             it has never answered")?,
            Some(at) => writeln!(out, "             answered {}", ago(*at, now))?,
        }
        if let Some(Failure { at, why }) = &self.delivery_failed {
            writeln!(out, "             failed {}: {}", ago(*at, now), escape(why.as_bytes()))?;
        }
        let over = if *expires_at <= now { "is over since" } else { "until" };
        writeln!(out, "certificate  {over} {expires_at}, renewed from {renew_at}")
    }
}

fn print_look(out: &mut impl Write, look: &LookNoted, now: Timestamp) -> io::Result<()> {
    let coverage = &look.coverage;
    let findings = output::counted(look.findings, "finding", "findings");
    writeln!(out, "state        {}, {findings}", look.state.name())?;
    writeln!(out, "last sweep   {}, {}, of {}", look.mode.name(), ago(look.finished_at, now), look.manifest)?;
    writeln!(
        out,
        // What is there and was not baked is seen as well.
        "coverage     {} entries seen, {} expected; {} bytes hashed; {} unreadable, {} unstable, {} hidden",
        coverage.entries_seen,
        coverage.entries_expected,
        coverage.bytes_hashed,
        coverage.unreadable,
        coverage.unstable,
        coverage.hidden
    )
}

fn print_containers(out: &mut impl Write, containers: &ContainersNoted, now: Timestamp) -> io::Result<()> {
    let ContainersNoted { congruent, divergent, incomplete, unknown, .. } = containers;
    let counts = [
        (congruent, State::Congruent),
        (divergent, State::Divergent),
        (incomplete, State::Incomplete),
        (unknown, State::Unknown),
    ];
    let counts = counts.iter().filter(|(count, _)| **count > 0);
    let counts: Vec<_> = counts.map(|(count, state)| format!("{count} {}", state.name())).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let (mode, at) = (containers.mode.name(), ago(containers.finished_at, now));
    writeln!(out, "containers   {} run{counts}; last look {mode}, {at}", containers.running())?;
    match &containers.gap {
        None => Ok(()),
        Some(gap) => writeln!(out, "             there may be more: {}", escape(gap.as_bytes())),
    }
}

/// A time, and how long ago it was, in whole units.
fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    let (count, unit) = match seconds {
        ..0 => return format!("{at} (in the future)"),
        0..120 => (seconds, "s"),
        120..7200 => (seconds / 60, "min"),
        7200..172_800 => (seconds / 3600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{at} ({count} {unit} ago)")
}

/// Says who may read the state, rather than that there is none.
fn check_readable(directory: &Path) -> anyhow::Result<()> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error).with_context(|| {
            format!("cannot read the state directory {}; run this as the agent's user", directory.display())
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use congruent_protocol::verification::SweepMode;

    use super::*;

    #[test]
    fn containers_are_told_by_their_states() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let noted = |gap: Option<&str>, states: &[State]| {
            let mut noted = ContainersNoted::new(SweepMode::Quick);
            states.iter().for_each(|state| noted.count(*state));
            ContainersNoted { gap: gap.map(str::to_owned), finished_at: now, ..noted }
        };
        let check = |noted: &ContainersNoted, says: &str| {
            let mut text = Vec::new();
            print_containers(&mut text, noted, now).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), says);
        };
        let look = "last look quick, 2026-03-01T12:00:00Z (0 s ago)\n";
        check(&noted(None, &[]), &format!("containers   0 run; {look}"));
        let states = [State::Congruent, State::Unknown, State::Congruent];
        let says = format!(
            "containers   3 run: 2 congruent, 1 unknown; {look}             there may be more: a\\x0a\n"
        );
        check(&noted(Some("a\n"), &states), &says);
    }

    #[test]
    fn times_are_told_with_their_age() {
        let at: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        for (now, says) in [
            ("2026-03-01T12:01:59Z", "(119 s ago)"),
            ("2026-03-01T12:02:00Z", "(2 min ago)"),
            ("2026-03-01T15:00:00Z", "(3 h ago)"),
            ("2026-03-09T12:00:00Z", "(8 days ago)"),
            ("2026-03-01T11:00:00Z", "(in the future)"),
        ] {
            assert!(ago(at, now.parse().unwrap()).ends_with(says), "{now}");
        }
    }
}
