//! A bake without lint beside the floor under it, page cache warm.

use anyhow::Result;
use congruent_tests::sandbox::Sandbox;

use super::options::Options;
use super::race::{Racer, as_it_is, race, table};
use super::section::Section;
use super::subject::{Subject, floor};
use super::target::{self, Target};
use super::{cores, counts_of};

pub(crate) fn section(options: &Options) -> Result<Section> {
    let sandbox = Sandbox::new()?;
    let subject = Subject::bake(&options.folder, &sandbox)?;
    let programs = [subject.bake_again(&sandbox.path("again.manifest"))?, floor(&options.folder, cores())?];
    let mut racers = programs.map(|program| Racer::new(program, options.rounds));
    race(&mut racers, as_it_is)?;
    let [bake, floor] = [0, 1].map(|at: usize| racers[at].median_seconds());
    let text = format!(
        "Bake of `{}` ({}) without lint, page cache warm, alternating rounds.\n\n{}\n{}",
        options.folder.display(),
        counts_of(&options.folder)?,
        table(&racers, &[("the floor", floor)]),
        target::table(&[(Target::BAKE, bake / floor)])
    );
    Ok(Section { title: "Bake", text, picture: None })
}
