//! A small tree that was baked, and the commands that are tried on it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use congruent_protocol::verification::Verification;

use crate::program::{Ended, run};
use crate::sandbox::{KeyFiles, Sandbox};
use crate::{agent, tree};

/// A tree, its manifest and the key that signed it.
pub struct Scene {
    /// Where all of it is.
    pub sandbox: Sandbox,
    /// The tree.
    pub root: PathBuf,
    /// What signs.
    pub keys: KeyFiles,
    /// Where the manifest is.
    pub manifest: PathBuf,
}

impl Scene {
    /// The small tree, baked under the default contract.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> Result<Self> {
        let scene = Self::unbaked()?;
        agent::bake(&scene.root, None, &scene.keys, &scene.manifest)?;
        Ok(scene)
    }

    /// The small tree, baked under this contract.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn under(contract: &str) -> Result<Self> {
        let scene = Self::unbaked()?;
        let contract = scene.sandbox.write("web.contract.toml", contract)?;
        agent::bake(&scene.root, Some(&contract), &scene.keys, &scene.manifest)?;
        Ok(scene)
    }

    /// The small tree, not baked yet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn unbaked() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
        tree::small(&root)?;
        let keys = sandbox.keygen("key")?;
        Ok(Self { sandbox, root, keys, manifest })
    }

    /// `congruent bake` of the tree with these further arguments.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn bake<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Ended> {
        run(agent::bake_command(&self.root, &self.manifest)?.args(arguments))
    }

    /// `congruent verify --format json` of the tree with these further arguments.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn verify<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Ended> {
        let mut verify = agent::command(&["verify", "--format", "json", "--manifest"])?;
        run(verify.arg(&self.manifest).arg("--root").arg(&self.root).args(arguments))
    }

    /// The outcome of [`Scene::verify`], trusting the scene's key.
    ///
    /// # Errors
    /// When there is none.
    pub fn verification<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Verification> {
        let trust = ["--trust".into(), self.keys.public.clone().into_os_string()];
        let more = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
        agent::verification(&self.verify(trust.into_iter().chain(more))?)
    }

    /// `congruent` with these arguments, which must succeed.
    ///
    /// # Errors
    /// When it does not; with what it said.
    pub fn succeed(&self, words: &[&str], paths: &[&Path]) -> Result<Ended> {
        let ended = run(agent::command(words)?.args(paths))?;
        ensure!(ended.code == Some(0), "congruent {words:?} failed: {}", ended.stderr);
        Ok(ended)
    }
}
