//! Random trees, contracts, add-ons, changes and ledgers, in one run of the
//! second reader. `CONGRUENT_SEED` asks for the same again, `CONGRUENT_CASES` for more.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use congruent_tests::program::run;
use congruent_tests::sandbox::{KeyFiles, Sandbox};
use congruent_tests::{binaries, peer};
use serde_json::Value;

/// Batches end well before a program's deadline, also on a busy machine.
const BATCHES: u32 = 3;
const CASES: &str = "100";

#[test]
fn random_trees_are_held_alike() -> Result<()> {
    let seed = match env::var("CONGRUENT_SEED") {
        Ok(seed) => seed,
        Err(_) => jiff::Timestamp::now().as_millisecond().to_string(),
    };
    let cases = env::var("CONGRUENT_CASES").unwrap_or_else(|_| CASES.to_owned());
    let sandbox = Sandbox::for_trees()?;
    let keys = sandbox.keygen("key")?;
    for batch in 0..BATCHES {
        let folder = sandbox.path(format!("batch-{batch}"));
        fs::create_dir(&folder)?;
        hold(&keys, &folder, &format!("{seed}.{batch}"), &cases)?;
    }
    Ok(())
}

fn hold(keys: &KeyFiles, folder: &Path, seed: &str, cases: &str) -> Result<()> {
    let ended = run(peer::module("random_trees")?
        .arg(binaries::path("congruent")?)
        .args([&keys.secret, &keys.public])
        .arg(folder)
        .args(["--seed", seed, "--cases", cases]))?;
    assert_eq!(ended.code, Some(0), "seed {seed}: {}{}", ended.text(), ended.stderr);
    let counts: Value = serde_json::from_slice(&ended.stdout).context(ended.text())?;
    println!("seed {seed}: {counts}");
    // Where most cases ended before anything was compared, nothing was shown.
    let compared = counts["compared"].as_u64();
    assert!(compared > counts["cases"].as_u64() && counts["findings"].as_u64() > compared, "{counts}");
    Ok(())
}
