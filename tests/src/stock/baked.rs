//! The stock image with its manifest, and what a collector would keep of its
//! instances.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use congruent_protocol::verification::Verification;

use super::{Instance, contract, image};
use crate::program::{self, Ended};
use crate::sandbox::{KeyFiles, Sandbox};
use crate::{agent, tree};

/// The stock image, baked.
pub struct Baked {
    keys: KeyFiles,
    manifest: PathBuf,
    /// So that first values of sensitive files can be told from others.
    content_key: PathBuf,
    sandbox: Sandbox,
}

impl Baked {
    /// Bakes the image with these shipped contracts, and those at `more` after them.
    ///
    /// # Errors
    /// When the image cannot be made or baked.
    pub fn new(names: &[&str], more: &[PathBuf]) -> Result<Self> {
        let sandbox = Sandbox::for_trees()?;
        let keys = sandbox.keygen("key")?;
        let content_key = sandbox.write("content-key", [7; 32])?;
        let manifest = sandbox.path("stock.manifest");
        let contracts: Vec<PathBuf> =
            names.iter().map(|name| contract(name)).chain(more.to_owned()).collect();
        agent::bake_composed(image()?, &contracts, &keys, &manifest)?;
        Ok(Self { keys, manifest, content_key, sandbox })
    }

    /// A fresh instance of it.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn instance(&self, number: usize) -> Result<Instance> {
        Instance::new(image()?, self.sandbox.path(format!("instance-{number}")), number)
    }

    /// A copy of an instance's root, to be changed.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn copy_of(&self, instance: &Instance) -> Result<PathBuf> {
        let copy = self.sandbox.path("copy");
        tree::copy(instance.root(), &copy)?;
        Ok(copy)
    }

    /// Verifies `root` from outside, by the ledger where there is one.
    ///
    /// # Errors
    /// When that fails.
    pub fn look(&self, root: &Path, ledger: Option<&Path>) -> Result<(Ended, Verification)> {
        let mut verify = agent::command(&[])?;
        verify.args(agent::verify_arguments(&self.manifest, &self.keys.public, root));
        verify.arg("--content-key").arg(&self.content_key);
        if let Some(ledger) = ledger {
            verify.arg("--ledger").arg(ledger);
        }
        let ended = program::run(&mut verify)?;
        let verification = agent::verification(&ended)?;
        Ok((ended, verification))
    }

    /// Records the first values that a look has seen, and gives the ledger.
    ///
    /// # Errors
    /// When that fails.
    pub fn record(&self, look: &Ended) -> Result<PathBuf> {
        let ledger = self.sandbox.path("ledger.json");
        let outcome = self.sandbox.write("outcome.json", &look.stdout)?;
        let mut record = agent::command(&["ledger", "record", "--ledger"])?;
        let ended = program::run(record.arg(&ledger).arg(outcome))?;
        ensure!(ended.code == Some(0), "congruent ledger record failed: {}", ended.stderr);
        Ok(ledger)
    }
}
