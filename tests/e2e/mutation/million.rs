//! A million files that nobody baked, in one directory: each is a finding, and
//! what finds them does not hold them all.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::wait::wait_for;
use congruent_tests::{agent, binaries, program, tree};
use rustix::fs::{FileType, Mode, OFlags, mknodat, open};
use serde_json::Value;

const FILES: usize = 1_000_000;
/// The names alone are 7 MB; what is found of the files is fifty times that.
const PEAK_BYTES: u64 = 200 << 20;
/// Far beyond what it takes, on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(300);
const CROWD: &str = "/usr/share/doc";

#[test]
fn a_million_added_files_are_a_million_findings_in_little_memory() -> Result<()> {
    let sandbox = Sandbox::for_trees()?;
    let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
    tree::small(&root)?;
    let keys = sandbox.keygen("key")?;
    agent::bake(&root, None, &keys, &manifest)?;
    crowd(&root.join(&CROWD[1..]))?;

    let peak = sandbox.path("peak");
    let mut verify = Command::new(binaries::path("peak-memory")?);
    verify.arg(&peak).arg(binaries::path("congruent")?).args(["verify", "--format", "ndjson", "--manifest"]);
    verify.arg(&manifest).arg("--trust").arg(&keys.public).arg("--root").arg(&root);
    let mut child = verify.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let lines = child.stdout.take().context("stdout is no pipe")?;
    let reader = thread::spawn(move || check_lines(lines));
    let ended = wait_for("the verify to end", DEADLINE, || Ok(child.try_wait()?));
    if ended.is_err() {
        program::end(&mut child);
    }
    let read = reader.join().expect("the reader of the lines does not panic");
    let code = ended?.code();
    read?;
    ensure!(code == Some(1), "it ended with {code:?}");
    let peak: u64 = fs::read_to_string(&peak)?.parse().context("no peak")?;
    ensure!(peak < PEAK_BYTES, "it took {} MB", peak >> 20);
    Ok(fs::remove_dir_all(root)?)
}

fn name(number: usize) -> String {
    format!("{number:07}")
}

fn crowd(folder: &Path) -> Result<()> {
    let folder = open(folder, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for number in 0..FILES {
        mknodat(&folder, name(number), FileType::RegularFile, Mode::RUSR, 0)?;
    }
    Ok(())
}

/// One line for each file, in order, between the first and the last.
fn check_lines(lines: impl Read) -> Result<()> {
    let mut lines = BufReader::new(lines).lines();
    let mut next = || lines.next().context("the lines end early")?.context("cannot read the lines");
    let head: Value = serde_json::from_str(&next()?)?;
    ensure!(head["finding_count"] == FILES && head["state"] == "divergent", "the head is {head}");
    for number in 0..FILES {
        let (line, path) = (next()?, format!("\"{CROWD}/{}\"", name(number)));
        ensure!(line.contains(&path) && line.contains("\"change\":\"added\""), "not of {path}: {line}");
    }
    let end: Value = serde_json::from_str(&next()?)?;
    ensure!(end["type"] == "end" && end["finding_count"] == FILES, "the end is {end}");
    ensure!(lines.next().is_none(), "there are more lines");
    Ok(())
}
