//! A base and its add-ons: at the node and at the collector.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use congruent_protocol::verification::State;
use congruent_tests::program::run;
use congruent_tests::scene::Scene;
use congruent_tests::site::{Settings, Site};
use congruent_tests::{agent, tree};

use super::found;
use crate::bad_input::check_refusal;
use crate::watch::{node, sweep};

const CONTRACT: &str = "[[rule]]\npath = '/opt/cni'\nclass = 'add-on'\n\
                        [[rule]]\npath = '/opt/cni/**'\nclass = 'add-on'\nforbid = ['setuid']\n";

/// Puts a plugin where the contract lets an add-on be.
fn plant(root: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(root.join("opt/cni/bin"))?;
    fs::write(root.join("opt/cni/bin").join(name), format!("plugin {name}\n"))?;
    Ok(())
}

/// An add-on's manifest, baked from a tree of its own.
fn add_on(scene: &Scene, name: &str) -> Result<PathBuf> {
    let (tree, manifest) =
        (scene.sandbox.path(format!("{name}-tree")), scene.sandbox.path(format!("{name}.manifest")));
    plant(&tree, name)?;
    bake_add_on(&tree, name, &scene.keys.secret, &manifest)?;
    Ok(manifest)
}

fn bake_add_on(tree: &Path, name: &str, key: &Path, manifest: &Path) -> Result<()> {
    let mut bake = agent::command(&["bake", "--add-on", "--version", "1", "--name", name, "--key"])?;
    let baked = run(bake.arg(key).arg("--output").arg(manifest).arg(tree))?;
    assert_eq!(baked.code, Some(0), "{}", baked.stderr);
    Ok(())
}

#[test]
fn add_ons_are_held_to_entry_by_entry() -> Result<()> {
    let scene = Scene::unbaked()?;
    fs::create_dir(scene.root.join("opt"))?;
    let contract = scene.sandbox.write("web.contract.toml", CONTRACT)?;
    agent::bake(&scene.root, Some(&contract), &scene.keys, &scene.manifest)?;
    let (bridge, host) = (add_on(&scene, "bridge")?, add_on(&scene, "host")?);
    plant(&scene.root, "bridge")?;
    plant(&scene.root, "host")?;
    let with = |manifests: &[&PathBuf]| {
        let words =
            manifests.iter().flat_map(|manifest| ["--add-on".into(), manifest.as_os_str().to_owned()]);
        scene.verification(words.collect::<Vec<_>>())
    };
    let both = with(&[&bridge, &host])?;
    assert_eq!((both.state, found(&both)), (State::Congruent, vec![]));
    assert_eq!(both.add_ons.len(), 2);
    assert!(both.baked_root != both.manifest.root && both.baked_root == both.observed_root);
    assert_eq!(found(&with(&[&bridge])?), ["added /opt/cni/bin/host"]);
    assert_eq!(found(&with(&[])?).len(), 4, "without add-ons all of it is drift");
    fs::write(scene.root.join("opt/cni/bin/host"), "other")?;
    fs::remove_file(scene.root.join("opt/cni/bin/bridge"))?;
    let changed = found(&with(&[&bridge, &host])?);
    assert_eq!(changed, ["removed /opt/cni/bin/bridge", "modified /opt/cni/bin/host content size"]);
    Ok(())
}

#[test]
fn add_ons_that_do_not_fit_are_refused() -> Result<()> {
    let scene = Scene::under(CONTRACT)?;
    let (bridge, outside) = (add_on(&scene, "bridge")?, scene.sandbox.path("outside.manifest"));
    let (twin, twin_tree) = (scene.sandbox.path("twin.manifest"), scene.sandbox.path("twin-tree"));
    plant(&twin_tree, "bridge")?;
    fs::write(twin_tree.join("opt/cni/bin/bridge"), "of another")?;
    bake_add_on(&twin_tree, "twin", &scene.keys.secret, &twin)?;
    fs::create_dir(twin_tree.join("etc"))?;
    fs::write(twin_tree.join("etc/passwd"), "root::0:0::/:/bin/sh\n")?;
    bake_add_on(&twin_tree, "outside", &scene.keys.secret, &outside)?;
    let base = &scene.manifest;
    for (what, add_ons, says) in [
        (
            "two that claim one path",
            vec![&bridge, &twin],
            &["bridge and twin both hold /opt/cni/bin/bridge"][..],
        ),
        ("outside of its places", vec![&outside], &["outside holds /etc", "calls immutable"]),
        ("the same twice", vec![&bridge, &bridge], &["two manifests named \"bridge\""]),
        ("a base", vec![base], &["is a base", "given as an add-on"]),
    ] {
        let words = add_ons.into_iter().flat_map(|manifest| ["--add-on".as_ref(), manifest.as_os_str()]);
        let trust = ["--trust".as_ref(), scene.keys.public.as_os_str()];
        check_refusal(what, &scene.verify(trust.into_iter().chain(words))?, says);
    }
    let mut verify = agent::command(&["verify", "--insecure-unsigned", "--manifest"])?;
    let alone = run(verify.arg(&bridge).arg("--root").arg(&scene.root))?;
    check_refusal("an add-on alone", &alone, &["is an add-on, and is given as a base"]);
    let mut bake = agent::command(&[
        "bake",
        "--add-on",
        "--name",
        "a",
        "--version",
        "1",
        "--contract",
        "x",
        "--output",
    ])?;
    check_refusal(
        "a contract for an add-on",
        &run(bake.arg(&outside).arg(&twin_tree))?,
        &["cannot be used with"],
    );
    Ok(())
}

#[test]
fn the_collector_holds_a_node_to_its_stack() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let (baked, contract) = (site.sandbox.path("baked"), site.sandbox.write("c.toml", CONTRACT)?);
    fs::create_dir(baked.join("opt"))?;
    agent::bake(&baked, Some(&contract), &site.keys, &site.manifest())?;
    let (add_on_tree, root) = (site.sandbox.path("bridge-tree"), site.root("web-1"));
    fs::remove_dir_all(&root)?;
    tree::copy(&baked, &root)?;
    plant(&add_on_tree, "bridge")?;
    plant(&root, "bridge")?;
    bake_add_on(&add_on_tree, "bridge", &site.keys.secret, &site.sandbox.path("bridge.manifest"))?;
    let settings = Settings { more_of_group: "add-ons = [\"bridge.manifest\"]\n", ..Settings::default() };
    let collector = site.collect(&settings)?;
    let agent = site.sandbox.path("web-1.toml");
    let toml = fs::read_to_string(&agent)?;
    fs::write(&agent, format!("add-ons = [\"bridge.manifest\"]\n{toml}"))?;
    sweep(&site, "web-1", 0)?;
    assert_eq!(node(&collector, "web-1")?["state"], "congruent");
    fs::write(root.join("opt/cni/bin/bridge"), "mined")?;
    sweep(&site, "web-1", 1)?;
    let found = node(&collector, "web-1")?;
    assert_eq!((&found["state"], &found["findings"][0]["class"]), (&"divergent".into(), &"add-on".into()));
    drop(collector);

    // The same add-on, of a group that does not accept it.
    let collector = site.collect(&Settings::default())?;
    let toml = fs::read_to_string(&agent)?;
    fs::write(&agent, format!("add-ons = [\"bridge.manifest\"]\n{toml}"))?;
    sweep(&site, "web-1", 1)?;
    assert_eq!(node(&collector, "web-1")?["state"], "unknown");
    Ok(())
}
