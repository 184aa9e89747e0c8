//! An operator at the command line: `congruent-server` with a collector's address
//! and a token.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::binaries;
use crate::program::{Ended, run};

/// An operator, and the collector that is asked.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The collector's address.
    pub url: String,
    /// The file with the operator's token.
    pub token_file: PathBuf,
    /// The certificate of the collector's authority.
    pub authority: PathBuf,
}

impl Operator {
    /// `congruent-server` with these arguments, the collector and the token.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binaries::path("congruent-server")?);
        command.args(arguments).args(["--server", &self.url]).arg("--token-file").arg(&self.token_file);
        command.arg("--ca").arg(&self.authority);
        Ok(command)
    }

    /// Runs it.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn run(&self, arguments: &[&str]) -> Result<Ended> {
        run(&mut self.command(arguments)?)
    }

    /// Changes something, for a reason; gives the answer.
    ///
    /// # Errors
    /// When it is refused; with why.
    pub fn change(&self, arguments: &[&str]) -> Result<Value> {
        self.answer(&[arguments, &["--reason", "a test"]].concat())
    }

    /// The API's answer to it.
    ///
    /// # Errors
    /// When it is refused; with why.
    pub fn answer(&self, arguments: &[&str]) -> Result<Value> {
        let ended = self.run(&[arguments, &["--format", "json"]].concat())?;
        ensure!(ended.code == Some(0), "{arguments:?}: {}", ended.stderr);
        serde_json::from_slice(&ended.stdout).with_context(|| ended.text())
    }
}
