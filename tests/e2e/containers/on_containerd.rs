//! containerd as one of the runtimes. It has no command that makes an image: Podman makes
//! those that it takes in.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use congruent_tests::containerd::Containerd;
use congruent_tests::podman::Podman;
use serde_json::Value;

use super::verified::{Runtime, SLEEP};
use super::{lowers, told};

/// containerd, and the Podman that makes its images. Containers have ids that no other test
/// has: people choose them.
pub(super) struct OnContainerd {
    containerd: Containerd,
    podman: Podman,
}

impl OnContainerd {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let podman = Podman::new(&folder.join("podman"))?;
        Ok(Self { containerd: Containerd::start(&folder.join("containerd"))?, podman })
    }
}

fn id_of(name: &str) -> String {
    format!("on-containerd-{name}-{}", std::process::id())
}

impl Runtime for OnContainerd {
    fn call(&self, words: &[&str]) -> Result<String> {
        match words {
            ["import", ..] => self.podman.podman(words),
            ["save", "--output", archive, ..] => {
                let said = self.podman.podman(words)?;
                self.containerd.import(Path::new(archive))?;
                Ok(said)
            }
            ["rm", "--force", name] => {
                self.containerd.ctr(&["task", "rm", "--force", &id_of(name)])?;
                self.containerd.ctr(&["container", "rm", &id_of(name)])
            }
            _ => bail!("containerd is not asked that: {words:?}"),
        }
    }

    fn data_root(&self) -> PathBuf {
        self.containerd.data_root()
    }

    fn inspect(&self, name: &str) -> Result<Value> {
        told(&self.data_root(), &id_of(name))
    }

    fn sleeper(&self, name: &str, options: &[&str]) -> Result<String> {
        let id = id_of(name);
        let first = ["run", "--detach", "--null-io"];
        self.containerd.ctr(&[&first[..], options, &["localhost/web:1", &id], &SLEEP].concat())?;
        Ok(id)
    }

    fn directory(&self, name: &str, which: &str) -> Result<String> {
        let told = self.inspect(name)?;
        let directory = match which {
            "LowerDir" => Some(lowers(&told)),
            "UpperDir" => told["writable"]["upper"].as_str().map(str::to_owned),
            "MergedDir" => told["pid"].as_u64().map(|pid| format!("/proc/{pid}/root")),
            _ => None,
        };
        directory.with_context(|| format!("{name} has no {which}: {told}"))
    }
}
