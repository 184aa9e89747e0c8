//! What every race begins with: a baked tree, copies of it, and a canary beside each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, tree};

use super::canary::Canary;
use crate::mutation::row::Baked;

/// A file that takes some time to read, by its path and size.
pub(super) const BIG: &str = "/srv/folder/big";
pub(super) const BIG_BYTES: usize = 1_000_000;

/// What every race begins with.
pub(super) struct Start {
    pub(super) sandbox: Sandbox,
    pub(super) baked: Baked,
}

impl Start {
    /// Bakes a tree with a big file in it, and what `more` makes.
    pub(super) fn new(contract: &str, more: fn(&Path) -> Result<()>) -> Result<Self> {
        let sandbox = Sandbox::for_trees()?;
        let tree = sandbox.path("tree");
        tree::small(&tree)?;
        fs::create_dir_all(tree.join("srv/folder"))?;
        fs::write(tree.join(&BIG[1..]), big())?;
        more(&tree)?;
        let baked = Baked::bake(&tree, contract, &sandbox)?;
        Ok(Self { sandbox, baked })
    }

    /// A copy of the tree, and a canary beside it.
    pub(super) fn copy(&self, name: &str) -> Result<(PathBuf, Canary)> {
        let folder = self.sandbox.path(name);
        fs::create_dir(&folder)?;
        tree::copy(&self.baked.tree, &folder.join("root"))?;
        Ok((folder.join("root"), Canary::new(&folder)?))
    }

    /// A verify with so many words more.
    pub(super) fn verify(&self, root: &Path, more: &[&str]) -> Result<Command> {
        let Baked { manifest_file, public_key, .. } = &self.baked;
        let mut verify = agent::command(&[])?;
        verify.args(agent::verify_arguments(manifest_file, public_key, root)).args(more);
        Ok(verify)
    }
}

/// A command where fewer files may be open than a deep tree has levels.
pub(super) fn with_few_descriptors(command: &Command) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg("--nofile=64").arg(command.get_program()).args(command.get_args());
    limited
}

/// Content without two equal halves, that no hole can stand for.
pub(super) fn big() -> Vec<u8> {
    (0_u32..).flat_map(u32::to_be_bytes).take(BIG_BYTES).collect()
}
