//! Sweeps that are killed, and go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use congruent_protocol::verification::{State, SweepMode};
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{agent, program};

use super::Swept;

/// So many files take four seconds to read at this rate.
const FILES: usize = 80;
const FILE_BYTES: usize = 50_000;
const RATE: &str = "1M";

fn large(root: &Path) -> Result<()> {
    fs::create_dir(root.join("srv"))?;
    let content: Vec<u8> = (0_u32..).flat_map(u32::to_be_bytes).take(FILE_BYTES).collect();
    (0..FILES).try_for_each(|number| Ok(fs::write(root.join(format!("srv/large-{number:03}")), &content)?))
}

fn part(swept: &Swept) -> PathBuf {
    let mut part = swept.cache.clone().into_os_string();
    part.push(".part");
    part.into()
}

fn slow(swept: &Swept) -> Result<Command> {
    let mut verify = agent::command(&[])?;
    let Swept { scene, cache } = swept;
    verify.args(agent::verify_arguments(&scene.manifest, &scene.keys.public, &scene.root));
    verify.args(["--max-bytes-per-second", RATE, "--cache"]).arg(cache);
    verify.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(verify)
}

#[test]
fn a_sweep_that_is_killed_goes_on_where_it_was() -> Result<()> {
    let swept = Swept::new(large)?;
    let mut child = slow(&swept)?.spawn()?;
    let written = wait_for("some of the sweep to be kept", PATIENCE, || {
        ensure!(child.try_wait()?.is_none(), "the sweep ended before it could be killed");
        let size = fs::metadata(part(&swept)).map_or(0, |metadata| metadata.len());
        Ok((size > 600).then_some(()))
    });
    // kill -9
    program::end(&mut child);
    written?;
    assert!(!swept.cache.exists(), "half a sweep is no cache");
    let ended = swept.verify(&[])?;
    let resumed = agent::verification(&ended)?;
    let coverage = &resumed.coverage;
    assert_eq!((resumed.state, coverage.mode), (State::Congruent, SweepMode::Full), "{}", ended.stderr);
    assert!(coverage.entries_recalled > 0, "nothing was kept");
    assert!(coverage.bytes_hashed < (FILES * FILE_BYTES) as u64, "all was read again");
    let began = format!("going on with the sweep that began at {}", coverage.started_at);
    assert!(ended.stderr.contains(&began), "{}", ended.stderr);
    assert!(swept.cache.exists() && !part(&swept).exists());
    // That one is over: the next begins anew.
    let next = swept.look(SweepMode::Full, &[])?;
    assert_eq!(next.coverage.entries_recalled, 0);
    assert!(next.coverage.started_at > coverage.started_at);
    Ok(())
}

#[test]
fn what_changed_while_it_was_down_is_found() -> Result<()> {
    let swept = Swept::new(large)?;
    let mut child = slow(&swept)?.spawn()?;
    let written = wait_for("some of the sweep to be kept", PATIENCE, || {
        let size = fs::metadata(part(&swept)).map_or(0, |metadata| metadata.len());
        Ok((size > 600).then_some(()))
    });
    program::end(&mut child);
    written?;
    // It comes early in the tree, so it had been read.
    fs::write(swept.scene.root.join("etc/passwd"), "changed")?;
    let resumed = agent::verification(&swept.verify(&[])?)?;
    let found: Vec<_> = resumed.findings.iter().map(|finding| finding.path.to_string()).collect();
    assert_eq!(found, ["/etc/passwd"]);
    assert!(resumed.coverage.entries_recalled > 0);
    Ok(())
}

#[test]
fn two_at_once_do_not_share_a_cache() -> Result<()> {
    let swept = Swept::new(large)?;
    let mut child = slow(&swept)?.spawn()?;
    let begun = wait_for("the sweep to begin", PATIENCE, || Ok(part(&swept).exists().then_some(())));
    let second = swept.verify(&[]);
    program::end(&mut child);
    begun?;
    let second = second?;
    assert_eq!(second.code, Some(2), "{}", second.stderr);
    assert!(second.stderr.contains("another sweep uses the cache"), "{}", second.stderr);
    assert!(second.stderr.contains("give this one a cache of its own"), "{}", second.stderr);
    Ok(())
}
