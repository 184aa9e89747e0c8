//! State that is broken or hostile: it concerns its own container, and is told.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::Result;
use congruent_tests::docker::Docker;
use congruent_tests::podman::Podman;
use congruent_tests::sandbox::Sandbox;
use serde_json::{Value, json};

use super::told;

/// Whether one gap says both.
fn has_gap(container: &Value, one: &str, other: &str) -> bool {
    let mut gaps = container["gaps"].as_array().into_iter().flatten().filter_map(Value::as_str);
    gaps.any(|gap| gap.contains(one) && gap.contains(other))
}

#[test]
fn dockers_broken_state_is_told_of_its_own_container() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let mut docker = Docker::start(&sandbox.path("docker"))?;
    docker.build()?;
    let create = |name| docker.docker(&["create", "--network=none", "--name", name, "app:1", "/bin/true"]);
    let names = ["whole", "torn", "linked", "swapped", "layerless", "escaping", "lying"];
    let ids = names.into_iter().map(create).collect::<Result<Vec<_>>>()?;
    let [whole, torn, linked, swapped, layerless, escaping, lying] = &ids[..] else { unreachable!() };
    docker.stop_daemon()?;
    let root = docker.data_root();
    let state = |id: &str| root.join("containers").join(id).join("config.v2.json");
    let layers = |id: &str, file: &str| root.join("image/overlay2/layerdb/mounts").join(id).join(file);
    fs::write(state(torn), "{\"ID\":")?;
    fs::rename(state(linked), sandbox.path("config"))?;
    symlink(sandbox.path("config"), state(linked))?;
    fs::copy(state(whole), state(swapped))?;
    fs::remove_file(layers(layerless, "mount-id"))?;
    fs::write(layers(escaping, "mount-id"), "../../../..")?;
    let text = fs::read_to_string(state(lying))?.replace("\"Running\":false", "\"Running\":true");
    fs::write(state(lying), text)?;

    assert_eq!(told(&root, whole)?["gaps"], json!([]));
    let check = |id: &str, file: &str, what: &str| -> Result<()> {
        let container = told(&root, id)?;
        assert!(has_gap(&container, file, what), "{container}");
        Ok(())
    };
    check(torn, "config.v2.json is malformed", "EOF")?;
    check(linked, "config.v2.json", "cannot read")?;
    check(swapped, "config.v2.json is malformed", "of another container")?;
    check(layerless, "mount-id", "cannot read")?;
    check(escaping, "mount-id is malformed", "holds no id")?;
    check(lying, "says that it runs", "no process")?;
    assert_eq!(told(&root, lying)?["state"], "unknown");
    assert!(told(&root, escaping)?["writable"]["upper"].is_null());

    // A layer that is replaced is not one of the image, whatever its state says.
    let chain = told(&root, whole)?["layers"][0]["chain_id"].as_str().unwrap_or_default().to_owned();
    let layer = root.join("image/overlay2/layerdb/sha256").join(&chain["sha256:".len()..]).join("diff");
    fs::write(layer, format!("sha256:{}", "0".repeat(64)))?;
    check(whole, &chain["sha256:".len()..], "is not what the layer above it calls its parent")
}

#[test]
fn podmans_broken_lists_are_told() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let podman = Podman::new(&sandbox.path("podman"))?;
    podman.build()?;
    let (one, other) = (podman.create("one", &[])?, podman.create("other", &[])?);
    let root = podman.data_root();
    assert_eq!(told(&root, &one)?["gaps"], json!([]));
    // One layer is gone from the list: of the other container nothing is missing.
    let list = root.join("overlay-layers/layers.json");
    let whole = fs::read_to_string(&list)?;
    let mut layers: Value = serde_json::from_str(&whole)?;
    let own = |layer: &Value| layer["names"][0].as_str().is_some_and(|name| name.starts_with("one-"));
    if let Some(layers) = layers.as_array_mut() {
        layers.retain(|layer| !own(layer));
    }
    fs::write(&list, layers.to_string())?;
    assert!(has_gap(&told(&root, &one)?, "the layer", "is in no list"));
    assert_eq!(told(&root, &other)?["gaps"], json!([]));
    // An image's configuration that is not what its digest says.
    fs::write(&list, &whole)?;
    let digest = told(&root, &one)?["config_digest"].as_str().unwrap_or_default().to_owned();
    let image = root.join("overlay-images").join(&digest["sha256:".len()..]);
    for entry in fs::read_dir(&image)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"=")) {
            fs::write(path, "{}")?;
        }
    }
    assert!(has_gap(&told(&root, &one)?, "does not have its digest", &digest));
    // A list that is none.
    fs::write(&list, "{")?;
    let ended = super::containers(&root, &[])?;
    assert_eq!(ended.code, Some(3));
    assert!(ended.text().contains("overlay-layers/layers.json is malformed"), "{}", ended.text());
    fs::write(&list, whole)?;
    Ok(())
}
