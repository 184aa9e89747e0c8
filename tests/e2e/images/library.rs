//! Folders of many manifests.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use congruent_tests::binaries;
use congruent_tests::program::{Ended, run};

use super::{Baked, refused};

/// Opens a folder of manifests under a limit of open files, for a container that nobody has.
fn open(folder: &Path, limit: &str) -> Result<Ended> {
    let mut limited = std::process::Command::new("prlimit");
    limited.arg(format!("--nofile={limit}")).arg(binaries::path("congruent")?);
    limited.args(["containers", "verify", "--insecure-unsigned", "no-such-container", "--manifests"]);
    run(limited.arg(folder))
}

#[test]
fn more_manifests_are_taken_than_files_are_open_by_default() -> Result<()> {
    let baked = Baked::new()?;
    let folder = baked.sandbox.path("manifests");
    fs::create_dir(&folder)?;
    for number in 0..200 {
        fs::copy(&baked.manifest, folder.join(format!("{number}.manifest")))?;
    }
    let ended = open(&folder, "128:1024")?;
    refused(&ended, &["no container has the id or name"])?;
    ensure!(!ended.stderr.contains("no container is held to"), "{}", ended.stderr);
    refused(&open(&folder, "128:128")?, &["has 200, and this process may have 128 files open", "LimitNOFILE"])
}
