//! Changes that no time tells of, since they were made beneath the file system: as
//! a clock that was set back leaves them, and as the page cache hides them.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use congruent_protocol::verification::State;
use congruent_tests::agent;
use congruent_tests::mounts::Mounted;
use congruent_tests::program::{self, succeed};
use congruent_tests::sandbox::Sandbox;

use super::disk::{ext4_holding, large, make_tree};
use crate::mutation::check::change_and_hold;
use crate::mutation::row::{Baked, Expected, modified, nothing, row};

const FILE: &str = "/usr/bin/large";

/// A disk whose bytes are changed beneath its file system.
struct Scene {
    sandbox: Sandbox,
    image: PathBuf,
    baked: Baked,
}

impl Scene {
    fn new() -> Result<Self> {
        let sandbox = Sandbox::for_trees()?;
        let tree = sandbox.path("tree");
        fs::create_dir(&tree)?;
        make_tree(&tree)?;
        let image = ext4_holding(&tree, &sandbox)?;
        let baked = Baked::bake(mount(&image, &sandbox)?.path(), "", &sandbox)?;
        Ok(Self { sandbox, image, baked })
    }

    /// Changes the first byte of the file where it lies in the image.
    fn change_beneath(&self, image: &Path) -> Result<()> {
        let ask = |question: &str| -> Result<u64> {
            let answer = succeed("debugfs", ["-R".as_ref(), question.as_ref(), image.as_os_str()])?.text();
            answer.trim().parse().with_context(|| format!("debugfs says {answer}"))
        };
        let block = ask(&format!("bmap {FILE} 0"))?;
        let file = File::options().read(true).write(true).open(image)?;
        let start = block * BLOCK_BYTES;
        let mut there = [0; 8];
        file.read_exact_at(&mut there, start)?;
        ensure!(there == large()[..8], "the file does not lie where debugfs says");
        Ok(file.write_all_at(b"x", start)?)
    }

    fn hold(&self, name: &str, disk: &Mounted, expect: fn(&Baked) -> Vec<Expected>) -> Result<()> {
        let row = row("", |_| Ok(()), expect);
        change_and_hold(&row, &self.baked, self.sandbox.folder(), disk.path()).context(name.to_owned())
    }
}

/// What mke2fs chooses for disks of this size and larger.
const BLOCK_BYTES: u64 = 4096;

/// Read only, so that no time changes and nothing waits to be written.
fn mount(image: &Path, sandbox: &Sandbox) -> Result<Mounted> {
    Mounted::image("ext4", "ro", image, &sandbox.path("disk"))
}

fn changed(_: &Baked) -> Vec<Expected> {
    vec![modified(FILE, &["content"])]
}

/// Size, times, also that of the last change of status, and inode are as baked:
/// what an attacker reaches who sets the clock back for a moment.
#[test]
fn content_changed_with_every_time_as_it_was_is_found() -> Result<()> {
    let scene = Scene::new()?;
    let times = |disk: &Mounted| -> Result<_> {
        let about = fs::metadata(disk.path().join(&FILE[1..]))?;
        let mtime = (about.mtime(), about.mtime_nsec());
        Ok((about.ino(), about.size(), mtime, (about.ctime(), about.ctime_nsec())))
    };
    let before = times(&mount(&scene.image, &scene.sandbox)?)?;
    // Of another image, whose file system nothing remembers.
    let copy = scene.sandbox.path("copy.img");
    fs::copy(&scene.image, &copy)?;
    scene.change_beneath(&copy)?;
    let disk = mount(&copy, &scene.sandbox)?;
    ensure!(times(&disk)? == before, "the change left a trace");
    scene.hold("the changed disk", &disk, changed)
}

#[test]
fn what_the_page_cache_hides_is_found_past_it() -> Result<()> {
    let scene = Scene::new()?;
    let disk = mount(&scene.image, &scene.sandbox)?;
    let path = disk.path().join(&FILE[1..]);
    ensure!(fs::read(&path)? == large(), "the file is not what was written");
    scene.change_beneath(&scene.image)?;

    scene.hold("what the page cache holds", &disk, nothing)?;
    let direct = verify_direct(&scene, &disk)?;
    ensure!(direct.len() == 1 && direct == changed(&scene.baked), "past the cache it finds {direct:?}");
    // Who looks past the cache leaves it as it is: the workload goes on with it.
    ensure!(fs::read(&path)? == large(), "the page cache lost the file");
    drop(disk);
    let copy = scene.sandbox.path("copy.img");
    fs::copy(&scene.image, &copy)?;
    scene.hold("a disk that nothing is cached of", &mount(&copy, &scene.sandbox)?, changed)
}

fn verify_direct(scene: &Scene, disk: &Mounted) -> Result<Vec<Expected>> {
    let Baked { manifest_file, public_key, .. } = &scene.baked;
    let mut verify = agent::command(&[])?;
    verify.args(agent::verify_arguments(manifest_file, public_key, disk.path())).arg("--direct");
    let ended = program::run(&mut verify)?;
    let verification = agent::verification(&ended)?;
    ensure!(
        (verification.state, ended.code) == (State::Divergent, Some(1)),
        "it ended with {:?}",
        ended.code
    );
    ensure!(!verification.coverage.has_gaps(), "it could not read all: {:?}", verification.coverage);
    Ok(verification.findings.iter().map(Expected::from).collect())
}
