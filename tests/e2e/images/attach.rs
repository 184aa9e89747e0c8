//! Manifests beside their images, in a registry that keeps no referrers and in one
//! that does.

use std::fs;
use std::thread;

use anyhow::{Context, Result, ensure};
use congruent_tests::registry::{Guard, Registry};
use congruent_tests::registry_front::{Front, Rules};
use serde_json::{Value, json};

use super::{Baked, OCI_INDEX, by_digest, done, named, refused};

const PLAIN: &[&str] = &["--plain-http"];

/// The index under the tag for what refers to an image.
fn tagged(registry: &Registry, digest: &str) -> Result<Value> {
    let path = format!("/v2/{}/manifests/{}", super::REPOSITORY, digest.replace(':', "-"));
    let url = format!("http://{}{path}", registry.host());
    let answer =
        congruent_tests::program::succeed("curl", ["-sf", "-H", &format!("Accept: {OCI_INDEX}"), &url])?;
    serde_json::from_slice(&answer.stdout).context("the tag holds no index")
}

#[test]
fn a_manifest_is_found_by_its_images_digest() -> Result<()> {
    let baked = Baked::new()?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::None)?;
    let (host, digest) = (registry.host(), baked.digest("1")?);
    baked.push("1", &host)?;
    // What others attached stays: here, the image itself stands for it, since a registry looks.
    let theirs = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest,
        "size": baked.inspect("1", &[])?.to_string().len(), "artifactType": "application/vnd.example",
        "annotations": {"by": "others"},
    });
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [theirs]});
    let tag = digest.replace(':', "-");
    registry.put_manifest(super::REPOSITORY, &tag, OCI_INDEX, index.to_string().as_bytes())?;

    let attached = baked.attach(&baked.manifest, &named(&host, "1"), PLAIN)?;
    done(&attached)?;
    ensure!(
        attached.stderr.contains(&digest) && attached.stderr.contains("linux/amd64"),
        "{}",
        attached.stderr
    );
    let after = tagged(&registry, &digest)?;
    assert_eq!(after["manifests"].as_array().map(Vec::len), Some(2));
    assert_eq!(after["manifests"][0], theirs);

    let again = baked.attach(&baked.manifest, &by_digest(&host, &digest), PLAIN)?;
    done(&again)?;
    ensure!(again.stderr.contains("is attached already"), "{}", again.stderr);
    assert_eq!(tagged(&registry, &digest)?, after);

    let fetched = baked.sandbox.path("fetched.manifest");
    done(&baked.fetch(&by_digest(&host, &digest), &fetched, PLAIN)?)?;
    assert_eq!(fs::read(&fetched)?, fs::read(&baked.manifest)?);
    Ok(())
}

#[test]
fn only_what_is_of_the_image_is_attached_and_only_what_is_trusted_is_fetched() -> Result<()> {
    let baked = Baked::new()?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::None)?;
    let host = registry.host();
    fs::write(baked.sandbox.path("root/etc/more"), "more")?;
    baked.add_image("2", "amd64", &baked.sandbox.path("root"))?;
    for tag in ["1", "2"] {
        baked.push(tag, &host)?;
    }
    let other = baked.attach(&baked.manifest, &named(&host, "2"), PLAIN)?;
    refused(&other, &[&baked.config_digest("1")?, &baked.config_digest("2")?])?;
    refused(&baked.attach(&baked.manifest, &named(&host, "3"), PLAIN)?, &["the manifest 3", "is not at"])?;
    refused(&baked.attach(&baked.manifest, "oci:layout", PLAIN)?, &["in no registry"])?;
    let without = baked.sandbox.path("without.manifest");
    congruent_tests::agent::bake(&baked.sandbox.path("root"), None, &baked.keys, &without)?;
    refused(&baked.attach(&without, &named(&host, "1"), PLAIN)?, &["does not say of which image"])?;

    let fetched = baked.sandbox.path("fetched.manifest");
    refused(&baked.fetch(&named(&host, "1"), &fetched, PLAIN)?, &["no manifest is attached"])?;
    done(&baked.attach(&baked.manifest, &named(&host, "1"), PLAIN)?)?;
    let stranger = baked.sandbox.openssl_key("stranger")?;
    let mut fetch =
        congruent_tests::agent::command(&["fetch", "--plain-http", &named(&host, "1"), "--output"])?;
    fetch.arg(&fetched).arg("--trust").arg(&stranger.public);
    refused(&congruent_tests::program::run(&mut fetch)?, &["passed over", "none of what is attached"])?;
    ensure!(!fetched.exists(), "what nobody trusts was written");
    Ok(())
}

#[test]
fn of_an_image_for_several_platforms_one_is_meant() -> Result<()> {
    let baked = Baked::new()?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::None)?;
    let host = registry.host();
    baked.add_image("arm", "arm64", &baked.sandbox.path("root"))?;
    let mut named_by_index = Vec::new();
    for (tag, architecture) in [("1", "amd64"), ("arm", "arm64")] {
        baked.push(tag, &host)?;
        named_by_index.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": baked.digest(tag)?,
            "size": fs::metadata(baked.sandbox.path("raw.json"))?.len(),
            "platform": {"os": "linux", "architecture": architecture},
        }));
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": named_by_index});
    registry.put_manifest(super::REPOSITORY, "both", OCI_INDEX, index.to_string().as_bytes())?;
    let arm = baked.sandbox.path("arm.manifest");
    baked.bake("arm", &baked.sandbox.path("root"), &arm)?;

    let both = named(&host, "both");
    let attached = baked.attach(&arm, &both, PLAIN)?;
    done(&attached)?;
    ensure!(attached.stderr.contains(&baked.digest("arm")?), "{}", attached.stderr);
    let fetched = baked.sandbox.path("fetched.manifest");
    refused(&baked.fetch(&both, &fetched, PLAIN)?, &["linux/amd64, linux/arm64", "--platform"])?;
    let of = |platform| baked.fetch(&both, &fetched, &["--plain-http", "--platform", platform]);
    refused(&of("linux/amd64")?, &["no manifest is attached"])?;
    refused(&of("linux/s390x")?, &["no image for linux/s390x"])?;
    done(&of("linux/arm64")?)?;
    assert_eq!(fs::read(&fetched)?, fs::read(&arm)?);
    Ok(())
}

#[test]
fn a_registry_without_tls_is_told_as_one() -> Result<()> {
    let baked = Baked::new()?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::None)?;
    let image = named(&registry.host(), "1");
    refused(&baked.fetch(&image, &baked.sandbox.path("fetched"), &[])?, &["without TLS", "--plain-http"])?;
    refused(&baked.attach(&baked.manifest, &image, &[])?, &["without TLS", "--plain-http"])
}

#[test]
fn who_attaches_at_once_loses_nothing() -> Result<()> {
    let baked = Baked::new()?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::None)?;
    let (host, digest) = (registry.host(), baked.digest("1")?);
    baked.push("1", &host)?;
    let manifests: Vec<_> = (0..4).map(|number| baked.sandbox.path(format!("{number}.manifest"))).collect();
    for manifest in &manifests {
        baked.bake("1", &baked.sandbox.path("root"), manifest)?;
    }
    let ended: Vec<_> = thread::scope(|threads| {
        let attach = |manifest| baked.attach(manifest, &named(&host, "1"), PLAIN);
        let begun: Vec<_> =
            manifests.iter().map(|manifest| threads.spawn(move || attach(manifest))).collect();
        begun
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
            .collect()
    });
    for ended in ended {
        done(&ended?)?;
    }
    assert_eq!(tagged(&registry, &digest)?["manifests"].as_array().map(Vec::len), Some(manifests.len()));
    // The latest is the one that counts.
    let fetched = baked.sandbox.path("fetched.manifest");
    done(&baked.fetch(&named(&host, "1"), &fetched, PLAIN)?)?;
    assert_eq!(fs::read(&fetched)?, fs::read(&manifests[3])?);
    Ok(())
}

#[test]
fn a_registry_that_fails_for_a_moment_is_asked_again() -> Result<()> {
    let baked = Baked::new()?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::None)?;
    let front = Front::start(&registry.host(), Rules { fails: 2, ..Rules::default() })?;
    baked.push("1", &registry.host())?;
    done(&baked.attach(&baked.manifest, &named(&front.host(), "1"), PLAIN)?)?;
    assert_eq!(tagged(&registry, &baked.digest("1")?)?["manifests"].as_array().map(Vec::len), Some(1));
    let writes = front
        .seen()
        .iter()
        .filter(|seen| seen.line.starts_with("PUT ") && seen.line.contains("/manifests/"))
        .count();
    assert_eq!(writes, 4, "each of the two manifests, and twice again");
    Ok(())
}

#[test]
fn a_registry_that_keeps_referrers_gets_no_tag() -> Result<()> {
    let baked = Baked::new()?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::None)?;
    let front = Front::start(&registry.host(), Rules { keeps_referrers: true, ..Rules::default() })?;
    let (host, digest) = (front.host(), baked.digest("1")?);
    baked.push("1", &registry.host())?;
    done(&baked.attach(&baked.manifest, &named(&host, "1"), PLAIN)?)?;
    let again = baked.attach(&baked.manifest, &named(&host, "1"), PLAIN)?;
    ensure!(again.stderr.contains("is attached already"), "{}", again.stderr);
    let tags = registry.get(&format!("/v2/{}/tags/list", super::REPOSITORY))?;
    assert_eq!(tags.json::<Value>()?["tags"], json!(["1"]));
    let fetched = baked.sandbox.path("fetched.manifest");
    done(&baked.fetch(&by_digest(&host, &digest), &fetched, PLAIN)?)?;
    assert_eq!(fs::read(&fetched)?, fs::read(&baked.manifest)?);
    Ok(())
}
