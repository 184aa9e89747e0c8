//! A full verify beside its floor where the page cache holds nothing of the folder.

use std::fs;

use anyhow::{Context, Result};
use congruent_tests::sandbox::Sandbox;

use super::measure::Program;
use super::options::Options;
use super::race::{Racer, race, table};
use super::section::Section;
use super::subject::{Subject, floor};
use super::target::{self, Target};
use super::{cores, counts_of};

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

pub(crate) fn section(options: &Options) -> Result<Section> {
    let sandbox = Sandbox::new()?;
    let subject = Subject::bake(&options.folder, &sandbox)?;
    let programs = [subject.verify()?, floor(&options.folder, cores())?];
    let mut racers = programs.map(|program| Racer::new(program, options.rounds));
    race(&mut racers, |program| chill(program, &subject))?;
    let [verify, floor] = [0, 1].map(|at: usize| racers[at].median_seconds());
    let read = racers[0].read_bytes()? / racers[1].read_bytes()?;
    let text = format!(
        "Full verify of `{}` ({}) from a cold cache: before each run the kernel drops its caches, and program \
         and manifest are read back in. Alternating rounds.\n\n{}\n{}",
        options.folder.display(),
        counts_of(&options.folder)?,
        table(&racers, &[("the floor", floor)]),
        target::table(&[(Target::COLD, verify / floor), (Target::COLD_READ, read)])
    );
    Ok(Section { title: "Cold cache", text, picture: None })
}

/// Leaves the folder cold, and warm what the floor has no counterpart of.
fn chill(program: &Program, subject: &Subject) -> Result<()> {
    // Only what is on the disk can be dropped.
    rustix::fs::sync();
    fs::write(DROP_CACHES, "3").with_context(|| format!("cannot write to {DROP_CACHES}; run as root"))?;
    let warm = [program.words()[0].as_ref(), subject.manifest.as_path(), subject.keys.public.as_path()];
    for file in warm {
        fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(())
}
