//! What a container has mounted may be another thing than what the host shows under its
//! layers' names: overlay holds directories, and the host may rename them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use congruent_tests::docker::Docker;
use congruent_tests::podman::Podman;
use congruent_tests::program::run;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{agent, tree};
use rustix::fs::removexattr;
use serde_json::{Value, json};

use super::verified::{CONTRACT, Image, Runtime, Web};

/// Changes all there is, again and again: copies files up, hides directories by others,
/// renames and links.
const BUSY: &str = r#"
    b=/usr/bin/busybox
    cd /var
    while :; do
        $b mkdir -p a/b /made && echo > a/b/file && $b mv a c && $b ln c/b/file other && $b mv other c/file
        $b cp /etc/passwd /etc/new && $b mv /etc/new /etc/passwd && $b ln /etc/passwd /etc/more
        $b chmod 600 /usr/share/linked /usr/share/labelled && echo >> /etc/web.conf
        $b rm -rf c log /made /etc/more /usr/share/folder /usr/share/doc /usr/share/removed
        $b mkdir -p log /usr/share/folder && echo > /usr/share/folder/file && $b mv log /usr/share/doc
    done
"#;

/// What is said of a layer that is not the one that is mounted.
pub(super) const NOT_MOUNTED: &str = "is not what the container has mounted";

/// The gaps of a container that say so: of which part, and at which path.
fn replaced(container: &Value) -> Vec<(&str, Option<&str>)> {
    let gaps = container["coverage"]["gaps"].as_array().into_iter().flatten();
    let is_so = |gap: &&Value| gap["reason"].as_str().is_some_and(|reason| reason.contains(NOT_MOUNTED));
    gaps.filter(is_so).map(|gap| (gap["part"].as_str().unwrap_or_default(), gap["path"].as_str())).collect()
}

/// A directory whose name shows a clean copy, until this is undone.
pub(super) struct Swapped {
    place: PathBuf,
    aside: PathBuf,
}

impl Swapped {
    /// Puts it aside out of all layers: found under another name in one, it would get that
    /// name in the container too.
    pub(super) fn new(place: &Path, folder: &Path) -> Result<Self> {
        let aside = folder.join("aside");
        fs::rename(place, &aside)?;
        tree::copy(&aside, place)?;
        Ok(Self { place: place.to_owned(), aside })
    }

    pub(super) fn undo(self) -> Result<()> {
        fs::remove_dir_all(&self.place)?;
        Ok(fs::rename(self.aside, self.place)?)
    }
}

fn a_directory_that_was_put_aside_is_told(web: &Web<impl Runtime>) -> Result<()> {
    let runtime = &web.runtime;
    let (layer, upper) = (web.directory("LowerDir")?, web.directory("UpperDir")?);
    let all = layer.ancestors().nth(2).context("the layer lies at the root")?;
    let is_clean = || -> Result<()> {
        let (ended, told) = web.verify()?;
        ensure!(ended.code == Some(0), "{}: {told}", ended.stderr);
        Ok(())
    };
    is_clean()?;

    let swapped = Swapped::new(&layer, all)?;
    let (ended, told) = web.verify()?;
    ensure!(ended.code == Some(3) && told["state"] == "incomplete", "{told}");
    ensure!(told["lower"]["state"] == "incomplete", "{}", told["lower"]);
    ensure!(told["upper"]["state"] == "congruent", "{}", told["upper"]);
    let gap = &told["coverage"]["gaps"][0];
    ensure!(gap["layer"] == told["lower"]["layers"][0]["diff_id"], "{gap}");
    let reason = gap["reason"].as_str().unwrap_or_default();
    ensure!(reason.contains(&layer.display().to_string()) && reason.contains(NOT_MOUNTED), "{gap}");
    // It is what the container runs, and the copy what a later one does.
    fs::write(swapped.aside.join("usr/bin/web"), "#!/bin/sh\necho mined\n")?;
    let shown = runtime.call(&["exec", "web", "/usr/bin/busybox", "cat", "/usr/bin/web"])?;
    ensure!(shown.contains("mined"), "{shown}");
    let later = runtime.sleeper("later", &[])?;
    let (ended, told) = web.image.verify(runtime, &[&later])?;
    ensure!(ended.code == Some(0), "{}: {}", ended.stderr, told[0]);
    // What differs comes before what was not seen.
    fs::write(upper.join("written"), "")?;
    let (ended, told) = web.verify()?;
    ensure!(ended.code == Some(1) && told["state"] == "divergent", "{told}");
    ensure!(replaced(&told).len() == 1, "{}", told["coverage"]);
    fs::remove_file(upper.join("written"))?;
    runtime.call(&["rm", "--force", "later"])?;
    fs::copy(layer.join("usr/bin/web"), swapped.aside.join("usr/bin/web"))?;
    swapped.undo()?;
    is_clean()?;

    // A directory that the container has not looked at yet it would find in the copy.
    runtime.call(&["exec", "web", "/usr/bin/busybox", "ls", "/usr/share/folder"])?;
    let swapped = Swapped::new(&layer.join("usr/share/folder"), all)?;
    let (ended, told) = web.verify()?;
    ensure!(replaced(&told) == [("lower", Some("/usr/share/folder"))], "{}", told["coverage"]);
    ensure!(ended.code == Some(3) && told["lower"]["state"] == "incomplete", "{told}");
    swapped.undo()?;
    is_clean()?;

    let swapped = Swapped::new(&upper, all)?;
    let (ended, told) = web.verify()?;
    ensure!(ended.code == Some(3) && told["upper"]["state"] == "incomplete", "{told}");
    ensure!(replaced(&told) == [("upper", None)], "{}", told["coverage"]);
    swapped.undo()?;
    is_clean()?;

    runtime.call(&[
        "exec",
        "web",
        "/usr/bin/busybox",
        "sh",
        "-c",
        "mkdir /var/made && echo > /var/made/file",
    ])?;
    let swapped = Swapped::new(&upper.join("var/made"), all)?;
    // Of what was written just now nothing is told.
    let is_told = || Ok((replaced(&web.verify()?.1) == [("upper", Some("/var/made"))]).then_some(()));
    wait_for("the copy to have lain for a while", PATIENCE, is_told)?;
    swapped.undo()
}

#[test]
fn what_docker_mounted_is_told_from_a_copy() -> Result<()> {
    a_directory_that_was_put_aside_is_told(&Web::on(Docker::start)?)
}

#[test]
fn what_podman_mounted_is_told_from_a_copy() -> Result<()> {
    a_directory_that_was_put_aside_is_told(&Web::on(Podman::new)?)
}

/// Layers of which a higher one hides what a lower one has, in each way there is.
const HIDING: &str = "FROM base:1
RUN b=/bin/busybox; $b mkdir -p opaque gone over part/in put && for path in opaque/file gone/file over/file part/in/file \\
    put/file gone.file over.file; do echo 1 > $path; done
RUN b=/bin/busybox; $b rm -r opaque gone gone.file && $b mkdir opaque && for path in opaque/other over/file part/in/other \\
    over.file; do echo 2 > $path; done
";

/// What a layer lost that hid what lies below still hides it. That is damage of the one
/// layer, and the other has what it had.
#[test]
fn what_a_higher_layer_lost_is_no_gap_of_a_lower_one() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let docker = Docker::start(&sandbox.path("docker"))?;
    docker.build()?;
    fs::create_dir(sandbox.path("context"))?;
    sandbox.write("context/Dockerfile", HIDING)?;
    let context = sandbox.path("context");
    docker.docker(&["build", "--quiet", "--network=none", "--tag=app:1", &context.to_string_lossy()])?;
    let id = docker.sleeper("web", &[])?;
    let lowers = docker.directory("web", "LowerDir")?;
    let [_init, higher, lower, _base] = &lowers.split(':').map(Path::new).collect::<Vec<_>>()[..] else {
        anyhow::bail!("there are other layers: {lowers}");
    };
    // Overlay remembers what it was asked for.
    docker.docker(&["exec", "web", "/bin/busybox", "find", "/", "-xdev"])?;
    let hidden = ["/gone", "/gone.file", "/opaque/file"];
    for path in hidden {
        docker.docker(&["exec", "web", "/bin/busybox", "test", "!", "-e", path])?;
    }
    let verify = || -> Result<Value> {
        let mut verify = agent::command(&["containers", "verify", "--format", "json", "--data-root"])?;
        let ended = run(verify.arg(docker.data_root()).arg(&id))?;
        let page: Value = serde_json::from_slice(&ended.stdout).with_context(|| ended.stderr.clone())?;
        Ok(page["containers"][0].clone())
    };
    let told = verify()?;
    ensure!(told["lower"]["state"] == "congruent" && told["coverage"]["gaps"] == json!([]), "{told}");

    removexattr(higher.join("opaque"), "trusted.overlay.opaque")?;
    for file in ["gone", "gone.file", "over.file"] {
        fs::remove_file(higher.join(file))?;
    }
    for directory in ["over", "part"] {
        fs::remove_dir_all(higher.join(directory))?;
    }
    let told = verify()?;
    ensure!(told["lower"]["state"] == "divergent", "{told}");
    let layers = told["lower"]["layers"].as_array().context("there are no layers")?;
    let findings = layers[2]["findings"].as_array().context("there are no findings")?;
    let mut lost: Vec<_> = findings.iter().filter_map(|finding| finding["path"].as_str()).collect();
    lost.sort_unstable();
    let expected = [
        "/gone",
        "/gone.file",
        "/opaque/.wh..wh..opq",
        "/over",
        "/over.file",
        "/over/file",
        "/part",
        "/part/in",
        "/part/in/other",
    ];
    ensure!(lost == expected, "{lost:?}");
    ensure!(layers[1]["state"] == "congruent", "{}", layers[1]);
    ensure!(told["coverage"]["gaps"] == json!([]), "{}", told["coverage"]);
    for path in hidden {
        docker.docker(&["exec", "web", "/bin/busybox", "test", "!", "-e", path])?;
    }

    // What nothing above had is another thing all the same.
    let all = lower.ancestors().nth(2).context("the layer lies at the root")?;
    let swapped = Swapped::new(&lower.join("put"), all)?;
    let told = verify()?;
    ensure!(replaced(&told) == [("lower", Some("/put"))], "{}", told["coverage"]);
    swapped.undo()
}

/// What a container does itself is no other thing than what it has mounted, however often
/// it does it while it is looked at.
#[test]
fn a_container_that_is_busy_has_its_own_layers() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let docker = Docker::start(&sandbox.path("docker"))?;
    let image = Image::of(&docker, CONTRACT)?;
    let run =
        ["run", "--detach", "--network=none", "--name=busy", "web:1", "/usr/bin/busybox", "sh", "-c", BUSY];
    let id = docker.docker(&run)?;
    let upper = PathBuf::from(docker.directory("busy", "UpperDir")?);
    let has_begun = || Ok(upper.join("usr/share/doc").exists().then_some(()));
    wait_for("the container to be busy", PATIENCE, has_begun)?;
    for _ in 0..30 {
        let (_, told) = image.verify(&docker, &[&id])?;
        ensure!(told[0]["state"] == "divergent", "{}", told[0]);
        ensure!(replaced(&told[0]).is_empty(), "{}", told[0]["coverage"]);
    }
    Ok(())
}
