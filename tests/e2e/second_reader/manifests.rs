//! Whole manifests: the frozen ones, a real Debian's, and damaged ones.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::scene::Scene;
use congruent_tests::{agent, binaries, debian, peer};
use serde_json::Value;

use super::ask;

fn vector(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors").join(name)
}

/// Holds what the second reader says of a manifest to what `congruent show` says.
fn check(manifest: &Path, key: &Path) -> Result<Value> {
    let theirs: Value = ask(&["check".as_ref(), manifest.as_os_str(), "--trust".as_ref(), key.as_os_str()])?;
    let shown = run(agent::command(&["show", "--format", "json", "--trust"])?
        .arg(key)
        .arg("--entries")
        .arg(manifest))?;
    let ours: Value = serde_json::from_slice(&shown.stdout).context(shown.stderr)?;
    assert_eq!(theirs["predicate"], ours["manifest"]);
    assert_eq!(theirs["signed_by"], ours["signed_by"]);
    assert_eq!(theirs["count"], ours["manifest"]["entries"]["count"]);
    Ok(theirs)
}

#[test]
fn the_frozen_manifests_are_read_alike() -> Result<()> {
    let expected: Value = serde_json::from_slice(&std::fs::read(vector("v2/expected.json"))?)?;
    let key = vector("openssl-ed25519.pub.pem");
    for (file, root) in [("v2/base.manifest", "base_root"), ("v2/add-on.manifest", "add_on_root")] {
        let checked = check(&vector(file), &key)?;
        assert_eq!((&checked["root"], &checked["signed_by"]), (&expected[root], &expected["signed_by"]));
    }
    let image = check(&vector("v2/image.manifest"), &key)?;
    let roots: Vec<_> =
        image["predicate"]["layers"].as_array().into_iter().flatten().map(|it| &it["root"]).collect();
    assert_eq!((&image["root"], &image["signed_by"]), (&expected["image_root"], &expected["signed_by"]));
    assert_eq!(serde_json::to_value(roots)?, expected["image_layer_roots"]);
    let [base, add_on, ledger, findings] =
        ["base.manifest", "add-on.manifest", "ledger.json", "findings.json"]
            .map(|name| vector(&format!("v2/{name}")));
    let recomputed: Value = ask(&[
        "recompute".as_ref(),
        base.as_os_str(),
        findings.as_os_str(),
        "--add-on".as_ref(),
        add_on.as_os_str(),
        "--ledger".as_ref(),
        ledger.as_os_str(),
    ])?;
    assert_eq!(recomputed["observed_root"], expected["observed_root"]);
    Ok(())
}

#[test]
fn a_debian_root_is_read_alike() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let keys = sandbox.keygen("key")?;
    for digest in ["blake3", "sha256"] {
        let manifest = sandbox.path(digest);
        let mut bake = agent::bake_command(debian::root()?, &manifest)?;
        let baked = run(bake.args(["--no-lint", "--digest", digest, "--key"]).arg(&keys.secret))?;
        assert_eq!(baked.code, Some(0), "{}", baked.stderr);
        let checked = check(&manifest, &keys.public)?;
        assert!(checked["count"].as_u64() > Some(5_000), "{}", checked["count"]);
        assert!(checked["root"].as_str().is_some_and(|root| root.starts_with(digest)));
    }
    Ok(())
}

/// The table of damages is the second reader's: `tests/peers/damages/`.
#[test]
fn what_is_damaged_is_refused_by_both() -> Result<()> {
    let scene = Scene::new()?;
    let ended = run(peer::module("damages")?
        .arg(binaries::path("congruent")?)
        .args([&scene.keys.secret, &scene.keys.public, &scene.manifest, &scene.root])
        .arg(scene.sandbox.folder()))?;
    assert_eq!(ended.code, Some(0), "{}{}", ended.text(), ended.stderr);
    let counts: Value = serde_json::from_slice(&ended.stdout).context(ended.text())?;
    assert!(counts["damages"].as_u64() > Some(200), "{counts}");
    Ok(())
}
