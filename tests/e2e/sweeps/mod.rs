//! How a sweep goes about it: quick ones, interrupted ones, and what they take of
//! the machine.

mod agent_runs;
mod means;
mod quick;
mod resumed;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use congruent_protocol::verification::{State, SweepMode, Verification};
use congruent_tests::agent;
use congruent_tests::program::Ended;
use congruent_tests::scene::Scene;

/// A scene, and where its cache is.
struct Swept {
    scene: Scene,
    cache: PathBuf,
}

impl Swept {
    /// The small tree, with what `more` adds, baked.
    fn new(more: impl FnOnce(&std::path::Path) -> Result<()>) -> Result<Self> {
        let scene = Scene::unbaked()?;
        more(&scene.root)?;
        agent::bake(&scene.root, None, &scene.keys, &scene.manifest)?;
        let cache = scene.sandbox.path("cache");
        Ok(Self { scene, cache })
    }

    /// A verify with the cache and these words more.
    fn verify(&self, more: &[&str]) -> Result<Ended> {
        let mut words: Vec<OsString> = vec!["--cache".into(), self.cache.clone().into()];
        words.extend(["--trust".into(), self.scene.keys.public.clone().into()]);
        words.extend(more.iter().map(Into::into));
        self.scene.verify(words)
    }

    /// What comes of it, once it is in this mode.
    fn look(&self, mode: SweepMode, more: &[&str]) -> Result<Verification> {
        let ended = self.verify(more)?;
        let verification = agent::verification(&ended)?;
        ensure!(verification.coverage.mode == mode, "{more:?} was a {:?} sweep", verification.coverage.mode);
        Ok(verification)
    }

    /// A full sweep that leaves its cache, and finds nothing.
    fn fill(&self) -> Result<Verification> {
        let full = self.look(SweepMode::Full, &[])?;
        ensure!(full.state == State::Congruent, "the full sweep found {:?}", full.findings);
        ensure!(fs::metadata(&self.cache)?.len() > 0, "there is no cache");
        Ok(full)
    }
}
