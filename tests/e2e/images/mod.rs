//! Container images in real registries, made by the tools that people make them with.

mod attach;
mod authorized;
mod baked;
mod broken_lines;
mod library;
mod platforms;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use congruent_tests::agent;
use congruent_tests::program::{Ended, run, succeed};
use congruent_tests::sandbox::{KeyFiles, Sandbox};
use serde_json::Value;

/// The repository that images are pushed to.
const REPOSITORY: &str = "team/web";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image that umoci made, and its signed manifest.
struct Baked {
    sandbox: Sandbox,
    keys: KeyFiles,
    layout: PathBuf,
    manifest: PathBuf,
}

impl Baked {
    /// An image of a few files.
    fn new() -> Result<Self> {
        Self::with_files(3)
    }

    fn with_files(count: usize) -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let keys = sandbox.openssl_key("baker")?;
        let (layout, manifest) = (sandbox.path("layout"), sandbox.path("web.manifest"));
        let baked = Self { sandbox, keys, layout, manifest };
        let root = baked.sandbox.path("root");
        fs::create_dir_all(root.join("etc/congruent")).context("cannot make a tree")?;
        for number in 0..count {
            fs::write(root.join(format!("etc/file-{number}")), number.to_string()).context("cannot write")?;
        }
        succeed("umoci", ["init".as_ref(), "--layout".as_ref(), baked.layout.as_os_str()])?;
        baked.add_image("1", "amd64", &root)?;
        baked.bake("1", &root, &baked.manifest)?;
        Ok(baked)
    }

    /// Adds an image of `root` to the layout.
    fn add_image(&self, tag: &str, architecture: &str, root: &Path) -> Result<()> {
        let image = format!("{}:{tag}", self.layout.display());
        succeed("umoci", ["new", "--image", &image])?;
        succeed("umoci", ["config", "--image", &image, "--architecture", architecture])?;
        let insert = ["insert", "--image", &image].map(AsRef::as_ref);
        succeed("umoci", insert.into_iter().chain([root.as_os_str(), "/".as_ref()]))?;
        Ok(())
    }

    /// Bakes the tree of an image of the layout.
    fn bake(&self, tag: &str, root: &Path, output: &Path) -> Result<()> {
        let mut bake = agent::bake_command(root, output)?;
        bake.arg("--key").arg(&self.keys.secret);
        bake.args(["--image-config-digest", &self.config_digest(tag)?]);
        let config: Value = self.inspect(tag, &["--config"])?;
        for diff_id in config["rootfs"]["diff_ids"].as_array().context("there are no diff_ids")? {
            bake.args(["--diff-id", diff_id.as_str().context("a diff_id is no text")?]);
        }
        let ended = run(&mut bake)?;
        ensure!(ended.code == Some(0), "bake failed: {}", ended.stderr);
        Ok(())
    }

    /// What skopeo says of an image of the layout.
    fn inspect(&self, tag: &str, more: &[&str]) -> Result<Value> {
        let image = format!("oci:{}:{tag}", self.layout.display());
        let ended = succeed(
            "skopeo",
            ["inspect", "--raw"].into_iter().chain(more.iter().copied()).chain([&image[..]]),
        )?;
        serde_json::from_slice(&ended.stdout).context("skopeo told no JSON")
    }

    fn config_digest(&self, tag: &str) -> Result<String> {
        let digest = &self.inspect(tag, &[])?["config"]["digest"];
        Ok(digest.as_str().context("the manifest names no configuration")?.to_owned())
    }

    /// The digest of an image's manifest, as skopeo computes it.
    fn digest(&self, tag: &str) -> Result<String> {
        let image = format!("oci:{}:{tag}", self.layout.display());
        let raw = succeed("skopeo", ["inspect", "--raw", &image])?;
        let file = self.sandbox.write("raw.json", &raw.stdout)?;
        let ended = succeed("skopeo", ["manifest-digest".as_ref(), file.as_os_str()])?;
        Ok(ended.text().trim().to_owned())
    }

    /// Pushes an image of the layout with skopeo.
    fn push(&self, tag: &str, host: &str) -> Result<()> {
        let from = format!("oci:{}:{tag}", self.layout.display());
        succeed("skopeo", ["copy", "--quiet", "--dest-tls-verify=false", &from, &named(host, tag)])?;
        Ok(())
    }

    /// Attaches a manifest to an image in a registry.
    fn attach(&self, manifest: &Path, image: &str, more: &[&str]) -> Result<Ended> {
        run(agent::command(&["attach", "--manifest"])?.arg(manifest).arg(image).args(more))
    }

    /// Fetches the manifest of an image to `output`.
    fn fetch(&self, image: &str, output: &Path, more: &[&str]) -> Result<Ended> {
        let mut fetch = agent::command(&["fetch", image])?;
        run(fetch.arg("--output").arg(output).arg("--trust").arg(&self.keys.public).args(more))
    }
}

/// An image in a registry, by its tag.
fn named(host: &str, tag: &str) -> String {
    format!("docker://{host}/{REPOSITORY}:{tag}")
}

/// The same by its digest.
fn by_digest(host: &str, digest: &str) -> String {
    format!("docker://{host}/{REPOSITORY}@{digest}")
}

/// Asks for a command that did what it was to do.
fn done(ended: &Ended) -> Result<()> {
    ensure!(ended.code == Some(0), "{:?}: {}", ended.code, ended.stderr);
    Ok(())
}

/// Asks for a command that refused, and said all of `parts`.
fn refused(ended: &Ended, parts: &[&str]) -> Result<()> {
    ensure!(ended.code == Some(2), "{:?}: {}", ended.code, ended.stderr);
    for part in parts {
        ensure!(ended.stderr.contains(part), "{part:?} is not in {}", ended.stderr);
    }
    Ok(())
}
