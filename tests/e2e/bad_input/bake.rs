//! What cannot be baked leaves no manifest, and an earlier one as it was.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use congruent_tests::program::{Ended, run};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, binaries, mounts, tree};

use super::check_refusal;

/// Bakes with more arguments, once where no manifest is yet and once over an
/// earlier one; both must be refused alike and leave nothing new.
fn check(what: &str, prepare: impl Fn(&Scene) -> Result<Vec<PathBuf>>, says: &[&str]) -> Result<()> {
    for earlier in [None, Some(&b"an earlier manifest"[..])] {
        let scene = Scene::new(earlier)?;
        let arguments = prepare(&scene)?;
        let before = scene.sandbox.listing()?;
        let ended = run(agent::bake_command(&scene.root, &scene.output)?.args(arguments))?;
        check_refusal(what, &ended, says);
        assert_eq!(scene.sandbox.listing()?, before, "{what}: files were left or lost");
        assert_eq!(fs::read(&scene.output).ok().as_deref(), earlier, "{what}");
    }
    Ok(())
}

struct Scene {
    sandbox: Sandbox,
    root: PathBuf,
    output: PathBuf,
}

impl Scene {
    fn new(earlier: Option<&[u8]>) -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let (root, output) = (sandbox.path("root"), sandbox.path("web.manifest"));
        tree::small(&root)?;
        if let Some(earlier) = earlier {
            fs::write(&output, earlier)?;
        }
        Ok(Self { sandbox, root, output })
    }

    fn contract(&self, text: &str) -> Result<Vec<PathBuf>> {
        Ok(vec!["--contract".into(), self.sandbox.write("contract.toml", text)?])
    }
}

#[test]
fn contracts_that_cannot_be_held_are_refused_with_line_and_column() -> Result<()> {
    for (what, text, says) in [
        (
            "an unknown class",
            "[[rule]]\npath = '/var/log/**'\nclass = 'frozen'\n",
            &["contract.toml", "line 3, column 9", "no class `frozen`"][..],
        ),
        (
            "something forbidden of what may not change",
            "\n[[rule]]\npath = '/var/log/**'\nclass = 'immutable'\nforbid = ['exec']\n",
            &["line 4, column 9", "nothing can be forbidden of what is `immutable`"],
        ),
        ("a bad glob", "[[rule]]\npath = '/a[b'\nclass = 'ephemeral'\n", &["line 2, column 8", "`/a[b`"]),
        (
            "a relative glob",
            "rule = [{ path = 'tmp/*', class = 'ephemeral' }]\n",
            &["line 1, column 18", "must start with `/`"],
        ),
        ("an unknown key", "[[rules]]\n", &["line 1", "did you mean `rule`?"]),
        ("no TOML", "[[rule]\n", &["line 1"]),
    ] {
        check(what, |scene| scene.contract(text), says)?;
    }
    Ok(())
}

#[test]
fn what_is_no_place_is_told_what_one_is() -> Result<()> {
    let sandbox = Sandbox::new()?;
    for (source, says) in [
        ("docker-daemon:web:1", "docker save --output FILE IMAGE"),
        ("containers-storage:localhost/web", "podman save --output FILE IMAGE"),
        ("debian:12", "docker://HOST/REPOSITORY[:TAG|@DIGEST]"),
        ("no-such-folder", "is no directory that is there"),
    ] {
        let ended = run(&mut agent::bake_command(source.as_ref(), &sandbox.path("web.manifest"))?)?;
        check_refusal(source, &ended, &[source, says]);
    }
    Ok(())
}

#[test]
fn what_cannot_be_baked_leaves_nothing() -> Result<()> {
    let missing = |_: &Scene| Ok(vec!["--key".into(), "/nowhere/key.pem".into()]);
    check("no key", missing, &["/nowhere/key.pem", "No such file"])?;
    let no_key = |scene: &Scene| Ok(vec!["--key".into(), scene.root.join("etc/passwd")]);
    check("a file that is no key", no_key, &["not an Ed25519 private key", "congruent keygen"])?;
    let no_root = |scene: &Scene| {
        fs::remove_dir_all(&scene.root)?;
        Ok(Vec::new())
    };
    check("no root", no_root, &["root", "No such file"])
}

#[test]
fn a_manifest_inside_what_is_baked_would_be_drift() -> Result<()> {
    let scene = Scene::new(None)?;
    let inside = scene.root.join("etc/web.manifest");
    let ended = run(&mut agent::bake_command(&scene.root, &inside)?)?;
    check_refusal("a manifest inside", &ended, &["inside the root", "/etc/congruent/web.manifest"]);
    assert!(!inside.exists());
    Ok(())
}

#[test]
fn a_mount_that_the_contract_does_not_name_is_not_baked() -> Result<()> {
    let scene = Scene::new(Some(b"an earlier manifest"))?;
    let mount = "mount -t tmpfs none \"$ROOT/usr/share\"";
    let ended = bake_mounted(&scene, mount)?;
    check_refusal("a mount", &ended, &["/usr/share", "mount point", "tmpfs", "contract"]);
    assert_eq!(fs::read(&scene.output)?, b"an earlier manifest");
    Ok(())
}

/// The file system fills up while the manifest is written.
#[test]
fn a_full_disk_keeps_the_earlier_manifest() -> Result<()> {
    let mut scene = Scene::new(None)?;
    for index in 0..2000 {
        fs::write(scene.root.join(format!("var/log/{index}")), index.to_string())?;
    }
    let disk = scene.sandbox.path("disk");
    fs::create_dir(&disk)?;
    scene.output = disk.join("web.manifest");
    let after = scene.sandbox.path("after");
    fs::create_dir(&after)?;
    let full = format!(
        "mount -t tmpfs -o size=16k none '{0}'; echo earlier >'{0}/web.manifest'; \
         trap 'cp -a {0}/. {1}' EXIT; \"$@\"; exit $?",
        disk.display(),
        after.display()
    );
    let ended = bake_mounted(&scene, &format!("set +e; {full}"))?;
    check_refusal("a full disk", &ended, &["No space left on device"]);
    let left: Vec<_> =
        fs::read_dir(&after)?.map(|entry| entry.map(|e| e.file_name())).collect::<Result<_, _>>()?;
    assert_eq!(left, [OsStr::new("web.manifest")], "files were left");
    assert_eq!(fs::read_to_string(after.join("web.manifest"))?, "earlier\n");
    Ok(())
}

fn bake_mounted(scene: &Scene, commands: &str) -> Result<Ended> {
    let bake = agent::bake_command(&scene.root, &scene.output)?;
    run(mounts::command(commands, &scene.root, &binaries::path("congruent")?).args(bake.get_args()))
}
