//! Random container images, in one run of `tests/peers/images/`: baked, proven by
//! the second reader to be what their layers come to, held to what umoci unpacks,
//! and altered. `CONGRUENT_SEED` asks for the same again, `CONGRUENT_CASES` for more.

use std::env;

use anyhow::{Context, Result};
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{binaries, peer};
use serde_json::Value;

const CASES: &str = "100";
/// The same images each time; others by the environment. Of some umoci disagrees with all
/// others, and which do is not known to the maker yet.
const SEED: &str = "1795700845013";

#[test]
fn random_images_are_what_their_layers_come_to() -> Result<()> {
    let seed = env::var("CONGRUENT_SEED").unwrap_or_else(|_| SEED.to_owned());
    let cases = env::var("CONGRUENT_CASES").unwrap_or_else(|_| CASES.to_owned());
    let sandbox = Sandbox::for_trees()?;
    let keys = sandbox.keygen("key")?;
    let ended = run(peer::module("images")?
        .arg(binaries::path("congruent")?)
        .args([&keys.secret, &keys.public])
        .arg(sandbox.folder())
        .args(["--seed", &seed, "--cases", &cases]))?;
    assert_eq!(ended.code, Some(0), "seed {seed}: {}{}", ended.text(), ended.stderr);
    let counts: Value = serde_json::from_slice(&ended.stdout).context(ended.text())?;
    println!("seed {seed}: {counts}");
    // Where nothing was taken away or nothing altered was still taken, little was shown.
    let [marks, altered, refused] = ["marks", "altered", "refused"].map(|name| counts[name].as_u64());
    assert!(marks > Some(0) && refused > Some(0) && refused < altered, "{counts}");
    Ok(())
}
