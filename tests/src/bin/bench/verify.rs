//! A full verify beside its floor, b3sum and other checkers, over the same files,
//! page cache warm. The floor and b3sum are given their best arguments first.

use anyhow::Result;
use congruent_tests::sandbox::Sandbox;

use super::options::Options;
use super::race::{Racer, as_it_is, fastest, race, table as race_table};
use super::section::Section;
use super::subject::{Subject, floor};
use super::svg::{Bar, picture};
use super::target::{self, Target};
use super::{cores, counts_of, peers};

/// Before them, in the order of the race, are congruent, its floor and b3sum.
const CHECKERS_AT: usize = 3;

pub(crate) fn section(options: &Options) -> Result<Section> {
    let sandbox = Sandbox::new()?;
    let subject = Subject::bake(&options.folder, &sandbox)?;
    let floors = [cores(), cores() * 2].map(|threads| floor(&options.folder, threads));
    let programs = [
        subject.verify()?,
        fastest("the floor probe", floors.into_iter().collect::<Result<_>>()?)?,
        peers::best_b3sum(&options.folder, &sandbox)?,
    ];
    let mut racers: Vec<Racer> =
        programs.into_iter().map(|program| Racer::new(program, options.rounds)).collect();
    if options.peers > 0 {
        let checkers = peers::checkers(&options.folder, &sandbox)?;
        racers.extend(checkers.into_iter().map(|checker| Racer::new(checker, options.peers)));
    }
    race(&mut racers, as_it_is)?;

    let [verify, floor, b3sum] = [0, 1, 2].map(|at: usize| racers[at].median_seconds());
    let counts = counts_of(&options.folder)?;
    let figures = [(Target::VERIFY_FLOOR, verify / floor), (Target::VERIFY_B3SUM, verify / b3sum)];
    let text = format!(
        "Full verify of `{}` ({counts}), page cache warm, alternating rounds. b3sum only reads and hashes. \
         The checkers below it are slow, and take part in as many rounds as their rows say.\n\n{}\n{}",
        options.folder.display(),
        race_table(&racers, &[("the floor", floor), ("b3sum", b3sum)]),
        target::table(&figures)
    );
    let title = format!("Full check of {} ({counts}), page cache warm", options.folder.display());
    Ok(Section { title: "Full verify", text, picture: Some(picture(&title, &bars(&racers))) })
}

fn bars(racers: &[Racer]) -> Vec<Bar> {
    let bar = |(at, racer): (usize, &Racer)| Bar {
        // Arguments are in the table.
        name: match at {
            at if at < CHECKERS_AT => racer.program.name.split(',').next().unwrap_or_default().to_owned(),
            _ => racer.program.name.clone(),
        },
        seconds: racer.median_seconds(),
        is_ours: at == 0,
    };
    racers.iter().enumerate().map(bar).collect()
}
