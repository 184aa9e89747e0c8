//! The bench's command line.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use super::TABLES;

const DEFAULT_ROUNDS: usize = 5;
const DEFAULT_PEERS: usize = 1;
const DEFAULT_FOLDER: &str = "/usr";

/// What is measured, and how often.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Alternating rounds, of which medians are taken.
    pub(crate) rounds: usize,
    /// In how many of them the slow checkers take part.
    pub(crate) peers: usize,
    /// The tables asked for; all when empty.
    only: Vec<String>,
    /// Whether the outcome is to be kept among the sources.
    pub(crate) save: bool,
    pub(crate) folder: PathBuf,
}

impl Options {
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut options = Self {
            rounds: DEFAULT_ROUNDS,
            peers: DEFAULT_PEERS,
            only: Vec::new(),
            save: false,
            folder: DEFAULT_FOLDER.into(),
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().and_then(|value| value.into_string().ok());
            match argument.to_str() {
                Some("--rounds") => options.rounds = number(value()).with_context(usage)?,
                Some("--peers") => options.peers = number(value()).with_context(usage)?,
                Some("--only") => options.only.push(value().with_context(usage)?),
                Some("--save") => options.save = true,
                Some(option) if option.starts_with('-') => bail!("no option {option}\n{}", usage()),
                _ => options.folder = argument.into(),
            }
        }
        options.check()
    }

    fn check(self) -> Result<Self> {
        ensure!(self.rounds > 0, "no rounds\n{}", usage());
        ensure!(self.peers <= self.rounds, "the checkers cannot take part in more rounds than there are");
        let is_known = |name: &String| TABLES.iter().any(|(known, _)| known == name);
        if let Some(unknown) = self.only.iter().find(|name| !is_known(name)) {
            bail!("no table {unknown}\n{}", usage());
        }
        ensure!(!self.save || self.only.is_empty(), "only the whole bench is saved: give no --only");
        ensure!(self.folder.is_dir(), "{} is not a folder", self.folder.display());
        Ok(self)
    }

    pub(crate) fn wants(&self, table: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == table)
    }
}

fn number(value: Option<String>) -> Option<usize> {
    value?.parse().ok()
}

fn usage() -> String {
    let names: Vec<&str> = TABLES.iter().map(|(name, _)| *name).collect();
    format!(
        "usage: bench [--rounds N] [--peers N] [--only TABLE]... [--save] [FOLDER]\n\
         tables: {}\n\
         --peers: in how many of the rounds the slow checkers take part\n\
         --save: keep the outcome in docs/bench/",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<Options> {
        Options::read(words.split_whitespace().map(OsString::from))
    }

    #[test]
    fn what_is_asked_for() {
        let options = read("").unwrap();
        assert_eq!((options.rounds, options.peers, options.save), (5, 1, false));
        assert!(options.wants("verify") && options.wants("memory"));

        let options = read("--rounds 7 --peers 2 --only cold --only quick /").unwrap();
        assert_eq!((options.rounds, options.peers, options.folder), (7, 2, PathBuf::from("/")));
        let options = read("--only cold --only quick").unwrap();
        assert!(options.wants("cold") && options.wants("quick") && !options.wants("verify"));
        assert!(read("--save").unwrap().save);
    }

    #[test]
    fn what_is_refused() {
        for (words, reason) in [
            ("--rounds", "usage"),
            ("--rounds none", "usage"),
            ("--rounds 0", "no rounds"),
            ("--rounds 2 --peers 3", "more rounds"),
            ("--only", "usage"),
            ("--only everything", "no table everything"),
            ("--fast", "no option --fast"),
            ("--save --only cold", "whole bench"),
            ("/nonexistent", "not a folder"),
        ] {
            let error = format!("{:#}", read(words).unwrap_err());
            assert!(error.contains(reason), "{words}: {error}");
        }
    }
}
