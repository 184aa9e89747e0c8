//! Measures the whole program beside its peers, in one run, and prints one table
//! for each thing that is measured; leaves them as `target/bench.md`.

mod contracts;
mod manifests;
mod sweep;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use congruent_tests::binaries;
use congruent_tests::program::succeed;
use congruent_tests::sandbox::Sandbox;

const USAGE: &str = "usage: bench [--rounds N] [FOLDER]";
const DEFAULT_ROUNDS: usize = 5;

fn main() -> Result<()> {
    let (rounds, folder) = arguments()?;
    let sandbox = Sandbox::new()?;
    let tables = [
        machine(),
        sweep::table(&folder, rounds, &sandbox)?,
        manifests::table(rounds, &sandbox)?,
        contracts::table()?,
    ];
    let page = tables.join("\n");
    print!("{page}");
    let file = binaries::folder()?.join("../bench.md");
    fs::write(&file, page).with_context(|| format!("cannot write {}", file.display()))
}

fn arguments() -> Result<(usize, PathBuf)> {
    let mut arguments = std::env::args().skip(1);
    let (mut rounds, mut folder) = (DEFAULT_ROUNDS, PathBuf::from("/usr"));
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => {
                rounds = arguments.next().and_then(|number| number.parse().ok()).context(USAGE)?;
            }
            option if option.starts_with('-') => bail!(USAGE),
            _ => folder = PathBuf::from(argument),
        }
    }
    ensure!(rounds > 0, USAGE);
    Ok((rounds, folder))
}

#[expect(clippy::print_stderr, reason = "a program's progress")]
pub(crate) fn tell(what: &str) {
    eprintln!("bench: {what}");
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

fn median(times: &[Duration]) -> f64 {
    let mut seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    if seconds.len() % 2 == 1 { seconds[middle] } else { f64::midpoint(seconds[middle - 1], seconds[middle]) }
}

/// Machine, date and commit, as far as they are known.
fn machine() -> String {
    let field = |file: &str, key: &str| -> Option<String> {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let word = |program: &str, arguments: &[&str]| {
        succeed(program, arguments).map_or_else(|_| unknown(), |ended| ended.text().trim().to_owned())
    };
    let commit = word("git", &["describe", "--always", "--dirty"]);
    format!(
        "- machine: {} × {}, {} memory, Linux {}\n- date: {}\n- commit: {commit}, release build; {}\n",
        cores(),
        field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
        field("/proc/meminfo", "MemTotal").unwrap_or_else(unknown),
        fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        jiff::Timestamp::now().strftime("%Y-%m-%d"),
        word("b3sum", &["--version"])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let of =
            |seconds: &[u64]| median(&seconds.iter().map(|&s| Duration::from_secs(s)).collect::<Vec<_>>());
        assert!((of(&[3, 1, 2]) - 2.0).abs() < 1e-9 && (of(&[4, 1, 2, 3]) - 2.5).abs() < 1e-9);
    }
}
