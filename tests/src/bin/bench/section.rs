//! The page that the bench leaves: machine, date and commit, then one section for
//! each thing that was measured.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use congruent_tests::program::succeed;

use super::cores;

/// One thing that was measured.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) text: String,
    /// An SVG, where there is one.
    pub(crate) picture: Option<String>,
}

impl Section {
    pub(crate) fn to_markdown(&self) -> String {
        format!("## {}\n\n{}\n", self.title, self.text)
    }
}

/// The page's beginning.
pub(crate) fn head(date: &str) -> String {
    format!("# Bench of {date}\n\n{}\n", machine(date))
}

/// Machine, date and commit, as far as they are known.
fn machine(date: &str) -> String {
    let field = |file: &str, key: &str| -> Option<String> {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let first_line = |program: &str, arguments: &[&str]| {
        let ended = succeed(program, arguments).ok();
        // Some say their version on stderr.
        ended.and_then(|ended| Some((ended.text() + &ended.stderr).lines().next()?.trim().to_owned()))
    };
    let peers =
        [("b3sum", "--version"), ("hashdeep", "-V"), ("aide", "--version")].map(|(program, argument)| {
            let version = first_line(program, &[argument]).unwrap_or_else(unknown);
            // Most say their name with it.
            let number = version.rsplit(' ').next().unwrap_or_default();
            format!("{program} {number}")
        });
    format!(
        "- machine: {} × {}, {} memory, Linux {}\n- date: {date}\n- commit: {}, release build\n- peers: {}\n",
        cores(),
        field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        field("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
        fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        first_line("git", &["describe", "--always", "--dirty"]).unwrap_or_else(unknown),
        peers.join(", ")
    )
}

/// Writes one file of the outcome, with its folder.
pub(crate) fn write(file: &Path, text: &str) -> Result<()> {
    let made = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(file, text));
    made.with_context(|| format!("cannot write {}", file.display()))
}
