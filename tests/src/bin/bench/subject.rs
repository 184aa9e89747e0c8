//! A folder with its manifest, and the programs that go over it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use congruent_tests::sandbox::{KeyFiles, Sandbox};
use congruent_tests::{agent, binaries};

use super::measure::Program;
use super::tell;

/// A baked folder.
pub(crate) struct Subject {
    pub(crate) folder: PathBuf,
    pub(crate) manifest: PathBuf,
    pub(crate) keys: KeyFiles,
}

impl Subject {
    /// Bakes the folder, which also warms the page cache.
    pub(crate) fn bake(folder: &Path, sandbox: &Sandbox) -> Result<Self> {
        tell(&format!("baking {}", folder.display()));
        let (keys, manifest) = (sandbox.keygen("key")?, sandbox.path("bench.manifest"));
        let subject = Self { folder: folder.to_owned(), manifest, keys };
        subject.bake_again(&subject.manifest)?.run()?;
        Ok(subject)
    }

    /// Bakes it into `output`, without lint.
    pub(crate) fn bake_again(&self, output: &Path) -> Result<Program> {
        let mut bake = agent::bake_command(&self.folder, output)?;
        bake.arg("--no-lint").arg("--key").arg(&self.keys.secret);
        Ok(Program::new("congruent bake", &bake))
    }

    pub(crate) fn verify(&self) -> Result<Program> {
        self.verify_with("congruent verify", &[])
    }

    pub(crate) fn verify_with(&self, name: &str, more: &[&OsStr]) -> Result<Program> {
        let mut verify = agent::command(&[])?;
        verify.args(agent::verify_arguments(&self.manifest, &self.keys.public, &self.folder)).args(more);
        Ok(Program::new(name, &verify))
    }

    /// Reads and checks the manifest, as every verify does first.
    pub(crate) fn load(&self) -> Result<Program> {
        let mut show = agent::command(&["show"])?;
        show.arg(&self.manifest).arg("--trust").arg(&self.keys.public);
        Ok(Program::new("manifest load (congruent show)", &show))
    }
}

/// Opens, stats twice, lists extended attributes, reads and hashes everything.
pub(crate) fn floor(folder: &Path, threads: usize) -> Result<Program> {
    probe("floor probe", folder, threads, &[])
}

/// Lists and stats everything.
pub(crate) fn stat_probe(folder: &Path, threads: usize) -> Result<Program> {
    probe("stat probe", folder, threads, &["--stat-only"])
}

fn probe(name: &str, folder: &Path, threads: usize, more: &[&str]) -> Result<Program> {
    let mut probe = Command::new(binaries::path("floor-probe")?);
    probe.args(["--threads", &threads.to_string()]).args(more).arg(folder);
    Ok(Program::new(format!("{name}, {threads} threads"), &probe))
}
