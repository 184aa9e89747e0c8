//! A full verify beside its floor and b3sum, over the same files, page cache warm.
//!
//! All take turns in every round, so that a machine that is slow for a while is
//! slow for all. b3sum is given its best arguments first; so is the floor.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use congruent_tests::program::succeed;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, binaries};

use super::{cores, median, tell};

/// A way to go over all files.
#[derive(Debug, Clone)]
struct Contestant {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
}

pub(crate) fn table(folder: &Path, rounds: usize, sandbox: &Sandbox) -> Result<String> {
    tell("baking, which also warms the page cache");
    let verify = prepare_verify(folder, sandbox)?;
    let list = list_files(folder, sandbox)?;
    let floor = fastest("floor probe", floors(folder)?)?;
    let b3sum = fastest("b3sum", b3sums(&list)?)?;
    let contestants = [verify, floor, b3sum];
    let mut times = vec![Vec::new(); contestants.len()];
    for round in 1..=rounds {
        tell(&format!("round {round} of {rounds}"));
        for (contestant, times) in contestants.iter().zip(&mut times) {
            times.push(time(contestant)?);
        }
    }
    show(folder, rounds, &contestants, &times)
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

fn show(folder: &Path, rounds: usize, contestants: &[Contestant], times: &[Vec<Duration>]) -> Result<String> {
    let probe = binaries::path("floor-probe")?;
    let counted = succeed(&probe.to_string_lossy(), [folder])?.text();
    let counts = counted.split(", ").take(2).collect::<Vec<_>>().join(", ");
    let mut table = format!(
        "Full verify of `{}` ({counts}), page cache warm, medians of {rounds} alternating rounds.\n\n\
         | | median | of the floor | of b3sum | from – to |\n|---|---|---|---|---|\n",
        folder.display()
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
