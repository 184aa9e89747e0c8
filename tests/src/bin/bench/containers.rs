//! Containers: a writable layer of many entries beside `docker diff`, the lower layers
//! of a real image beside the floor probe over the same files, and fifty containers on
//! five images.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use congruent_tests::docker::Docker;
use congruent_tests::program::{run, succeed};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, debian};
use serde_json::Value;

use super::measure::Program;
use super::options::Options;
use super::race::{Racer, as_it_is, race, table};
use super::section::Section;
use super::subject::floor;
use super::target::{self, Target};
use super::{cores, counts_of, tell};

/// Entries in the writable layer.
const WRITTEN: usize = 20_000;
/// How many of them lie in one directory.
const TOGETHER: usize = 200;
const IMAGES: usize = 5;
const CONTAINERS: usize = 50;
/// What keeps a container running.
const SLEEP: [&str; 2] = ["sleep", "100000"];

pub(crate) fn section(options: &Options) -> Result<Section> {
    let sandbox = Sandbox::new()?;
    let docker = Docker::start(&sandbox.path("docker"))?;
    let host = Host { manifests: sandbox.path("manifests"), docker, sandbox };
    fs::create_dir(&host.manifests).context("cannot make a folder")?;
    tell("importing Debian images");
    host.import(debian::root()?, "web:0")?;
    host.import(debian::with_compilers()?, "compilers:0")?;
    let text = [
        written(&host, options)?,
        lower(&host, options, "web:0", "Debian's smallest image", Target::LAYERS_FLOOR_SMALLEST)?,
        lower(&host, options, "compilers:0", "a Debian image with compilers", Target::LAYERS_FLOOR)?,
        many(&host)?,
    ]
    .join("\n");
    Ok(Section { title: "Containers", text, picture: None })
}

/// A Docker, and the manifests of its images.
struct Host {
    sandbox: Sandbox,
    docker: Docker,
    manifests: PathBuf,
}

impl Host {
    /// Makes an image of one layer, and bakes it.
    fn import(&self, root: &Path, image: &str) -> Result<()> {
        let archive = self.sandbox.path("root.tar");
        let words = ["--xattrs", "--xattrs-include=*", "--warning=no-file-ignored", "--create", "--file"];
        let words = words.iter().map(AsRef::as_ref);
        let rest = [archive.as_os_str(), "--directory".as_ref(), root.as_os_str(), ".".as_ref()];
        succeed("tar", words.chain(rest))?;
        self.docker.docker(&["import", &archive.to_string_lossy(), image])?;
        self.bake(image)
    }

    fn bake(&self, image: &str) -> Result<()> {
        let saved = self.sandbox.path("saved.tar");
        self.docker.docker(&["save", "--output", &saved.to_string_lossy(), image])?;
        let output = self.manifests.join(format!("{}.manifest", image.replace(':', "-")));
        let mut bake = agent::command(&["bake", "--name", "web", "--version", "1", "--no-lint"])?;
        bake.arg(format!("docker-archive:{}", saved.display())).arg("--output").arg(output);
        let ended = run(&mut bake)?;
        ensure!(ended.code == Some(0), "cannot bake {image}: {}", ended.stderr);
        Ok(())
    }

    fn start(&self, name: &str, image: &str) -> Result<String> {
        let first = ["run", "--detach", "--network=none", "--name", name, image];
        self.docker.docker(&[&first[..], &SLEEP].concat())
    }

    fn directory(&self, name: &str, which: &str) -> Result<PathBuf> {
        let told = self.docker.inspect(name)?;
        let directory = told["GraphDriver"]["Data"][which].as_str().map(PathBuf::from);
        directory.with_context(|| format!("{name} has no {which}"))
    }

    fn verify(&self, name: &str, ids: &[String]) -> Result<Program> {
        Ok(Program::new(name, &self.verify_command(ids)?))
    }

    /// A quick look that ends with `code`, for which a full one has left what it needs.
    fn verify_quickly(&self, id: &str, code: i32) -> Result<Program> {
        let cache = self.sandbox.path("cache");
        let mut verify = self.verify_command(&[id.to_owned()])?;
        verify.arg("--cache").arg(cache);
        let ended = run(&mut verify)?;
        ensure!(ended.code == Some(code), "the full look ends with {:?}: {}", ended.code, ended.stderr);
        Ok(Program::new("congruent containers verify --quick", verify.arg("--quick")).ending_with(code))
    }

    fn verify_command(&self, ids: &[String]) -> Result<std::process::Command> {
        let mut verify =
            agent::command(&["containers", "verify", "--insecure-unsigned", "--format", "json"])?;
        verify.arg("--data-root").arg(self.docker.data_root());
        verify.arg("--manifests").arg(&self.manifests).args(ids);
        Ok(verify)
    }
}

/// A writable layer of many entries, and what tells of it.
fn written(host: &Host, options: &Options) -> Result<String> {
    tell(&format!("writing {WRITTEN} entries into a container"));
    let small = host.sandbox.path("small");
    fs::create_dir_all(small.join("bin")).context("cannot make a root")?;
    fs::copy("/bin/busybox", small.join("bin/sleep")).context("busybox-static is not installed")?;
    host.import(&small, "small:1")?;
    let id = host.start("written", "small:1")?;
    let [merged, upper] = ["MergedDir", "UpperDir"].map(|which| host.directory("written", which));
    let (merged, upper) = (merged?, upper?);
    for folder in 0..WRITTEN / TOGETHER {
        let folder = merged.join(format!("data/{folder:03}"));
        fs::create_dir_all(&folder).context("cannot write into the container")?;
        for file in 1..TOGETHER {
            fs::write(folder.join(format!("{file:03}")), format!("{file}\n")).context("cannot write")?;
        }
    }
    let verify = host.verify("congruent containers verify", std::slice::from_ref(&id))?.ending_with(1);
    let quick = host.verify_quickly(&id, 1)?;
    let diff = Program::new("docker diff", &host.docker.client(&["diff", &id]));
    let programs = [verify, quick, diff, floor(&upper, cores())?];
    let mut racers = programs.map(|program| Racer::new(program, options.rounds));
    // Once for the page cache.
    racers.iter().try_for_each(|racer| racer.program.run().map(drop))?;
    race(&mut racers, as_it_is)?;
    let [verify, quick, diff] = [0, 1, 2].map(|at: usize| racers[at].median_seconds());
    host.docker.docker(&["rm", "--force", "written"])?;
    Ok(format!(
        "A writable layer of {WRITTEN} entries that the image does not have. Our full look reads each of them, as the \
         floor probe does. Our quick look, which comes after a full one, reads what has changed since, which is nothing; \
         docker diff reads nothing at all. Ours find the container without the daemon.\n\n{}\n{}",
        table(&racers, &[("docker diff", diff)]),
        target::table(&[(Target::DOCKER_DIFF, diff / verify), (Target::DOCKER_DIFF_QUICK, diff / quick)])
    ))
}

/// The lower layer of a real image, all of it.
fn lower(host: &Host, options: &Options, image: &str, what: &str, target: Target) -> Result<String> {
    let id = host.start("lower", image)?;
    let layers = host.directory("lower", "LowerDir")?;
    let layer =
        layers.to_string_lossy().rsplit(':').next().map(PathBuf::from).context("there is no layer")?;
    let verify = host.verify("congruent containers verify", std::slice::from_ref(&id))?;
    let quick = host.verify_quickly(&id, 0)?;
    let mut racers =
        [verify, floor(&layer, cores())?, quick].map(|program| Racer::new(program, options.rounds));
    racers.iter().try_for_each(|racer| racer.program.run().map(drop))?;
    race(&mut racers, as_it_is)?;
    let [verify, floor] = [0, 1].map(|at: usize| racers[at].median_seconds());
    host.docker.docker(&["rm", "--force", "lower"])?;
    Ok(format!(
        "The layer of {what} ({}) under one container, page cache warm. The quick look comes after a full \
         one.\n\n{}\n{}",
        counts_of(&layer)?,
        table(&racers, &[("the floor", floor)]),
        target::table(&[(target, verify / floor)])
    ))
}

/// How much is read for many containers on few images.
fn many(host: &Host) -> Result<String> {
    tell(&format!("starting {CONTAINERS} containers on {IMAGES} images"));
    for image in 1..IMAGES {
        let context = host.sandbox.path(format!("context-{image}"));
        fs::create_dir(&context).context("cannot make a folder")?;
        fs::write(context.join("own"), image.to_string()).context("cannot write a file")?;
        fs::write(context.join("Dockerfile"), "FROM web:0\nCOPY own /own\n")
            .context("cannot write a file")?;
        let tag = format!("web:{image}");
        let build = ["build", "--quiet", "--network=none", "--tag", &tag, &context.to_string_lossy()];
        host.docker.docker(&build)?;
        host.bake(&tag)?;
    }
    let ids: Vec<String> = (0..CONTAINERS)
        .map(|at| host.start(&format!("many-{at}"), &format!("web:{}", at % IMAGES)))
        .collect::<Result<_>>()?;
    let one = hashed(host, &ids[..1])?;
    let all = hashed(host, &ids)?;
    Ok(format!(
        "{CONTAINERS} containers on {IMAGES} images over one Debian layer: {:.1} MB are hashed for all of them, {:.1} MB for \
         one.\n\n{}",
        all as f64 / 1e6,
        one as f64 / 1e6,
        target::table(&[(Target::LAYERS_ONCE, all as f64 / one as f64)])
    ))
}

/// How many bytes of content are hashed for these containers.
fn hashed(host: &Host, ids: &[String]) -> Result<u64> {
    let ended = run(&mut host.verify_command(ids)?)?;
    ensure!(ended.code == Some(0), "they are not congruent: {}{}", ended.text(), ended.stderr);
    let page: Value = serde_json::from_slice(&ended.stdout).context("no JSON")?;
    let containers = page["containers"].as_array().context("there are no containers")?;
    Ok(containers.iter().filter_map(|one| one["coverage"]["bytes_hashed"].as_u64()).sum())
}
