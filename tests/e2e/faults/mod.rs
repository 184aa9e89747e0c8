//! What goes wrong between agent and collector, and what must hold all the same. Each
//! prints what it saw.
//!
//! `make soak` does hundreds of rounds (`CONGRUENT_ROUNDS`) of what is done by chance.

mod agent_killed;
mod clock;
mod collector_killed;
mod disk;
mod spool;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use congruent_tests::program::{Ended, run};
use congruent_tests::site::Site;

use crate::watch::count;

/// How many rounds are done of what is done by chance.
pub(crate) fn rounds() -> u32 {
    std::env::var("CONGRUENT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20)
}

/// How many reports wait in a node's spool.
fn spooled(site: &Site, node: &str) -> Result<usize> {
    Ok(fs::read_dir(site.state(node).join("spool")).context("no spool")?.count())
}

/// The reports of a node at the collector: each number once, from 1 without a gap, and
/// nothing was refused.
fn check_whole_chain(site: &Site, node: &str) -> Result<i64> {
    let of_node = |what: &str| count(site, &format!("SELECT {what} WHERE node = '{node}'"));
    let reports = of_node("count(*) FROM reports")?;
    assert_eq!(of_node("count(DISTINCT sequence) FROM reports")?, reports, "{node}: a number counts twice");
    assert_eq!(of_node("coalesce(max(sequence), 0) FROM reports")?, reports, "{node}: a number is missing");
    assert_eq!(of_node("count(DISTINCT chain) FROM reports")?, 1, "{node}: there are several chains");
    assert_eq!(of_node("count(*) FROM refusals")?, 0, "{node}: something was refused");
    assert_eq!(of_node("count(*) FROM chain_notes")?, 0, "{node}: the chain does not hold");
    Ok(reports)
}

/// `program` with its arguments, with certain system calls failing for it and its
/// threads: `inject` is as strace has it.
fn injected(inject: &str, program: &Command) -> Command {
    let mut strace = Command::new("strace");
    let calls = inject.split(':').next().unwrap_or_default();
    let (trace, inject) = (format!("trace={calls}"), format!("inject={inject}"));
    strace.args(["-f", "-qqq", "-e", &trace, "-e", &inject, "-o", "/dev/null"]);
    strace.arg("--").arg(program.get_program()).args(program.get_args());
    strace.stdin(Stdio::null());
    strace
}

/// `congruent status --format json` of a node.
fn status(site: &Site, node: &str) -> Result<serde_json::Value> {
    let mut command = congruent_tests::agent::command(&["status", "--format", "json", "--config"])?;
    let ended = run(command.arg(site.sandbox.path(format!("{node}.toml"))))?;
    serde_json::from_slice(&ended.stdout).with_context(|| ended.stderr.clone())
}

/// Whether a database is whole, by SQLite's own word.
fn check_database(path: &Path) -> Result<()> {
    let database = rusqlite::Connection::open(path)?;
    let word: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    ensure!(word == "ok", "{}: {word}", path.display());
    Ok(())
}

/// Holds that an agent ended with its report undelivered, and said all this.
fn check_undelivered(ended: &Ended, says: &[&str]) {
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for word in says {
        assert!(ended.stderr.contains(word), "{word:?} in {}", ended.stderr);
    }
}
