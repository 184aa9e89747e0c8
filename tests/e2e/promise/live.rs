//! A live machine, baked from inside: the view of PID 1, with what lies beneath
//! the mounts that the contract hides.

use std::fs;
use std::process::Command;

use anyhow::Result;
use congruent_protocol::verification::State;
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, binaries, debian, tree};

/// Starts PID 1 of its own in the root, as a build VM does.
const BOOT: &str = "mount --bind $ROOT $ROOT && cd $ROOT && mount -t proc proc proc && mount -t tmpfs tmpfs tmp \
                    && mount -t tmpfs tmpfs run && mount -t tmpfs tmpfs dev && touch tmp/over run/over dev/over \
                    && exec chroot . \"$@\"";

#[test]
fn what_lies_beneath_mounts_is_the_images() -> Result<()> {
    let sandbox = Sandbox::for_trees()?;
    let root = sandbox.path("root");
    tree::copy(debian::root()?, &root)?;
    fs::copy(binaries::path("congruent")?, root.join("usr/local/bin/congruent"))?;
    fs::write(root.join("tmp/beneath"), "left by the builder")?;
    fs::write(root.join("dev/beneath"), "a static node's place")?;
    let live = |more: &[&str]| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--fork", "--pid", "--mount", "--propagation", "private", "sh", "-ec", BOOT, "sh"]);
        unshare
            .args(["congruent", "bake", "--live", "--name", "web", "--version", "1"])
            .args(more)
            .env("ROOT", &root);
        run(unshare.env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"))
    };
    let outside = live(&["--output", "/opt/web.manifest"])?;
    assert_eq!(outside.code, Some(2));
    assert!(outside.stderr.contains("lies inside the root that is baked"), "{}", outside.stderr);
    let baked = live(&["--output", "/etc/congruent/web.manifest"])?;
    assert_eq!(baked.code, Some(0), "{}", baked.stderr);
    assert!(baked.stderr.contains("leftover"), "lint says nothing of /tmp/beneath: {}", baked.stderr);

    // From outside, with nothing mounted, it is the same tree.
    let manifest = root.join("etc/congruent/web.manifest");
    let verify = || {
        let mut verify =
            agent::command(&["verify", "--format", "json", "--insecure-unsigned", "--manifest"])?;
        agent::verification(&run(verify.arg(&manifest).arg("--root").arg(&root))?)
    };
    let verification = verify()?;
    assert_eq!((verification.state, super::found(&verification)), (State::Congruent, vec![]));
    fs::write(root.join("dev/beneath"), "other")?;
    assert_eq!(super::found(&verify()?), ["modified /dev/beneath content size"]);
    Ok(())
}
