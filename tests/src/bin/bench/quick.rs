//! A quick sweep where nothing changed, beside what it cannot do without: to stat
//! everything, and to load the manifest.

use std::ffi::OsStr;
use std::process::Command;

use anyhow::{Result, ensure};
use congruent_protocol::verification::SweepMode;
use congruent_tests::agent;
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;

use super::measure::Program;
use super::options::Options;
use super::race::{Racer, as_it_is, race, table};
use super::section::Section;
use super::subject::{Subject, stat_probe};
use super::target::{self, Target};
use super::{cores, counts_of};

pub(crate) fn section(options: &Options) -> Result<Section> {
    let sandbox = Sandbox::new()?;
    let subject = Subject::bake(&options.folder, &sandbox)?;
    let cache = sandbox.path("cache");
    let with_cache = [OsStr::new("--cache"), cache.as_os_str()];
    subject.verify_with("congruent verify --cache", &with_cache)?.run()?;
    let quick = [&with_cache[..], &[OsStr::new("--quick")]].concat();
    let quick = subject.verify_with("congruent verify --quick", &quick)?;
    ensure_quick(&quick)?;

    let programs = [quick, stat_probe(&options.folder, cores())?, subject.load()?];
    let mut racers = programs.map(|program| Racer::new(program, options.rounds));
    race(&mut racers, as_it_is)?;
    let [quick, stat, load] = [0, 1, 2].map(|at: usize| racers[at].median_seconds());
    let text = format!(
        "Quick sweep of `{}` ({}) right after a full one, page cache warm, alternating rounds.\n\n{}\n{}",
        options.folder.display(),
        counts_of(&options.folder)?,
        table(&racers, &[("stat probe and load", stat + load)]),
        target::table(&[(Target::QUICK, quick / (stat + load))])
    );
    Ok(Section { title: "Quick sweep", text, picture: None })
}

/// A quick sweep that falls back to a full one is none.
fn ensure_quick(program: &Program) -> Result<()> {
    let (name, arguments) = program.words().split_first().expect("a program has a name");
    let ended = run(Command::new(name).args(arguments))?;
    let mode = agent::verification(&ended)?.coverage.mode;
    ensure!(mode == SweepMode::Quick, "verify --quick made a full sweep: {}", ended.stderr);
    Ok(())
}
