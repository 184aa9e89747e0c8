//! What a sweep leaves of a workload's page cache, where both share the memory of
//! a control group.
//!
//! The workload is a process that reads one file, once or twice, and then rests:
//! while a sweep runs nothing reads the file again and so brings it back. What was
//! read twice the kernel holds to be in use, and gives up late; what was read once
//! it gives up first. The file lies in the tree that is swept, where a sweep that
//! cleans up too much would throw it out, or beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_tests::binaries;
use congruent_tests::program::succeed;
use congruent_tests::sandbox::Sandbox;
use rustix::fs::{Advice, fadvise, statfs, syncfs};
use walkdir::WalkDir;

use super::cgroup::Cgroup;
use super::measure::Program;
use super::options::Options;
use super::race::median;
use super::section::Section;
use super::subject::{Subject, floor};
use super::target::{self, Target};
use super::{cores, peers, tell};

const MEMORY_BYTES: u64 = 256 << 20;
const WORKLOAD_BYTES: usize = 100 << 20;
/// With the workload's file it is four times the memory.
const TREE_BYTES: usize = 4 * MEMORY_BYTES as usize - WORKLOAD_BYTES;
const FILE_BYTES: usize = 256 << 10;
const DIRECTORIES: usize = 64;
/// About what a sweep takes.
const REST_SECONDS: &str = "3";
/// File systems in memory: their pages are not a cache.
const TMPFS: u32 = 0x0102_1994;
const RAMFS: u32 = 0x8584_58f6;

/// What the workload does before it rests.
struct Workload {
    head: &'static str,
    is_in_tree: bool,
    readings: usize,
}

/// The first two are held to the target.
const WORKLOADS: [Workload; 3] = [
    Workload { head: "file in the tree, read twice", is_in_tree: true, readings: 2 },
    Workload { head: "beside it, read twice", is_in_tree: false, readings: 2 },
    Workload { head: "beside it, read once", is_in_tree: false, readings: 1 },
];

/// A tree to sweep, with one file of a workload in it and one beside it.
struct Scene {
    tree: PathBuf,
    inside: PathBuf,
    beside: PathBuf,
}

pub(crate) fn section(options: &Options) -> Result<Section> {
    let sandbox = Sandbox::new()?;
    // Temporary folders are often in memory.
    let folder = tempfile::tempdir_in(binaries::folder()?).context("cannot make a folder in target/")?;
    let scene = Scene::make(folder.path())?;
    let subject = Subject::bake(&scene.tree, &sandbox)?;
    let list = peers::list_files(&scene.tree, &sandbox)?;
    let programs =
        [subject.verify()?, floor(&scene.tree, cores())?, peers::b3sum(&list, cores(), 250), no_sweep()];
    let shares = measure(&scene, &programs, options.rounds)?;

    let heads: String = WORKLOADS.iter().map(|workload| format!(" {} |", workload.head)).collect();
    let rows: String = programs.iter().zip(&shares).map(|(program, shares)| row(program, shares)).collect();
    let text = format!(
        "What is left of a workload's page cache ({} MiB) after a sweep of four times the memory ({} MiB) that \
         both share by a control group; the tree is cold before. The workload reads its file and then rests. \
         Medians of {} alternating rounds, and the least.\n\n| |{heads}\n|---|---|---|---|\n{rows}\n{}",
        WORKLOAD_BYTES >> 20,
        MEMORY_BYTES >> 20,
        options.rounds,
        target::table(&[
            (Target::CACHE_INSIDE, shares[0][0].median),
            (Target::CACHE_BESIDE, shares[0][1].median)
        ])
    );
    Ok(Section { title: "The workload's page cache", text, picture: None })
}

/// Some machines take idle pages back by themselves; this tells.
fn no_sweep() -> Program {
    let mut sleep = Command::new("sleep");
    sleep.arg(REST_SECONDS);
    Program::new(format!("no sweep, {REST_SECONDS} seconds of rest"), &sleep)
}

/// What a program leaves of a workload's pages, in per cent.
#[derive(Clone, Copy)]
struct Share {
    median: f64,
    /// Kernels keep or lose all of it, so that a median alone says little.
    least: f64,
}

/// The shares that each program leaves of each workload's pages.
fn measure(scene: &Scene, programs: &[Program], rounds: usize) -> Result<Vec<[Share; WORKLOADS.len()]>> {
    let mut left = vec![[const { Vec::new() }; WORKLOADS.len()]; programs.len()];
    for round in 1..=rounds {
        tell(&format!("round {round} of {rounds}"));
        for (program, left) in programs.iter().zip(&mut left) {
            for (workload, left) in WORKLOADS.iter().zip(left) {
                left.push(scene.share_left(program, workload)?);
            }
        }
    }
    let share = |left: Vec<f64>| Share {
        least: left.iter().copied().fold(f64::MAX, f64::min),
        median: median(left.into_iter()),
    };
    Ok(left.into_iter().map(|left| left.map(share)).collect())
}

fn row(program: &Program, shares: &[Share]) -> String {
    let cell = |share: &Share| format!(" {:.1} % ({:.1} %) |", share.median, share.least);
    format!("| {} |{}\n", program.name, shares.iter().map(cell).collect::<String>())
}

impl Scene {
    fn make(folder: &Path) -> Result<Self> {
        let about = statfs(folder).with_context(|| format!("cannot ask about {}", folder.display()))?;
        let is_memory = [TMPFS, RAMFS].contains(&(about.f_type as u32));
        ensure!(!is_memory, "{} lies in memory; have target/ on a disk", folder.display());
        tell("writing a tree of files");
        let tree = folder.join("tree");
        // Neither first nor last of what is swept.
        let inside = tree.join(format!("{:02}/workload", DIRECTORIES / 2));
        let scene = Self { tree, inside, beside: folder.join("workload") };
        for at in 0..TREE_BYTES / FILE_BYTES {
            write_noise(&scene.tree.join(format!("{:02}/{at}", at % DIRECTORIES)), at, FILE_BYTES)?;
        }
        write_noise(&scene.inside, usize::MAX, WORKLOAD_BYTES)?;
        write_noise(&scene.beside, usize::MAX - 1, WORKLOAD_BYTES)?;
        // What is not on the disk yet cannot leave the cache.
        File::open(folder).and_then(|folder| Ok(syncfs(folder)?)).context("cannot sync")?;
        Ok(scene)
    }

    /// How many per cent of the workload's pages outlast a sweep.
    fn share_left(&self, program: &Program, workload: &Workload) -> Result<f64> {
        self.evict()?;
        let file = if workload.is_in_tree { &self.inside } else { &self.beside };
        let group = Cgroup::with_memory(MEMORY_BYTES)?;
        let reading = Program::new("the workload", &group.command(&["cat".as_ref(), file.as_os_str()]));
        for _ in 0..workload.readings {
            reading.run()?;
        }
        let before = resident_bytes(file)?;
        ensure!(
            before as usize >= WORKLOAD_BYTES * 9 / 10,
            "only {before} bytes of the workload were cached"
        );
        Program::new(&*program.name, &group.command(program.words())).run()?;
        Ok(resident_bytes(file)? as f64 / before as f64 * 100.0)
    }

    /// Leaves nothing of the files in the page cache: pages count for the group
    /// that first reads them.
    fn evict(&self) -> Result<()> {
        evict(&self.beside)?;
        for file in WalkDir::new(&self.tree) {
            let file = file.context("cannot walk the tree")?;
            if file.file_type().is_file() {
                evict(file.path())?;
            }
        }
        Ok(())
    }
}

/// Content that no file system can shrink.
fn write_noise(path: &Path, seed: usize, bytes: usize) -> Result<()> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, noise));
    made.with_context(|| format!("cannot write {}", path.display()))
}

/// Takes a file out of the page cache.
fn evict(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    fadvise(&file, 0, None, Advice::DontNeed)
        .with_context(|| format!("cannot take {} out of the page cache", path.display()))
}

/// How much of a file the page cache holds.
fn resident_bytes(path: &Path) -> Result<u64> {
    let options = ["--bytes", "--noheadings", "--output", "RES"].map(AsRef::as_ref);
    let said = succeed("fincore", options.into_iter().chain([path.as_os_str()]))?.text();
    said.trim().parse().with_context(|| format!("fincore says {said:?} of {}", path.display()))
}
