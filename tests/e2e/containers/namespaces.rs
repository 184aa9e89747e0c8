//! Processes of a container that see other mounts than its first.

use anyhow::{Result, ensure};
use congruent_tests::docker::Docker;
use congruent_tests::wait::{PATIENCE, wait_for};
use serde_json::Value;

use super::told;
use super::verified::{Runtime, Web, findings};

/// A container whose processes may mount.
fn start() -> Result<(Web<Docker>, String)> {
    let web = Web::on(Docker::start)?;
    let id = Runtime::sleeper(&web.runtime, "apart", &["--cap-add=SYS_ADMIN"])?;
    Ok((web, id))
}

/// Runs a script in a namespace of mounts of its own, within the container.
fn run_apart(web: &Web<Docker>, id: &str, script: &str) -> Result<()> {
    let shell = ["/usr/bin/busybox", "unshare", "-m", "/usr/bin/busybox", "sh", "-c", script];
    web.runtime.docker(&[&["exec", "--detach", id][..], &shell].concat()).map(drop)
}

fn wait_until(web: &Web<Docker>, id: &str, is_so: impl Fn(&Value) -> bool) -> Result<()> {
    let root = Runtime::data_root(&web.runtime);
    let look = || Ok(is_so(&told(&root, id)?).then_some(()));
    wait_for("the process to have mounts of its own", PATIENCE, look)
}

#[test]
fn what_another_process_has_mounted_is_found() -> Result<()> {
    let (web, id) = start()?;
    // It sees what the first sees.
    run_apart(&web, &id, "exec /usr/bin/busybox sleep 100000")?;
    let (ended, _) = web.image.verify(&web.runtime, &[&id])?;
    ensure!(ended.code == Some(0), "{}", ended.text());
    run_apart(
        &web,
        &id,
        "/usr/bin/busybox mount -t tmpfs none /usr/share && exec /usr/bin/busybox sleep 100000",
    )?;
    wait_until(&web, &id, |told| super::mount(told, "/usr/share").is_some())?;
    let (ended, told) = web.image.verify(&web.runtime, &[&id])?;
    let found = findings(&told[0]["mounts"]["findings"])?;
    ensure!(ended.code == Some(1) && found.len() == 1, "{}", told[0]["mounts"]);
    ensure!(
        found[0].path.to_string() == "/usr/share" && told[0]["upper"]["state"] == "congruent",
        "{}",
        told[0]
    );
    Ok(())
}

/// What a runtime made for one place shows nothing of another.
#[test]
fn what_a_runtime_made_is_no_cover_for_a_program() -> Result<()> {
    let (web, id) = start()?;
    web.runtime.docker(&[
        "exec",
        &id,
        "/usr/bin/busybox",
        "mount",
        "--bind",
        "/etc/hosts",
        "/usr/bin/web",
    ])?;
    let (ended, told) = web.image.verify(&web.runtime, &[&id])?;
    let found = findings(&told[0]["mounts"]["findings"])?;
    ensure!(ended.code == Some(1) && found.len() == 1, "{}", told[0]["mounts"]);
    ensure!(found[0].path.to_string() == "/usr/bin/web", "{found:?}");
    Ok(())
}

#[test]
fn a_process_with_another_root_is_a_gap() -> Result<()> {
    for root in [
        "$b mount -t tmpfs none /usr/share && $b cp $b /usr/share/busybox && cd /usr/share && $b mount --move . / && \
         exec ./busybox chroot . /busybox sleep 100000",
        // It shows none of what is mounted outside of it.
        "$b mount --bind / /usr/share && exec $b chroot /usr/share $b sleep 100000",
    ] {
        let (web, id) = start()?;
        run_apart(&web, &id, &format!("b=/usr/bin/busybox; {root}"))?;
        let says = "has a root of its own";
        wait_until(&web, &id, |told| told["gaps"].to_string().contains(says))?;
        let (ended, told) = web.image.verify(&web.runtime, &[&id])?;
        ensure!(ended.code == Some(3) && told[0]["state"] == "incomplete", "{}", told[0]);
        ensure!(told[0]["coverage"]["gaps"].to_string().contains(says), "{}", told[0]);
    }
    Ok(())
}
