//! A node that takes its manifest from the collector, by root.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use congruent_tests::agent;
use congruent_tests::program::run;
use serde_json::Value;

use super::{AGENTS, Place};

/// Has the node's configuration name its manifest by this root.
fn configure(place: &Place, root: &str) -> Result<()> {
    let config = place.site.sandbox.path("web-1.toml");
    let lines = fs::read_to_string(&config)?;
    let lines = lines.lines().filter(|line| !line.starts_with("manifest"));
    let lines: Vec<String> =
        [format!("manifest-root = {root:?}")].into_iter().chain(lines.map(str::to_owned)).collect();
    fs::write(&config, lines.join("\n")).context("cannot write the agent's configuration")
}

/// The root of what the group accepts.
fn accepted(place: &Place) -> Result<String> {
    let shown = run(agent::command(&["show", "--format", "json"])?.arg(place.site.manifest()))?;
    let shown: Value = serde_json::from_slice(&shown.stdout).context(shown.stderr)?;
    Ok(shown["manifest"]["root"].as_str().context("no root")?.to_owned())
}

fn kept(place: &Place, root: &str) -> PathBuf {
    place.site.state("web-1").join(format!("{}.manifest", root.replace(':', "-")))
}

#[test]
fn a_manifest_is_taken_once_by_its_root_and_believed_for_its_signatures() -> Result<()> {
    let place = Place::new(&["web-1"], AGENTS)?;
    let root = accepted(&place)?;
    configure(&place, &root)?;
    let config = place.site.sandbox.path("web-1.toml");
    let early = run(agent::command(&["status", "--config"])?.arg(config))?;
    assert!(early.text().contains("`congruent enroll` enrols the node"), "{}{}", early.text(), early.stderr);
    place.enrolled("web-1")?;
    let first = place.site.sweep("web-1")?;
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert!(first.stderr.contains("took the manifest from the collector"), "{}", first.stderr);
    assert_eq!(fs::read(kept(&place, &root))?, fs::read(place.site.manifest())?);
    let again = place.site.sweep("web-1")?;
    assert!(again.code == Some(0) && !again.stderr.contains("took the manifest"), "{}", again.stderr);

    // What is damaged is taken again.
    fs::write(kept(&place, &root), "congruent-manifest 2\n")?;
    let mended = place.site.sweep("web-1")?;
    assert!(mended.code == Some(0) && mended.stderr.contains("took the manifest"), "{}", mended.stderr);

    // What the group does not accept is not given.
    let other = format!("blake3:{}", "0".repeat(64));
    configure(&place, &other)?;
    let refused = place.site.sweep("web-1")?;
    assert!(refused.stderr.contains("accepts no manifest with the root"), "{}", refused.stderr);
    assert!(!kept(&place, &other).exists());

    // The collector is not believed: the node has its own trust.
    fs::remove_file(kept(&place, &root))?;
    configure(&place, &root)?;
    let stranger = place.site.sandbox.keygen("stranger")?;
    fs::copy(stranger.public, &place.site.keys.public)?;
    let refused = place.site.sweep("web-1")?;
    assert!(refused.stderr.contains("no trusted key signed"), "{}", refused.stderr);
    assert!(!kept(&place, &root).exists());
    let left: Vec<_> = fs::read_dir(place.site.state("web-1"))?.flatten().collect();
    let partial = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".partial");
    assert!(!left.iter().any(partial), "{left:?}");
    Ok(())
}
