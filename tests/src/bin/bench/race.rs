//! Races: all programs take turns in every round, so that a machine that is slow
//! for a while is slow for all.

use anyhow::{Context, Result};

use super::measure::{Program, Run};
use super::tell;

/// A program in a race, with the runs that it has made.
pub(crate) struct Racer {
    pub(crate) program: Program,
    rounds: usize,
    runs: Vec<Run>,
}

impl Racer {
    /// A racer that stops after so many rounds, since it takes long.
    pub(crate) fn new(program: Program, rounds: usize) -> Self {
        Self { program, rounds, runs: Vec::new() }
    }

    pub(crate) fn median_seconds(&self) -> f64 {
        median(self.runs.iter().map(|run| run.seconds))
    }

    /// The median of the bytes that each run read from the disk.
    pub(crate) fn read_bytes(&self) -> Result<f64> {
        let read: Option<Vec<u64>> = self.runs.iter().map(|run| run.read_bytes).collect();
        let read = read.context("this kernel does not count what a process reads (/proc/self/io)")?;
        Ok(median(read.into_iter().map(|bytes| bytes as f64)))
    }

    /// The most that any run needed.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.peak_bytes).max().unwrap_or(0)
    }

    /// One row of [`table`].
    fn row(&self, against: &[(&str, f64)]) -> String {
        let seconds = || self.runs.iter().map(|run| run.seconds);
        let (least, most) = (seconds().fold(f64::MAX, f64::min), seconds().fold(0.0, f64::max));
        let median = self.median_seconds();
        let ratios: String =
            against.iter().map(|(_, reference)| format!(" {:.2} |", median / reference)).collect();
        let read = self.read_bytes().map_or("unknown".to_owned(), |bytes| format!("{:.1} MB", bytes / 1e6));
        format!(
            "| {} | {median:.3} s | {least:.3} – {most:.3} s |{ratios} {:.1} MB | {read} | {} |\n",
            self.program.name,
            self.peak_bytes() as f64 / 1e6,
            self.runs.len()
        )
    }
}

/// Lets all take turns, and does `before` ahead of each run.
pub(crate) fn race(racers: &mut [Racer], before: impl Fn(&Program) -> Result<()>) -> Result<()> {
    let rounds = racers.iter().map(|racer| racer.rounds).max().unwrap_or(0);
    for round in 1..=rounds {
        tell(&format!("round {round} of {rounds}"));
        for racer in racers.iter_mut().filter(|racer| round <= racer.rounds) {
            before(&racer.program)?;
            racer.runs.push(racer.program.run()?);
        }
    }
    Ok(())
}

/// For a warm page cache nothing is to be done.
pub(crate) fn as_it_is(_: &Program) -> Result<()> {
    Ok(())
}

/// The fastest of several ways to do the same, by the better of two runs.
pub(crate) fn fastest(what: &str, programs: Vec<Program>) -> Result<Program> {
    tell(&format!("looking for the best arguments for {what}"));
    let mut best: Option<(f64, Program)> = None;
    for program in programs {
        let took = program.run()?.seconds.min(program.run()?.seconds);
        if best.as_ref().is_none_or(|(least, _)| took < *least) {
            best = Some((took, program));
        }
    }
    best.map(|(_, program)| program).with_context(|| format!("there is no {what}"))
}

/// All racers' times, also as multiples of what they are held against.
pub(crate) fn table(racers: &[Racer], against: &[(&str, f64)]) -> String {
    let heads: String = against.iter().map(|(name, _)| format!(" of {name} |")).collect();
    let rows: String = racers.iter().map(|racer| racer.row(against)).collect();
    format!(
        "| | median | from – to |{heads} peak memory | read from disk | rounds |\n|---|---|---|{}---|---|---|\n{rows}",
        "---|".repeat(against.len())
    )
}

/// The middle one, or the mean of the middle two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn medians() {
        for (values, expected) in
            [(&[3.0, 1.0, 2.0][..], 2.0), (&[4.0, 1.0, 2.0, 3.0], 2.5), (&[7.0], 7.0), (&[], 0.0)]
        {
            assert!((median(values.iter().copied()) - expected).abs() < 1e-9, "{values:?}");
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_head() {
        let run = |seconds| Run { seconds, peak_bytes: 4_000_000, read_bytes: Some(0), code: Some(0) };
        let mut racer = Racer::new(Program::new("all of it", &Command::new("true")), 2);
        racer.runs = vec![run(1.0), run(3.0)];
        let table = table(&[racer], &[("the floor", 1.0), ("b3sum", 4.0)]);
        let cells: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
        assert_eq!(cells, [9, 9, 9], "{table}");
        assert!(
            table
                .ends_with("| all of it | 2.000 s | 1.000 – 3.000 s | 2.00 | 0.50 | 4.0 MB | 0.0 MB | 2 |\n"),
            "{table}"
        );
    }
}
