//! A tree of which nothing is left: far more findings than memory is to hold. All
//! are told, in every format, and memory does not follow them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_protocol::drift::Change;
use congruent_tests::program::{Ended, run};
use congruent_tests::sandbox::{KeyFiles, Sandbox};
use congruent_tests::{agent, binaries, mounts};
use serde_json::Value;

const FOLDERS: usize = 60;
const FILES: usize = 1000;
/// All but the root itself, which is still there.
const GONE: usize = FOLDERS * (FILES + 1);
/// A debug build needs 23 MB; with so many findings in memory it needed 57 MB, and
/// more where a whole document stood beside them.
const MAX_PEAK_BYTES: u64 = 40_000_000;

/// A manifest of many files, and an empty root.
struct Scene {
    sandbox: Sandbox,
    root: PathBuf,
    keys: KeyFiles,
    manifest: PathBuf,
}

impl Scene {
    fn new() -> Result<Self> {
        let sandbox = Sandbox::for_trees()?;
        let (root, manifest) = (sandbox.path("root"), sandbox.path("web.manifest"));
        for folder in 0..FOLDERS {
            let folder = root.join(format!("srv-{folder:02}"));
            fs::create_dir_all(&folder)?;
            for file in 0..FILES {
                File::create(folder.join(format!("a-file-that-will-be-gone-{file:04}")))?;
            }
        }
        let keys = sandbox.keygen("key")?;
        agent::bake(&root, None, &keys, &manifest)?;
        for folder in fs::read_dir(&root)? {
            fs::remove_dir_all(folder?.path())?;
        }
        fs::create_dir(sandbox.path("tmp"))?;
        Ok(Self { sandbox, root, keys, manifest })
    }

    fn arguments(&self, format: &str) -> Vec<std::ffi::OsString> {
        let arguments = agent::verify_arguments(&self.manifest, &self.keys.public, &self.root);
        let (_, others) = arguments.split_last().expect("there are arguments");
        others.iter().map(Into::into).chain([format.into()]).collect()
    }

    /// Verifies, and checks the exit code, the memory used, and that nothing is left.
    fn verify(&self, format: &str) -> Result<Ended> {
        let peak = self.sandbox.path("peak");
        let mut command = Command::new(binaries::path("peak-memory")?);
        command.arg(&peak).arg(binaries::path("congruent")?).args(self.arguments(format));
        let ended = run(command.env("TMPDIR", self.sandbox.path("tmp")))?;
        ensure!(ended.code == Some(1), "{format}: the exit code is {:?}: {}", ended.code, ended.stderr);
        let peak_bytes: u64 = fs::read_to_string(&peak)?.parse().context("no peak")?;
        ensure!(peak_bytes < MAX_PEAK_BYTES, "{format}: the peak is {peak_bytes} bytes");
        let left = fs::read_dir(self.sandbox.path("tmp"))?.count();
        ensure!(left == 0, "{format}: {left} files are left");
        Ok(ended)
    }

    fn value(&self, format: &str) -> Result<Value> {
        serde_json::from_slice(&self.verify(format)?.stdout).context("no JSON")
    }
}

#[test]
fn all_is_told_in_every_format_in_little_memory() -> Result<()> {
    let scene = Scene::new()?;

    let verification = agent::verification(&scene.verify("json")?)?;
    let paths: Vec<_> = verification.findings.iter().map(|finding| &finding.path).collect();
    assert_eq!(paths.len(), GONE);
    assert!(paths.is_sorted() && verification.findings.iter().all(|one| one.change == Change::Removed));

    let text = scene.verify("text")?.text();
    assert!(text.contains(&format!("\n{GONE} findings:\n")), "{}", &text[..500]);
    assert_eq!(text.lines().filter(|line| line.starts_with("  removed ")).count(), GONE);

    let lines = scene.verify("ndjson")?.text();
    assert_eq!(lines.lines().filter(|line| line.contains(r#""type":"finding""#)).count(), GONE);
    assert!(lines.lines().last().is_some_and(|line| line.contains(&format!(r#""finding_count":{GONE}"#))));

    let xml = scene.verify("junit")?.text();
    assert!(xml.contains(&format!(r#"<testsuites tests="{GONE}" failures="{GONE}" errors="0""#)));
    assert_eq!(xml.matches("<failure ").count(), GONE);

    let sarif = scene.value("sarif")?;
    assert_eq!(sarif["runs"][0]["results"].as_array().map(Vec::len), Some(GONE));
    Ok(())
}

#[test]
fn a_full_disk_is_an_error_with_the_mend() -> Result<()> {
    let scene = Scene::new()?;
    let full = scene.sandbox.path("tmp");
    let mut command =
        mounts::command(r#"mount -t tmpfs -o size=64k none "$ROOT""#, &full, &binaries::path("congruent")?);
    let ended = run(command.args(scene.arguments("json")).env("TMPDIR", &full))?;
    assert_eq!((ended.code, ended.stdout.len()), (Some(2), 0), "{}", ended.stderr);
    let expected = format!("cannot put findings aside in {}; make room there, or", full.display());
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    assert!(ended.stderr.contains("TMPDIR") && ended.stderr.contains("No space left"), "{}", ended.stderr);
    Ok(())
}
