//! Compares a full `congruent verify` with its floor and with b3sum, over the same
//! files, in the same run, page cache warm. Prints one table of ratios and leaves
//! it as `target/bench.md`.
//!
//! All take turns in every round, so that a machine that is slow for a while is
//! slow for all. b3sum is given its best arguments first; so is the floor.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use congruent_tests::program::succeed;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, binaries};

const USAGE: &str = "usage: bench [--rounds N] [FOLDER]";
const DEFAULT_ROUNDS: usize = 5;

/// A way to go over all files.
#[derive(Debug, Clone)]
struct Contestant {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
}

fn main() -> Result<()> {
    let (rounds, folder) = arguments()?;
    let sandbox = Sandbox::new()?;
    tell("baking, which also warms the page cache");
    let verify = prepare_verify(&folder, &sandbox)?;
    let list = list_files(&folder, &sandbox)?;
    let floor = fastest("floor probe", floors(&folder)?)?;
    let b3sum = fastest("b3sum", b3sums(&list)?)?;
    let contestants = [verify, floor, b3sum];
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 1..=rounds {
        tell(&format!("round {round} of {rounds}"));
        for (contestant, times) in contestants.iter().zip(&mut times) {
            times.push(time(contestant)?);
        }
    }
    let table = table(&folder, rounds, &contestants, &times)?;
    print!("{table}");
    let file = binaries::folder()?.join("../bench.md");
    fs::write(&file, table).with_context(|| format!("cannot write {}", file.display()))
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
fn tell(what: &str) {
    eprintln!("bench: {what}");
}

fn prepare_verify(folder: &Path, sandbox: &Sandbox) -> Result<Contestant> {
    let (keys, manifest) = (sandbox.keygen("key")?, sandbox.path("bench.manifest"));
    let mut bake = agent::bake_command(folder, &manifest)?;
    // Far longer than any test may take.
    let baked = bake.arg("--key").arg(&keys.secret).stderr(Stdio::piped()).output()?;
    ensure!(baked.status.success(), "cannot bake: {}", String::from_utf8_lossy(&baked.stderr));
    let arguments = agent::verify_arguments(&manifest, &keys.public, folder);
    Ok(Contestant {
        name: "congruent verify".to_owned(),
        program: binaries::path("congruent")?,
        arguments: arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect(),
    })
}

/// The files that b3sum is to hash, each ended by NUL.
fn list_files(folder: &Path, sandbox: &Sandbox) -> Result<PathBuf> {
    let list = sandbox.path("files");
    let status = Command::new("find")
        .arg(folder)
        .args(["-type", "f", "-print0"])
        .stdout(File::create(&list)?)
        .status()
        .context("cannot start find")?;
    ensure!(status.success(), "find failed: {status}");
    Ok(list)
}

fn floors(folder: &Path) -> Result<Vec<Contestant>> {
    let program = binaries::path("floor-probe")?;
    let with = |threads: usize| Contestant {
        name: format!("floor probe, {threads} threads"),
        program: program.clone(),
        arguments: vec!["--threads".to_owned(), threads.to_string(), folder.to_string_lossy().into_owned()],
    };
    let cores = cores();
    Ok(vec![with(cores), with(cores * 2)])
}

fn b3sums(list: &Path) -> Result<Vec<Contestant>> {
    let with = |processes: usize, files: usize| Contestant {
        name: format!("b3sum, xargs -P {processes} -n {files}"),
        program: "xargs".into(),
        arguments: [
            &format!("-0 -P {processes} -n {files} -a").split(' ').collect::<Vec<_>>()[..],
            &[&list.to_string_lossy(), "b3sum", "--num-threads", "1"],
        ]
        .concat()
        .iter()
        .map(ToString::to_string)
        .collect(),
    };
    let cores = cores();
    let mut all = Vec::new();
    for processes in [cores, cores * 2] {
        all.extend([250, 1000, 4000].map(|files| with(processes, files)));
    }
    Ok(all)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// The fastest of several ways to do the same, by the better of two runs.
fn fastest(what: &str, contestants: Vec<Contestant>) -> Result<Contestant> {
    tell(&format!("looking for the best arguments for {what}"));
    let mut best: Option<(Duration, Contestant)> = None;
    for contestant in contestants {
        let took = time(&contestant)?.min(time(&contestant)?);
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, contestant));
        }
    }
    best.map(|(_, contestant)| contestant).with_context(|| format!("there is no {what}"))
}

fn time(contestant: &Contestant) -> Result<Duration> {
    let mut command = Command::new(&contestant.program);
    command.args(&contestant.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begun = Instant::now();
    let output = command.output().with_context(|| format!("cannot run {}", contestant.name))?;
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed ({}): {said}", contestant.name, output.status);
    Ok(took)
}

fn table(
    folder: &Path,
    rounds: usize,
    contestants: &[Contestant],
    times: &[Vec<Duration>],
) -> Result<String> {
    let probe = binaries::path("floor-probe")?;
    let counted = succeed(&probe.to_string_lossy(), [folder])?.text();
    let counts = counted.split(", ").take(2).collect::<Vec<_>>().join(", ");
    let mut table = format!(
        "Full verify of `{}` ({counts}), page cache warm, medians of {rounds} alternating rounds.\n\n{}\n\
         | | median | of the floor | of b3sum | from – to |\n|---|---|---|---|---|\n",
        folder.display(),
        machine()
    );
    let medians: Vec<f64> = times.iter().map(|times| median(times)).collect();
    let [_, floor, b3sum] = medians[..] else { bail!("the table has three rows") };
    for ((contestant, times), median) in contestants.iter().zip(times).zip(&medians) {
        let least = times.iter().min().map_or(0.0, Duration::as_secs_f64);
        let most = times.iter().max().map_or(0.0, Duration::as_secs_f64);
        table.push_str(&format!(
            "| {} | {median:.2} s | {:.2} | {:.2} | {least:.2} – {most:.2} s |\n",
            contestant.name,
            median / floor,
            median / b3sum
        ));
    }
    Ok(table)
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
