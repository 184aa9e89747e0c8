//! One image for several platforms.

use std::fs;

use anyhow::{Context, Result, ensure};
use congruent_tests::agent;
use congruent_tests::program::run;
use serde_json::{Value, json};

use super::{Baked, done, refused};

/// What an OCI layout calls a tag.
const TAG: &str = "org.opencontainers.image.ref.name";

#[test]
fn of_several_platforms_all_are_baked_or_none() -> Result<()> {
    let baked = Baked::new()?;
    let other = baked.sandbox.path("other");
    fs::create_dir(&other)?;
    fs::write(other.join("only-here"), "arm")?;
    baked.add_image("arm", "arm64", &other)?;
    let layer = baked.inspect("arm", &[])?["layers"][0]["digest"].as_str().context("no layer")?.to_owned();
    let index_file = baked.layout.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&index_file)?)?;
    for named in index["manifests"].as_array_mut().context("the layout has no images")? {
        named["annotations"] = json!({ TAG: "both" });
    }
    fs::write(&index_file, index.to_string())?;
    let blob = baked.layout.join("blobs").join(layer.replace(':', "/"));
    let whole = fs::read(&blob)?;
    fs::write(&blob, &whole[..whole.len() - 1])?;

    let folder = baked.sandbox.path("manifests");
    fs::create_dir(&folder)?;
    let bake = || {
        let mut bake = agent::command(&["bake", "--name", "web", "--version", "1", "--no-lint"])?;
        bake.arg(format!("oci:{}:both", baked.layout.display()))
            .arg("--output")
            .arg(folder.join("web.manifest"));
        run(&mut bake)
    };
    refused(&bake()?, &["for linux/arm64", &layer, "get the image anew"])?;
    ensure!(fs::read_dir(&folder)?.next().is_none(), "something was written");
    fs::write(&blob, whole)?;
    done(&bake()?)?;
    for name in ["web.linux-amd64.manifest", "web.linux-arm64.manifest"] {
        ensure!(folder.join(name).is_file(), "{name} is not there");
    }
    Ok(())
}
