//! `congruent containers verify` over real runtimes: each change is found, in the part
//! of the container where it was made, and nothing else is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_protocol::drift::Finding;
use congruent_protocol::key::PublicKey;
use congruent_protocol::manifest::{ListedEntry, Manifest};
use congruent_protocol::trust::Trust;
use congruent_tests::containerd::Containerd;
use congruent_tests::docker::Docker;
use congruent_tests::podman::Podman;
use congruent_tests::program::{Ended, run, succeed};
use congruent_tests::sandbox::{KeyFiles, Sandbox};
use congruent_tests::{agent, tree};
use serde_json::Value;

use super::mounted::{NOT_MOUNTED, Swapped};
use crate::filesystems::disk::make_tree;
use crate::filesystems::rows::rows;
use crate::mutation::row::{Baked, Expected, Row, added, removed, row};

/// Where the image has the program that keeps a container running.
pub(super) const SLEEP: [&str; 3] = ["/usr/bin/busybox", "sleep", "100000"];
/// Only in a tree of its own does overlay rename a directory of a lower layer.
const RENAMED: &str = "a directory renamed";
/// No layer is held to what only root sees.
const TRUSTED: &str = "a trusted xattr, which the contract asks for";

/// A runtime, as far as this needs it.
pub(super) trait Runtime {
    /// Runs its command line.
    fn call(&self, words: &[&str]) -> Result<String>;
    fn data_root(&self) -> PathBuf;
    fn inspect(&self, name: &str) -> Result<Value>;

    /// Runs a container of the image `web:1`; gives its id.
    fn sleeper(&self, name: &str, options: &[&str]) -> Result<String> {
        let first = ["run", "--detach", "--network=none", "--name", name];
        self.call(&[&first[..], options, &["web:1"], &SLEEP].concat())
    }

    /// A directory of a container's, by the name that the runtime gives it.
    fn directory(&self, name: &str, which: &str) -> Result<String> {
        let told = self.inspect(name)?;
        let directory = told["GraphDriver"]["Data"][which].as_str().map(str::to_owned);
        directory.with_context(|| format!("{name} has no {which}: {}", told["GraphDriver"]))
    }
}

impl Runtime for Docker {
    fn call(&self, words: &[&str]) -> Result<String> {
        self.docker(words)
    }

    fn data_root(&self) -> PathBuf {
        Self::data_root(self)
    }

    fn inspect(&self, name: &str) -> Result<Value> {
        Self::inspect(self, name)
    }
}

impl Runtime for Podman {
    fn call(&self, words: &[&str]) -> Result<String> {
        // A host may allow fewer than Podman asks for.
        let limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--log-driver=none"];
        match words {
            ["run", more @ ..] => self.podman(&[&["run"][..], &limits, more].concat()),
            ["rm", more @ ..] => self.podman(&[&["rm", "--time=0"][..], more].concat()),
            _ => self.podman(words),
        }
    }

    fn data_root(&self) -> PathBuf {
        Self::data_root(self)
    }

    fn inspect(&self, name: &str) -> Result<Value> {
        Self::inspect(self, name)
    }
}

/// An image that a runtime imported, and what was baked of it.
pub(super) struct Image {
    sandbox: Sandbox,
    pub(super) keys: KeyFiles,
    pub(super) manifests: PathBuf,
    pub(super) baked: Baked,
}

impl Image {
    /// An image of one layer with one of each kind and attribute.
    pub(super) fn of(runtime: &impl Runtime, contract: &str) -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let root = sandbox.path("tree");
        fs::create_dir(&root)?;
        make_tree(&root)?;
        fs::copy("/bin/busybox", root.join("usr/bin/busybox")).context("busybox-static is not installed")?;
        let (archive, saved) = (sandbox.path("tree.tar"), sandbox.path("saved.tar"));
        let words = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "--create", "--file"];
        let words = words.iter().map(AsRef::as_ref).chain([
            archive.as_os_str(),
            "--directory".as_ref(),
            root.as_os_str(),
            ".".as_ref(),
        ]);
        succeed("tar", words)?;
        runtime.call(&["import", &archive.to_string_lossy(), "web:1"])?;
        runtime.call(&["save", "--output", &saved.to_string_lossy(), "web:1"])?;
        let keys = sandbox.openssl_key("key")?;
        let manifests = sandbox.path("manifests");
        fs::create_dir(&manifests)?;
        let manifest_file = manifests.join("web.manifest");
        let contract = sandbox.write("contract.toml", contract)?;
        let mut bake = agent::command(&["bake", "--name", "web", "--version", "1", "--no-lint"])?;
        bake.arg(format!("docker-archive:{}", saved.display())).arg("--output").arg(&manifest_file);
        bake.arg("--contract").arg(contract).arg("--key").arg(&keys.secret);
        let ended = run(&mut bake)?;
        ensure!(ended.code == Some(0), "bake failed: {}", ended.stderr);
        let baked = read(root, &manifest_file, &keys)?;
        Ok(Self { sandbox, keys, manifests, baked })
    }

    /// The command that verifies containers of the image.
    pub(super) fn verifying(&self, runtime: &impl Runtime) -> Result<Command> {
        let mut verify = agent::command(&["containers", "verify", "--format", "json", "--data-root"])?;
        verify.arg(runtime.data_root()).arg("--manifests").arg(&self.manifests);
        verify.arg("--trust").arg(&self.keys.public);
        Ok(verify)
    }

    /// What verify says of these containers: all of it, and of each.
    pub(super) fn verify(&self, runtime: &impl Runtime, ids: &[&str]) -> Result<(Ended, Vec<Value>)> {
        self.verify_with(runtime, ids, &[])
    }

    /// The same with a cache of layers, and more words.
    fn verify_cached(
        &self,
        runtime: &impl Runtime,
        ids: &[&str],
        words: &[&str],
    ) -> Result<(Ended, Vec<Value>)> {
        let cache = self.sandbox.path("cache");
        self.verify_with(runtime, ids, &[&["--cache", &cache.to_string_lossy()], words].concat())
    }

    fn verify_with(
        &self,
        runtime: &impl Runtime,
        ids: &[&str],
        words: &[&str],
    ) -> Result<(Ended, Vec<Value>)> {
        let ended = run(self.verifying(runtime)?.args(words).args(ids))?;
        let page: Value = serde_json::from_slice(&ended.stdout).with_context(|| ended.stderr.clone())?;
        ensure!(page["schema_version"] == 1, "{page}");
        let containers = page["containers"].as_array().context("there are no containers")?.clone();
        ensure!(containers.len() == ids.len(), "{} were asked for: {page}", ids.len());
        Ok((ended, containers))
    }
}

/// A container `web` of an image that was baked, on a runtime of its own.
pub(super) struct Web<R> {
    pub(super) runtime: R,
    pub(super) image: Image,
    pub(super) id: String,
    sandbox: Sandbox,
}

impl<R: Runtime> Web<R> {
    /// Starts the runtime in a folder, and in it the container.
    pub(super) fn on(start: impl FnOnce(&Path) -> Result<R>) -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let runtime = start(&sandbox.path("runtime"))?;
        let image = Image::of(&runtime, CONTRACT)?;
        let id = runtime.sleeper("web", &[])?;
        Ok(Self { runtime, image, id, sandbox })
    }

    /// A directory of the container's: of several the lowest.
    pub(super) fn directory(&self, which: &str) -> Result<PathBuf> {
        let told = self.runtime.directory("web", which)?;
        Ok(told.rsplit(':').next().context("there is none")?.into())
    }

    /// What verify says of the container.
    pub(super) fn verify(&self) -> Result<(Ended, Value)> {
        let (ended, mut told) = self.image.verify(&self.runtime, &[&self.id])?;
        Ok((ended, told.remove(0)))
    }
}

fn read(tree: PathBuf, manifest_file: &Path, keys: &KeyFiles) -> Result<Baked> {
    let mut file = fs::File::open(manifest_file)?;
    let trusted = PublicKey::from_pem(&fs::read_to_string(&keys.public)?)?;
    let manifest = Manifest::verify(&mut file, &Trust::any_of(vec![trusted]), jiff::Timestamp::now())?;
    let entries = manifest.entries(file)?.collect::<Result<Vec<ListedEntry>, _>>()?;
    let manifest_file = manifest_file.to_owned();
    Ok(Baked { tree, manifest, manifest_file, public_key: keys.public.clone(), entries })
}

/// Findings as rows say them.
pub(super) fn findings(list: &Value) -> Result<Vec<Expected>> {
    let findings: Vec<Finding> = serde_json::from_value(list.clone()).context("these are no findings")?;
    Ok(findings.iter().map(Expected::from).collect())
}

fn hold(row: &Row, baked: &Baked, list: &Value) -> Result<()> {
    let mut expected = (row.expect)(baked);
    expected.sort_by(|one, other| one.path.cmp(&other.path));
    let found = findings(list)?;
    ensure!(found == expected, "expected {expected:?}\n    but found {found:?}");
    Ok(())
}

/// The rows for a container: a directory is renamed as `mv` does it.
fn container_rows() -> Vec<Row> {
    let renamed = row(
        "a directory moved",
        |root| {
            let (from, to) = (root.join("usr/share/folder"), root.join("usr/share/old"));
            succeed("mv", [from, to]).map(drop)
        },
        |_| {
            let (old, new) =
                (["/usr/share/folder", "/usr/share/folder/file"], ["/usr/share/old", "/usr/share/old/file"]);
            old.map(removed).into_iter().chain(new.map(added)).collect()
        },
    );
    rows().into_iter().filter(|row| row.name != RENAMED).chain([renamed]).collect()
}

pub(super) const CONTRACT: &str = r#"
    [[rule]]
    path = "/usr/**"
    class = "immutable"
    xattrs = ["trusted.*"]

    [[rule]]
    path = "/var/**"
    class = "ephemeral"
"#;

fn each_change_of_the_writable_layer(runtime: &impl Runtime) -> Result<()> {
    let image = Image::of(runtime, CONTRACT)?;
    for (number, row) in container_rows().iter().enumerate() {
        let name = format!("row-{number}");
        let id = runtime.sleeper(&name, &[])?;
        let merged = runtime.directory(&name, "MergedDir")?;
        image.verify_cached(runtime, &[&id], &[])?;
        (row.mutate)(Path::new(&merged)).with_context(|| format!("{}: the change failed", row.name))?;
        let (ended, told) = image.verify(runtime, &[&id])?;
        let told = &told[0];
        for full_look in ["before", "after"] {
            let (_, quick) = image.verify_cached(runtime, &[&id], &["--quick"])?;
            let (name, upper) = (row.name, &quick[0]["upper"]);
            ensure!(quick[0]["coverage"]["mode"] == "quick", "{}", quick[0]["coverage"]);
            ensure!(*upper == told["upper"], "{name}, a full look {full_look} it: {upper}");
            image.verify_cached(runtime, &[&id], &[])?;
        }
        hold(row, &image.baked, &told["upper"]["findings"]).with_context(|| row.name)?;
        let is_changed = !(row.expect)(&image.baked).is_empty();
        let (state, code) = if is_changed { ("divergent", 1) } else { ("congruent", 0) };
        ensure!(told["state"] == state && ended.code == Some(code), "{}: {told}", row.name);
        ensure!(told["lower"]["state"] == "congruent", "{}: {}", row.name, told["lower"]);
        ensure!(told["lower"]["method"] == "manifest", "{}", told["lower"]);
        ensure!((told["baked_root"] == told["observed_root"]) != is_changed, "{}: {told}", row.name);
        ensure!(told["mounts"]["state"] == "congruent", "{}: {}", row.name, told["mounts"]);
        runtime.call(&["rm", "--force", &name])?;
    }
    Ok(())
}

/// What is done to the one layer that two containers lie on.
fn each_damage_to_a_lower_layer(runtime: &impl Runtime) -> Result<()> {
    let image = Image::of(runtime, CONTRACT)?;
    let ids = [runtime.sleeper("one", &[])?, runtime.sleeper("two", &[])?];
    let mut ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    ids.sort_unstable();
    let lowers = runtime.directory("one", "LowerDir")?;
    let layer = PathBuf::from(lowers.rsplit(':').next().context("there are no layers")?);
    let kept = image.sandbox.path("kept");
    tree::copy(&layer, &kept)?;
    for row in rows().iter().filter(|row| row.name != TRUSTED) {
        let (_, told) = image.verify_cached(runtime, &ids, &[])?;
        ensure!(told[0]["coverage"]["mode"] == "full", "{}", told[0]["coverage"]);
        (row.mutate)(&layer).with_context(|| format!("{}: the change failed", row.name))?;
        let (ended, told) = image.verify(runtime, &ids)?;
        let is_changed = !(row.expect)(&image.baked).is_empty();
        ensure!(ended.code == Some(i32::from(is_changed)), "{}: {}", row.name, told[0]);
        for one in &told {
            let layers = one["lower"]["layers"].as_array().context("there are no layers")?;
            ensure!(layers.len() == 1, "{}", one["lower"]);
            hold(row, &image.baked, &layers[0]["findings"]).with_context(|| row.name)?;
            ensure!(layers[0]["shared_by"] == serde_json::json!(ids), "{}", layers[0]["shared_by"]);
            ensure!(one["upper"]["state"] == "congruent", "{}: {}", row.name, one["upper"]);
        }
        let (_, quick) = image.verify_cached(runtime, &ids, &["--quick"])?;
        ensure!(quick[0]["coverage"]["mode"] == "quick", "{}", quick[0]["coverage"]);
        ensure!(quick[0]["lower"] == told[0]["lower"], "quick, {}: {}", row.name, quick[0]["lower"]);
        // Read once, for the first of the two.
        let hashed = |at: usize| told[at]["coverage"]["bytes_hashed"].as_u64();
        ensure!(hashed(0) > Some(0) && hashed(1) == Some(0), "{:?} and {:?}", hashed(0), hashed(1));
        restore(&kept, &layer)?;
        // What is mounted is what was there before; a restart would keep it so.
        runtime.call(&["stop", "--time=0", "one", "two"])?;
        runtime.call(&["start", "one", "two"])?;
    }
    let (ended, _) = image.verify(runtime, &ids)?;
    ensure!(ended.code == Some(0), "what was restored is as it was: {}", ended.stderr);
    Ok(())
}

/// Puts everything in `layer` back as it was kept.
fn restore(kept: &Path, layer: &Path) -> Result<()> {
    for entry in fs::read_dir(layer)? {
        succeed("rm", ["-rf".as_ref(), entry?.path().as_os_str()])?;
    }
    let all = kept.join(".");
    succeed("cp", ["-a".as_ref(), all.as_os_str(), layer.as_os_str()]).map(drop)
}

#[test]
fn docker_containers_are_verified() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let docker = Docker::start(&sandbox.path("docker"))?;
    each_change_of_the_writable_layer(&docker)
}

#[test]
fn docker_layers_are_verified() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let docker = Docker::start(&sandbox.path("docker"))?;
    each_damage_to_a_lower_layer(&docker)
}

/// Where a runtime may make no devices it binds the host's, and what it mounted in a
/// container is not told once that was stopped.
#[test]
fn what_podman_makes_is_no_finding() -> Result<()> {
    let web = Web::on(Podman::new)?;
    web.sandbox.open_to_all()?;
    let maps = ["--uidmap=0:100000:65536", "--gidmap=0:200000:65536"];
    let mapped = Runtime::sleeper(&web.runtime, "mapped", &maps)?;
    let (ended, told) = web.image.verify(&web.runtime, &[&mapped])?;
    ensure!(ended.code == Some(0), "{told:?}");
    web.runtime.call(&["stop", "--time", "0", "web"])?;
    let (ended, told) = web.verify()?;
    ensure!(ended.code == Some(3) && told["upper"]["state"] == "congruent", "{told}");
    let gaps = told["coverage"]["gaps"].as_array().context("there are no gaps")?;
    ensure!(gaps.len() == 1 && gaps[0]["part"] == "mounts", "its mounts are not known: {told}");
    Ok(())
}

#[test]
fn a_cache_lies_in_no_container() -> Result<()> {
    let web = Web::on(Docker::start)?;
    let merged = web.directory("MergedDir")?;
    let data_root = Runtime::data_root(&web.runtime);
    let verify = |cache: &Path| {
        let mut verify = agent::command(&["containers", "verify", "--insecure-unsigned", "--data-root"])?;
        // As people write it, from where they are.
        verify.arg(data_root.file_name().context("it has no name")?);
        verify.current_dir(data_root.parent().context("it lies nowhere")?);
        verify.arg("--manifests").arg(&web.image.manifests).arg("--cache").arg(cache);
        run(verify.arg(&web.id))
    };
    let ended = verify(&web.sandbox.path("cache"))?;
    ensure!(ended.code == Some(0), "{}{}", ended.text(), ended.stderr);
    let ended = verify(&merged.join("tmp/cache"))?;
    ensure!(ended.code == Some(2) && ended.stderr.contains("lies in the container web"), "{}", ended.stderr);
    ensure!(!merged.join("tmp/cache").exists(), "it was made");
    Ok(())
}

#[test]
fn podman_containers_are_verified() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let podman = Podman::new(&sandbox.path("podman"))?;
    each_change_of_the_writable_layer(&podman)
}

#[test]
fn podman_layers_are_verified() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let podman = Podman::new(&sandbox.path("podman"))?;
    each_damage_to_a_lower_layer(&podman)
}

/// containerd keeps no recording of archives: only a manifest says what a layer holds.
#[test]
fn containerd_containers_are_verified() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let podman = Podman::new(&sandbox.path("podman"))?;
    podman.build()?;
    let archive = sandbox.path("app.tar");
    podman.podman(&["save", "--quiet", "--output", &archive.to_string_lossy(), "localhost/app:1"])?;
    let containerd = Containerd::start(&sandbox.path("containerd"))?;
    containerd.import(&archive)?;
    let id = format!("verified-{}", std::process::id());
    containerd.sleeper("localhost/app:1", &id, &[])?;

    let manifests = sandbox.path("manifests");
    fs::create_dir(&manifests)?;
    let verify = || -> Result<(Option<i32>, Value)> {
        let mut verify =
            agent::command(&["containers", "verify", "--format", "json", "--insecure-unsigned"])?;
        verify.arg("--data-root").arg(containerd.data_root()).arg("--manifests").arg(&manifests).arg(&id);
        let ended = run(&mut verify)?;
        let page: Value = serde_json::from_slice(&ended.stdout).with_context(|| ended.stderr.clone())?;
        Ok((ended.code, page["containers"][0].clone()))
    };
    let (code, told) = verify()?;
    ensure!((code, &told["state"]) == (Some(3), &"unknown".into()), "{told}");
    ensure!(told["lower"]["state"] == "unknown" && told["lower"]["method"].is_null(), "{}", told["lower"]);

    let mut bake = agent::command(&["bake", "--name", "app", "--version", "1", "--no-lint"])?;
    bake.arg(format!("docker-archive:{}", archive.display()));
    let ended = run(bake.arg("--output").arg(manifests.join("app.manifest")))?;
    ensure!(ended.code == Some(0), "bake failed: {}", ended.stderr);
    let (code, told) = verify()?;
    ensure!((code, &told["state"]) == (Some(0), &"congruent".into()), "{told}");
    ensure!(told["lower"]["method"] == "manifest", "{}", told["lower"]);

    let upper = PathBuf::from(found(&containerd.data_root(), &id)?);
    fs::write(upper.join("written"), "by the container")?;
    let (code, told) = verify()?;
    ensure!(code == Some(1) && told["lower"]["state"] == "congruent", "{told}");
    ensure!(findings(&told["upper"]["findings"])? == [added("/written")], "{}", told["upper"]);

    fs::remove_file(upper.join("written"))?;
    let layer = told["lower"]["layers"][0]["directory"].as_str().context("there are no layers")?;
    let all = Path::new(layer).ancestors().nth(2).context("the layer lies at the root")?;
    let swapped = Swapped::new(Path::new(layer), all)?;
    let (code, told) = verify()?;
    ensure!(code == Some(3) && told["lower"]["state"] == "incomplete", "{told}");
    ensure!(told["coverage"]["gaps"].to_string().contains(NOT_MOUNTED), "{told}");
    swapped.undo()?;

    fs::write(Path::new(layer).join("etc/passwd"), "evil::0:0::/:/bin/sh\n")?;
    let (code, told) = verify()?;
    ensure!(code == Some(1) && told["upper"]["state"] == "congruent", "{told}");
    let damaged = findings(&told["lower"]["layers"][0]["findings"])?;
    ensure!(damaged.iter().map(|found| found.path.to_string()).eq(["/etc/passwd"]), "{damaged:?}");
    Ok(())
}

/// Where a container writes to.
fn found(data_root: &Path, id: &str) -> Result<String> {
    let upper = super::told(data_root, id)?["writable"]["upper"].as_str().map(str::to_owned);
    upper.context("it is not told where the container writes to")
}

/// What the contract does not expect is a finding, and what could be changed is told.
#[test]
fn mounts_are_told_and_unexpected_ones_found() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let docker = Docker::start(&sandbox.path("docker"))?;
    let contract = "[[mount]]\npath = '/data'\ncontent = 'hide'\n[[mount]]\npath = '/scratch'\ncontent = 'hide'\nflags = ['noexec', 'nosuid', 'nodev']\n";
    let image = Image::of(&docker, contract)?;
    let shared = sandbox.path("shared");
    fs::create_dir(&shared)?;
    let bind = format!("{}:/bind", shared.display());
    let expected = ["--volume=/data", "--tmpfs=/scratch"];
    let id = Runtime::sleeper(&docker, "expected", &expected)?;
    let (ended, told) = image.verify(&docker, &[&id])?;
    ensure!(ended.code == Some(0) && told[0]["mounts"]["state"] == "congruent", "{}", told[0]["mounts"]);
    let id = Runtime::sleeper(&docker, "more", &["--volume", &bind, "--tmpfs=/scratch:exec"])?;
    let (ended, told) = image.verify(&docker, &[&id])?;
    ensure!(ended.code == Some(1) && told[0]["upper"]["state"] == "congruent", "{}", told[0]);
    let paths: Vec<String> =
        findings(&told[0]["mounts"]["findings"])?.iter().map(|found| found.path.to_string()).collect();
    ensure!(paths == ["/bind", "/scratch"], "{}", told[0]["mounts"]);
    let surface = told[0]["mounts"]["surface"].as_array().context("there is no surface")?.clone();
    // Nor where the contract hides what lies beneath.
    let hidden = format!("{}:/dev/host", shared.display());
    let id = Runtime::sleeper(&docker, "hidden", &["--volume", &hidden])?;
    let (ended, told) = image.verify(&docker, &[&id])?;
    let found = findings(&told[0]["mounts"]["findings"])?;
    ensure!(ended.code == Some(1) && found.len() == 1, "{}", told[0]["mounts"]);
    ensure!(found[0].path.to_string() == "/dev/host", "{found:?}");
    // What the kernel shows the host is the host's, by whatever place; the container's own
    // is not, also where it shares the host's processes or network.
    for (options, expected) in [
        (&["--network=none", "--volume=/proc:/proc"][..], Some("/proc")),
        (&["--network=none", "--volume=/sys:/sys"], Some("/sys")),
        (&["--network=none", "--volume=/proc/sys:/kernel"], Some("/kernel")),
        (&["--network=none", "--pid=host"], None),
        (&["--network=host"], None),
    ] {
        let run = [&["run", "--detach", "--name=kernel"], options, &["web:1"], &SLEEP].concat();
        let id = docker.docker(&run)?;
        let (_, told) = image.verify(&docker, &[&id])?;
        let found = findings(&told[0]["mounts"]["findings"])?;
        let first = found.first().map(|found| found.path.to_string());
        ensure!(first.as_deref() == expected, "{options:?}: {}", told[0]["mounts"]);
        docker.docker(&["rm", "--force", "kernel"])?;
    }
    let at = |path: &str| surface.iter().find(|mount| mount["path"] == path);
    ensure!(
        at("/bind").is_some_and(|mount| mount["writable"] == true && mount["exec"] == true),
        "{surface:?}"
    );
    ensure!(at("/scratch").is_some_and(|mount| mount["kind"] == "tmpfs"), "{surface:?}");
    Ok(())
}

/// What the image is stays known, and what is gone is named.
#[test]
fn a_layer_that_is_gone_is_told() -> Result<()> {
    let web = Web::on(Docker::start)?;
    let layer = web.directory("LowerDir")?;
    let away = layer.with_file_name("away");
    fs::rename(&layer, &away)?;
    let (ended, told) = web.verify()?;
    ensure!(ended.code == Some(3) && told["manifest"]["name"] == "web", "{told}");
    let gaps = told["coverage"]["gaps"].as_array().context("there are no gaps")?;
    let says = format!("its directory {} is gone", layer.display());
    let is_told = |gap: &Value| gap["reason"].as_str().is_some_and(|reason| reason.contains(&says));
    ensure!(gaps.iter().any(is_told), "{gaps:?}");
    Ok(fs::rename(away, layer)?)
}

/// What the host shows at a layer's place may be another thing than the container does.
#[test]
fn what_is_mounted_over_a_layer_is_not_the_layer() -> Result<()> {
    let web = Web::on(Docker::start)?;
    let (layer, upper) = (web.directory("LowerDir")?, web.directory("UpperDir")?);
    for (place, part) in [(layer, "lower"), (upper, "upper")] {
        let clean = web.sandbox.path(part);
        tree::copy(&place, &clean)?;
        fs::write(place.join("planted"), "")?;
        succeed("mount", [Path::new("--bind"), &clean, &place])?;
        let seen = web.verify();
        succeed("umount", [&place])?;
        fs::remove_file(place.join("planted"))?;
        let (ended, told) = seen?;
        ensure!(ended.code == Some(3) && told[part]["state"] == "incomplete", "{part}: {told}");
        ensure!(told["coverage"]["gaps"].to_string().contains("something is mounted over"), "{told}");
    }
    // What it hides of a part of the layer is not known, and nothing that was removed.
    let part = web.directory("LowerDir")?.join("usr");
    succeed("mount", [Path::new("--bind"), &part, &part])?;
    let seen = web.verify();
    succeed("umount", [&part])?;
    let (ended, told) = seen?;
    ensure!(ended.code == Some(3) && told["lower"]["state"] == "incomplete", "{told}");
    Ok(())
}

/// What lies in Docker's own layer between image and container shows like any other.
#[test]
fn dockers_own_layer_is_held_to_what_docker_makes() -> Result<()> {
    let web = Web::on(Docker::start)?;
    let lowers = web.runtime.directory("web", "LowerDir")?;
    let init = PathBuf::from(lowers.split(':').next().context("there are no layers")?);
    let kept = web.sandbox.path("kept");
    tree::copy(&init, &kept)?;
    for (script, expected) in [
        ("rm .dockerenv etc/mtab && rmdir dev/pts", ""),
        ("chmod 1777 etc", "modified /etc"),
        ("chmod 4755 .dockerenv", "modified /.dockerenv"),
        ("chown 1:1 etc/hosts", "modified /etc/hosts"),
        ("echo 1.2.3.4 bank > etc/hosts", "modified /etc/hosts"),
        ("ln -sfn /evil etc/mtab", "modified /etc/mtab"),
        ("setfattr -n user.note -v x etc/hosts", "modified /etc/hosts"),
        ("setfattr -n trusted.overlay.opaque -v y etc", "added /etc/.wh..wh..opq"),
        ("setfattr -n trusted.overlay.redirect -v /usr etc", "modified /etc"),
        ("mknod usr c 0 0", "added /usr"),
        ("mknod etc/passwd c 0 0", "added /etc/passwd"),
        ("rm dev/console && mknod dev/console c 5 1", "replaced /dev/console"),
        ("echo x > var", "added /var"),
    ] {
        succeed("sh", ["-c", &format!("cd {} && {script}", init.display())])?;
        let (ended, told) = web.verify()?;
        let findings: Vec<Finding> = serde_json::from_value(told["upper"]["findings"].clone())?;
        let found: Vec<String> =
            findings.iter().map(|one| format!("{} {}", one.change.name(), one.path)).collect();
        ensure!(found.join(", ") == expected, "{script}: {found:?}");
        ensure!(ended.code == Some(i32::from(!expected.is_empty())), "{script}: {}", ended.stderr);
        restore(&kept, &init)?;
    }
    Ok(())
}

/// A manifest that is not accepted is told, and is none.
#[test]
fn an_image_without_an_accepted_manifest_is_unknown() -> Result<()> {
    let web = Web::on(Docker::start)?;
    let stranger = web.image.sandbox.openssl_key("stranger")?;
    let mut verify = agent::command(&["containers", "verify", "--data-root"])?;
    verify.arg(Runtime::data_root(&web.runtime)).arg("--manifests").arg(&web.image.manifests);
    let ended = run(verify.arg("--trust").arg(&stranger.public).arg(&web.id))?;
    ensure!(ended.code == Some(3), "{}{}", ended.text(), ended.stderr);
    ensure!(
        ended.stderr.contains("no container is held to") && ended.stderr.contains("no trusted key"),
        "{}",
        ended.stderr
    );
    let text = ended.text();
    for says in ["unknown: docker web", "held to  no manifest", "lower    congruent: 1 layer, by diff_id"] {
        ensure!(text.contains(says), "{says:?} is not in: {text}");
    }
    // What the digest of an archive does not show is found all the same.
    let layer = web.directory("LowerDir")?;
    succeed("chmod", ["4755".as_ref(), layer.join("usr/bin/web").as_os_str()])?;
    let ended = run(agent::command(&["containers", "verify", "--data-root"])?
        .arg(Runtime::data_root(&web.runtime))
        .arg(&web.id))?;
    let text = ended.text();
    ensure!(ended.code == Some(1), "{text}{}", ended.stderr);
    for says in
        ["damaged layer sha256:", "affects 1 container", "purge the layer", "/usr/bin/web  mode 0644 → 4755"]
    {
        ensure!(text.contains(says), "{says:?} is not in: {text}");
    }
    Ok(())
}
