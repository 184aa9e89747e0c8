//! A real Debian image of several layers: what is baked of it is what umoci unpacks and
//! what Docker mounts, wherever the image is read from.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use congruent_protocol::manifest::Manifest;
use congruent_tests::docker::Docker;
use congruent_tests::program::{Ended, run, succeed};
use congruent_tests::registry::{Guard, Registry};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, layered, tree};
use serde_json::Value;

/// What Docker puts into every container.
const DOCKERS_OWN: [&str; 6] =
    ["/.dockerenv", "/dev/console", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf"];

/// A place to bake the image in.
struct Layered {
    sandbox: Sandbox,
    contract: PathBuf,
}

impl Layered {
    fn new() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let contract = sandbox.write("contract.toml", "base = 'none'\n")?;
        Ok(Self { sandbox, contract })
    }

    /// Bakes what `source` names; gives where the manifest is.
    fn bake(&self, source: &str, more: &[&str]) -> Result<(Ended, PathBuf)> {
        let output = self.sandbox.path("baked.manifest");
        let mut bake =
            agent::command(&["bake", "--name", "web", "--version", "1", "--no-packages", "--no-lint"])?;
        bake.arg(source).args(more).arg("--contract").arg(&self.contract).arg("--output").arg(&output);
        Ok((run(&mut bake)?, output))
    }

    fn root_of(&self, source: &str, more: &[&str]) -> Result<String> {
        let (ended, manifest) = self.bake(source, more)?;
        ensure!(ended.code == Some(0), "cannot bake {source}: {}", ended.stderr);
        let manifest = Manifest::read_unchecked(&mut fs::File::open(manifest)?)?;
        Ok(manifest.predicate().root.to_string())
    }

    /// Copies the image elsewhere by skopeo.
    fn copy_to(&self, options: &[&str], to: &str) -> Result<()> {
        let from = source()?;
        let words = ["copy", "--quiet"].iter().chain(options).copied().chain([&from[..], to]);
        succeed("skopeo", words).map(drop)
    }
}

/// The image where umoci made it.
fn source() -> Result<String> {
    Ok(format!("oci:{}:{}", layered::layout()?.display(), layered::TAG))
}

#[test]
fn an_image_is_the_same_wherever_it_is_read() -> Result<()> {
    let layered = Layered::new()?;
    let unpacked = layered.root_of(&layered::unpacked()?.to_string_lossy(), &[])?;
    let at = |name: &str| layered.sandbox.path(name).display().to_string();
    let registry = Registry::start(&layered.sandbox.path("registry"), Guard::None)?;
    let in_registry = format!("docker://{}/team/debian:1", registry.host());
    layered.copy_to(&["--dest-tls-verify=false"], &in_registry)?;
    layered.copy_to(&[], &format!("oci-archive:{}:debian", at("oci.tar")))?;
    layered.copy_to(&[], &format!("docker-archive:{}:debian:1", at("docker.tar")))?;
    layered.copy_to(
        &["--dest-compress-format=zstd", "--dest-compress"],
        &format!("oci:{}:debian", at("zstd")),
    )?;
    for (source, more) in [
        (source()?, &[][..]),
        (format!("oci:{}:debian", at("zstd")), &[]),
        (format!("oci-archive:{}", at("oci.tar")), &[]),
        (format!("docker-archive:{}", at("docker.tar")), &[]),
        (in_registry, &["--plain-http"]),
    ] {
        assert_eq!(layered.root_of(&source, more)?, unpacked, "{source}");
    }
    Ok(())
}

#[test]
fn an_image_is_what_docker_mounts() -> Result<()> {
    let layered = Layered::new()?;
    let archive = layered.sandbox.path("docker.tar");
    layered.copy_to(&[], &format!("docker-archive:{}:web:1", archive.display()))?;
    let docker = Docker::start(&layered.sandbox.path("docker"))?;
    docker.docker(&["load", "--quiet", "--input", &archive.to_string_lossy()])?;
    docker.docker(&[
        "run",
        "--detach",
        "--network=none",
        "--name",
        "web",
        "web:1",
        "/bin/sleep",
        "100000",
    ])?;
    let told = docker.inspect("web")?;
    let merged = told["GraphDriver"]["Data"]["MergedDir"].as_str().context("nothing is mounted")?;
    let (ended, manifest) = layered.bake(&format!("docker-archive:{}", archive.display()), &[])?;
    ensure!(ended.code == Some(0), "{}", ended.stderr);
    let mut verify =
        agent::command(&["verify", "--insecure-unsigned", "--format", "json", "--root", merged])?;
    let ended = run(verify.arg("--manifest").arg(manifest))?;
    let page: Value = serde_json::from_slice(&ended.stdout).with_context(|| ended.stderr.clone())?;
    let findings = page["findings"].as_array().context("there are no findings")?;
    let paths: Vec<&str> = findings.iter().filter_map(|finding| finding["path"].as_str()).collect();
    assert!(paths.iter().all(|path| DOCKERS_OWN.contains(path)), "{paths:?}");
    assert!(paths.contains(&"/.dockerenv"), "it was looked at: {paths:?}");
    Ok(())
}

#[test]
fn altered_images_are_refused_by_the_digest_that_is_not_theirs() -> Result<()> {
    let layered = Layered::new()?;
    let layout = layered.sandbox.path("layout");
    tree::copy(&layered::layout()?, &layout)?;
    let source = format!("oci:{}:{}", layout.display(), layered::TAG);
    let blobs = layout.join("blobs/sha256");
    let mut names: Vec<_> = fs::read_dir(&blobs)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    names.sort_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len()));
    for blob in [names.first(), names.last()].into_iter().flatten() {
        let (bytes, name) =
            (fs::read(blob)?, blob.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let mut altered = bytes.clone();
        let middle = altered.len() / 2;
        altered[middle] ^= 1;
        for (what, content) in [("altered", &altered[..]), ("cut", &bytes[..middle])] {
            fs::write(blob, content)?;
            let (ended, output) = layered.bake(&source, &[])?;
            ensure!(ended.code == Some(2), "{what} {name} was taken: {}", ended.stderr);
            ensure!(!output.exists(), "{what} {name}: a manifest was written");
            ensure!(
                ended.stderr.contains("sha256:") || ended.stderr.contains(&name),
                "{what}: {}",
                ended.stderr
            );
        }
        fs::write(blob, &bytes)?;
    }
    layered.root_of(&source, &[]).map(drop)
}
