//! containerd's containers, from bolt files that it has locked.

use anyhow::Result;
use congruent_tests::containerd::Containerd;
use congruent_tests::podman::Podman;
use congruent_tests::sandbox::Sandbox;
use serde_json::{Value, json};

use super::{diff_ids, lowers, mount, told};

#[test]
fn all_of_containerds_containers_are_told() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let podman = Podman::new(&sandbox.path("podman"))?;
    podman.build()?;
    let archive = sandbox.path("app.tar");
    podman.podman(&["save", "--quiet", "--output", &archive.to_string_lossy(), "localhost/app:1"])?;
    let image = podman.inspect("localhost/app:1")?;

    let mut containerd = Containerd::start(&sandbox.path("containerd"))?;
    containerd.import(&archive)?;
    // Ids that no other test has: people choose them.
    let own = std::process::id();
    let (web, made) = (format!("web-{own}"), format!("made-{own}"));
    let bind = format!("--mount=type=bind,src={},dst=/bind,options=rbind:ro", sandbox.folder().display());
    containerd.sleeper("localhost/app:1", &web, &[&bind])?;
    containerd.ctr(&["container", "create", "localhost/app:1", &made])?;

    let root = containerd.data_root();
    let check = |container: &Value, state: &str| {
        assert_eq!((&container["runtime"], &container["state"]), (&json!("containerd"), &json!(state)));
        assert_eq!(container["image"], "localhost/app:1");
        let id = image["Id"].as_str().unwrap_or_default();
        assert_eq!(container["config_digest"], format!("sha256:{id}"));
        assert_eq!(json!(diff_ids(container)), image["RootFS"]["Layers"]);
        assert_eq!(container["gaps"], json!([]));
    };
    let running = told(&root, &web)?;
    check(&running, "running");
    check(&told(&root, &made)?, "created");
    assert_eq!(mount(&running, "/bind"), Some(("bind", false, true)));
    // As containerd would mount it.
    let mounts = containerd.ctr(&["snapshots", "mounts", "/target", &web])?;
    let upper = running["writable"]["upper"].as_str().unwrap_or_default();
    assert!(mounts.contains(&format!("upperdir={upper},")), "{mounts}");
    assert!(mounts.contains(&format!("lowerdir={}", lowers(&running))), "{mounts}");

    // Without its daemon all is the same.
    containerd.stop_daemon();
    assert_eq!(told(&root, &web)?, running);
    Ok(())
}
