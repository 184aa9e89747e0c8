//! Podman's containers, which are kept as CRI-O keeps its.

use anyhow::Result;
use congruent_tests::podman::Podman;
use congruent_tests::sandbox::Sandbox;
use serde_json::json;

use super::{diff_ids, lowers, mount, told};

#[test]
fn all_of_podmans_containers_are_told_as_podman_tells_them() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let podman = Podman::new(&sandbox.path("podman"))?;
    podman.build()?;
    let bind = format!("--volume={}:/bind:ro", sandbox.folder().display());
    let web = podman.sleeper("web", &["--volume=data:/data", &bind, "--tmpfs=/scratch:noexec"])?;
    let over = podman.sleeper("over", &[])?;
    podman.podman(&["stop", "--time=0", "over"])?;
    let frozen = podman.sleeper("frozen", &[])?;
    podman.podman(&["pause", "frozen"])?;
    let made = podman.create("made", &[])?;
    let image = podman.inspect("localhost/app:1")?;
    for (id, name, state) in [
        (&web, "web", "running"),
        (&over, "over", "stopped"),
        (&frozen, "frozen", "paused"),
        (&made, "made", "created"),
    ] {
        let (container, says) = (told(&podman.data_root(), id)?, podman.inspect(id)?);
        assert_eq!((&container["runtime"], &container["name"]), (&json!("podman"), &json!(name)));
        assert_eq!((&container["state"], &container["image"]), (&json!(state), &says["ImageName"]), "{name}");
        let digest = format!("sha256:{}", says["Image"].as_str().unwrap_or_default());
        assert_eq!(container["config_digest"], digest);
        assert_eq!(json!(lowers(&container)), says["GraphDriver"]["Data"]["LowerDir"]);
        assert_eq!(container["writable"]["upper"], says["GraphDriver"]["Data"]["UpperDir"]);
        assert_eq!(json!(diff_ids(&container)), image["RootFS"]["Layers"]);
        let pid = says["State"]["Pid"].as_u64().filter(|&pid| pid > 0);
        assert_eq!((container["pid"].as_u64(), &container["gaps"]), (pid, &json!([])), "{name}");
    }
    let container = told(&podman.data_root(), &web)?;
    assert_eq!(mount(&container, "/data"), Some(("volume", true, true)));
    assert_eq!(mount(&container, "/bind"), Some(("bind", false, true)));
    assert_eq!(mount(&container, "/scratch"), Some(("tmpfs", true, false)));
    assert_eq!(mount(&container, "/etc/hosts").map(|(kind, ..)| kind), Some("runtime"));
    podman.podman(&["unpause", "frozen"])?;
    Ok(())
}

#[test]
fn ids_of_a_user_namespace_are_told() -> Result<()> {
    let sandbox = Sandbox::new()?;
    sandbox.open_to_all()?;
    let podman = Podman::new(&sandbox.path("podman"))?;
    podman.build()?;
    let maps = ["--uidmap=0:100000:65536", "--gidmap=0:200000:65536"];
    let id = podman.sleeper("mapped", &maps)?;
    let container = told(&podman.data_root(), &id)?;
    assert_eq!(container["uid_map"], json!([{ "inside": 0, "outside": 100_000, "count": 65_536 }]));
    assert_eq!(container["gid_map"], json!([{ "inside": 0, "outside": 200_000, "count": 65_536 }]));
    assert_eq!((&container["state"], diff_ids(&container).len()), (&json!("running"), 3));
    assert_eq!(container["gaps"], json!([]));
    Ok(())
}
