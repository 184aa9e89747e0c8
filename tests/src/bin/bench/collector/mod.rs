//! The collector under a simulated fleet: what a heartbeat and a report cost, how many
//! of each it takes in a second, and what it holds in memory.
//!
//! Collector and simulator have a processor each; the rates are measured once more
//! where both run wherever they like.

mod empty;

use anyhow::{Context, Result, ensure};
use congruent_fleet::Outcome;
use congruent_postgres::Postgres;
use congruent_tests::simulated::{Pinned, Simulated};
use congruent_tests::site::{GROUP, Settings, Site};

use super::options::Options;
use super::section::Section;
use super::target::{self, Target};
use super::{cores, tell};

use empty::EmptyHandler;

/// The simulator has the first processor, and the collector the second.
const PINNED: Pinned = Pinned { simulator: 0, collector: 1 };
/// How long each rate is measured.
const LENGTH: &str = "15s";
/// Few enough that neither side is at its limit, so that costs compare.
const COST_NODES: &str = "500";
const COST_RATE: &str = "3000";
/// Nodes that send the next report as soon as one is acknowledged.
const BUSY_NODES: &str = "128";

type Figures = Vec<(Target, f64)>;

pub(crate) fn section(_: &Options) -> Result<Section> {
    ensure!(cores() >= 2, "collector and simulator need a processor each");
    let mut pinned = costs()?;
    pinned.extend(rates(Some(PINNED))?);
    pinned.extend(connections()?);
    pinned.extend(herd()?);
    pinned.extend(many_nodes()?);
    let mut free = rates(None)?;
    free.push(postgres()?);
    let text = format!(
        "Simulated nodes over the loopback, each with its own certificate and one kept connection (TLS 1.3, HTTP/2), at a \
         collector with an image of 64 files in a database that syncs at each commit. The empty handler is axum \
         behind rustls with nodes' certificates verified, which reads the body and answers nothing; it gets the \
         same requests at the same rate. Latency counts from when a message was due.\n\n\
         Simulator and collector on a processor each:\n\n{}\n\
         Both wherever they like:\n\n{}",
        target::table(&pinned),
        target::table(&free)
    );
    Ok(Section { title: "The collector under a fleet", text, picture: None })
}

/// What a heartbeat costs, beside what the framework alone does.
fn costs() -> Result<Figures> {
    tell("the cost of a heartbeat");
    let fleet = Simulated::start_on(Settings::default(), Some(PINNED))?;
    let beat = ["--nodes", COST_NODES, "--rate", COST_RATE, "--sweep-every", "0", "--duration", LENGTH];
    let ours = micros(&fleet.measure("healthy", &beat)?)?;
    let empty = EmptyHandler::start(&fleet, PINNED.collector)?;
    fleet.redirect(&fleet.collector.agents_url()?, empty.url())?;
    let process = empty.process_id().to_string();
    let theirs = fleet.measure("healthy", &[&beat[..], &["--collector-pid", &process]].concat())?;
    let theirs = micros(&theirs)?;
    tell(&format!("a heartbeat costs {ours:.1} µs, the empty handler {theirs:.1} µs"));
    Ok(vec![(Target::HEARTBEAT_CPU, ours / theirs)])
}

fn micros(outcome: &Outcome) -> Result<f64> {
    ensure!(outcome.kind("heartbeat").trouble.is_empty(), "heartbeats went wrong: {outcome}");
    Ok(outcome.collector.context("the collector was not watched")?.cpu_micros_per_message)
}

/// How many messages of each kind there are in a second.
fn rates(pinned: Option<Pinned>) -> Result<Figures> {
    let fleet = Simulated::start_on(Settings::default(), pinned)?;
    tell("heartbeats");
    let beats = ["--nodes", "2000", "--rate", "10000", "--sweep-every", "0", "--duration", LENGTH];
    let beats = fleet.measure("healthy", &beats)?;
    tell(&beats.to_string());
    let busy = ["--nodes", "2000", "--connections", BUSY_NODES, "--duration", LENGTH];
    // First, for after those that drift policy is yet to be asked about many of them.
    tell("clean reports");
    let clean = fleet.measure("healthy", &[&busy[..], &["--sweep-every", "1"]].concat())?;
    tell(&clean.to_string());
    tell("drift reports");
    let drift = fleet.measure("drifting", &busy)?;
    tell(&drift.to_string());
    let (beats, drift, clean) =
        (beats.kind("heartbeat"), drift.kind("drift-report"), clean.kind("clean-report"));
    Ok(vec![
        (Target::HEARTBEATS, beats.per_second),
        (Target::HEARTBEATS_P99, beats.latency.p99_ms),
        (Target::DRIFT_REPORTS, drift.per_second),
        (Target::DRIFT_P99, drift.latency.p99_ms),
        (Target::CLEAN_REPORTS, clean.per_second),
    ])
}

/// How many drift reports there are in a second where the database is a PostgreSQL beside
/// the collector, which takes what it needs of the processors.
fn postgres() -> Result<(Target, f64)> {
    tell("drift reports, in PostgreSQL");
    let postgres = Postgres::start()?;
    let site = Site::small(&[])?.on_postgres(postgres.database()?);
    let fleet = Simulated::start_at(site, Settings::default(), None)?;
    let drift =
        fleet.measure("drifting", &["--nodes", "2000", "--connections", BUSY_NODES, "--duration", LENGTH])?;
    tell(&drift.to_string());
    Ok((Target::POSTGRES_REPORTS, drift.kind("drift-report").per_second))
}

/// What many connections hold in memory.
fn connections() -> Result<Figures> {
    tell("5,000 connections");
    let fleet = Simulated::start_on(Settings::default(), Some(PINNED))?;
    let beats = ["--nodes", "5000", "--rate", "1000", "--sweep-every", "0", "--turns", "2"];
    let outcome = fleet.measure("healthy", &beats)?;
    let connected = outcome.kind("connect").answered;
    ensure!(connected >= 5000, "only {connected} nodes connected: {outcome}");
    Ok(vec![(Target::CONNECTED_MEMORY, resident_megabytes(&outcome)?)])
}

fn resident_megabytes(outcome: &Outcome) -> Result<f64> {
    Ok(outcome.collector.context("the collector was not watched")?.resident_bytes as f64 / 1e6)
}

/// Everybody comes back at once, while an operator looks.
fn herd() -> Result<Figures> {
    tell("a herd of 10,000");
    let fleet = Simulated::start_on(Settings::default(), Some(PINNED))?;
    let outcome = fleet.measure("herd", &["--nodes", "10000", "--operator-asks", "/v1/nodes?limit=100"])?;
    tell(&outcome.to_string());
    let (reports, operator) = (outcome.reports, outcome.kind("operator"));
    let arrivals = outcome.arrivals.context("nothing arrived")?;
    let slowest = if operator.trouble.is_empty() { operator.latency.max_ms } else { f64::INFINITY };
    Ok(vec![
        (Target::HERD_LOST, (reports.made - reports.acknowledged) as f64),
        (Target::HERD_PEAK, arrivals.peak_to_mean),
        (Target::HERD_OPERATORS, slowest),
    ])
}

/// A collector that knows very many nodes, of which few say anything.
fn many_nodes() -> Result<Figures> {
    tell("100,000 nodes, which takes some minutes");
    let fleet = Simulated::start_on(Settings::default(), Some(PINNED))?;
    let path = format!("/v1/nodes?state=unknown&group={GROUP}&limit=100");
    let few = ["--nodes", "100000", "--connections", "100", "--rate", "100", "--duration", LENGTH];
    let outcome = fleet.measure("healthy", &[&few[..], &["--operator-asks", &path]].concat())?;
    tell(&outcome.to_string());
    let operator = outcome.kind("operator");
    ensure!(operator.trouble.is_empty() && operator.answered > 0, "operators were not answered: {outcome}");
    Ok(vec![
        (Target::ENROLLED_MEMORY, resident_megabytes(&outcome)?),
        (Target::NODE_LIST, operator.latency.p99_ms),
    ])
}
