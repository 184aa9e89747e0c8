//! `verify --format sarif|ndjson|junit`, held to validators and readers by others:
//! a tree that is congruent, one full of hostile names, one that cannot all be read.

mod junit;
mod ndjson;
mod sarif;

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use congruent_tests::program::{Ended, run};
use congruent_tests::sandbox::{KeyFiles, Sandbox};
use congruent_tests::{agent, binaries, tree};

/// Names that break parsers, terminals, URIs and pages.
const HOSTILE: [&[u8]; 16] = [
    b"a\nb",
    b"\xff\xfe",
    b"100%",
    b"%2e%2e",
    b"a#b",
    b"a b",
    b"a:b",
    b"q?x=1",
    b"-rf",
    b"\\x0a",
    b"\x01\x1b[31m",
    b"[x](http:x)",
    b"]]><&\"'",
    b"{0}{1}",
    "\u{202e}gpj.exe".as_bytes(),
    "\u{fffe}".as_bytes(),
];

/// The user that owns what root without its powers cannot read.
const NOBODY: u32 = 65534;

/// A small tree, baked.
struct Scene {
    sandbox: Sandbox,
    root: PathBuf,
    keys: KeyFiles,
    manifest: PathBuf,
}

impl Scene {
    fn congruent() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let (root, manifest) = (sandbox.path("my root"), sandbox.path("web.manifest"));
        tree::small(&root)?;
        let secret = root.join("etc/secret");
        fs::write(&secret, "hidden\n")?;
        fs::set_permissions(&secret, Permissions::from_mode(0o600))?;
        chown(&secret, Some(NOBODY), Some(NOBODY))?;
        let keys = sandbox.keygen("key")?;
        agent::bake(&root, None, &keys, &manifest)?;
        Ok(Self { sandbox, root, keys, manifest })
    }

    /// Files with hostile names, and one change of each kind that needs no mount.
    fn hostile() -> Result<Self> {
        let scene = Self::congruent()?;
        for name in HOSTILE {
            fs::write(scene.root.join("usr/share").join(OsStr::from_bytes(name)), "x")?;
        }
        fs::write(scene.root.join("etc/passwd"), "root::0:0::/:/bin/sh\n")?;
        fs::remove_file(scene.root.join("etc/web.conf"))?;
        fs::remove_file(scene.root.join("bin"))?;
        fs::create_dir(scene.root.join("bin"))?;
        fs::set_permissions(&scene.root, Permissions::from_mode(0o700))?;
        Ok(scene)
    }

    fn verify(&self, format: &str) -> Result<Ended> {
        run(Command::new(binaries::path("congruent")?).args(self.arguments(format)))
    }

    /// Looks as root does without the power to read everything, so that
    /// `/etc/secret` is a gap.
    fn verify_powerless(&self, format: &str) -> Result<Ended> {
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-dac_override,-dac_read_search").arg(binaries::path("congruent")?);
        run(command.args(self.arguments(format)))
    }

    fn arguments(&self, format: &str) -> Vec<std::ffi::OsString> {
        let mut arguments = agent::verify_arguments(&self.manifest, &self.keys.public, &self.root)
            .map(OsStr::to_owned)
            .to_vec();
        arguments.pop();
        arguments.push(format.into());
        arguments
    }
}
