//! The agent's look at containers: a report for each, and what the node says of them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use congruent_protocol::drift::Finding;
use congruent_protocol::report::{Outcome, Report, Sealed, SetChange};
use congruent_protocol::verification::{State, Verification};
use congruent_tests::collector::Collector;
use congruent_tests::docker::Docker;
use congruent_tests::podman::Podman;
use congruent_tests::program::{self, Ended, run};
use congruent_tests::site::{Settings, Site};
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{agent, binaries};
use serde_json::Value;

use super::mounted::Swapped;
use super::on_containerd::OnContainerd;
use super::verified::{Runtime, Web};

pub(super) const NODE: &str = "host";
const CONTAINERS: &str = "/v1/nodes/host/containers";

/// A container of an image that was baked, on a node that looks at containers. The host may have others, also of other tests.
pub(super) struct Scene<R> {
    pub(super) site: Site,
    pub(super) web: Web<R>,
}

impl<R: Runtime> Scene<R> {
    pub(super) fn on(start: impl FnOnce(&Path) -> Result<R>) -> Result<Self> {
        let web = Web::on(start)?;
        Ok(Self { site: Site::small(&[NODE])?, web })
    }

    /// Has the node look at containers, with the manifests of `folder` where one is given.
    pub(super) fn look_at_containers(&self, manifests: Option<&Path>) -> Result<()> {
        let plain = fs::read_to_string(self.site.write_agent(NODE)?)?;
        let keys = format!("trust = [\"key.pub.pem\", {:?}]", self.web.image.keys.public);
        let manifests = manifests.map(|folder| format!("manifests = {folder:?}\n")).unwrap_or_default();
        let data_root = Runtime::data_root(&self.web.runtime);
        let toml = plain.replace("trust = [\"key.pub.pem\"]", &keys);
        let more = format!("[containers]\nenabled = true\n{manifests}data-roots = [{data_root:?}]\n");
        self.site.sandbox.write(format!("{NODE}.toml"), format!("{toml}{more}")).map(drop)
    }

    /// The reports that wait, oldest first.
    fn spooled(&self) -> Result<Vec<Report<SetChange>>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(self.site.state(NODE).join("spool"))? {
            paths.push(entry?.path());
        }
        paths.sort();
        let read = |path: &PathBuf| Ok(serde_json::from_slice(Sealed::parse(&fs::read(path)?)?.payload())?);
        paths.iter().map(read).collect()
    }

    /// The container's report of the last look, and the node's own.
    fn last(&self) -> Result<(Option<Report<SetChange>>, Report<SetChange>)> {
        let mut spooled = self.spooled()?;
        let node = spooled.pop().context("nothing is spooled")?;
        ensure!(node.container.is_none(), "the node's own is the last");
        let of_look = spooled.into_iter().rev().take_while(|report| report.container.is_some());
        let is_web = |report: &Report<SetChange>| {
            report.container.as_ref().is_some_and(|container| container.identity.id == self.web.id)
        };
        Ok((of_look.into_iter().find(is_web), node))
    }

    /// A collector that accepts the image's manifest.
    pub(super) fn accepting(&self) -> Result<Settings> {
        let manifest = self.web.image.manifests.join("web.manifest");
        let mut sign = agent::command(&["sign", "--key"])?;
        let ended = run(sign.arg(&self.site.keys.secret).arg(&manifest))?;
        ensure!(ended.code == Some(0), "the site's key signs as well: {}", ended.stderr);
        let manifests = vec!["web.manifest".to_owned(), manifest.to_string_lossy().into_owned()];
        Ok(Settings { manifests, ..Settings::default() })
    }

    /// The container as the collector has it; null where it has none.
    fn of_collector(&self, collector: &Collector) -> Result<Value> {
        let page = collector.json(CONTAINERS)?;
        let all = page["containers"].as_array().context("there is no list")?;
        Ok(all.iter().find(|one| one["id"] == self.web.id.as_str()).cloned().unwrap_or_default())
    }

    /// One look, all of whose reports are taken, and the container as the collector has it.
    fn judged(&self, collector: &Collector) -> Result<(Value, Ended)> {
        let ended = self.site.sweep(NODE)?;
        ensure!(ended.code != Some(2), "all is taken: {}", ended.stderr);
        Ok((self.of_collector(collector)?, ended))
    }

    /// The container is congruent, and then differs as its layer does.
    fn is_judged(&self, collector: &Collector, runtime: &str) -> Result<()> {
        let (web, ended) = self.judged(collector)?;
        ensure!(web["state"] == "congruent", "{web}: {}", ended.stderr);
        ensure!(web["runtime"] == runtime, "{web}");

        let (merged, layer) = (self.web.directory("MergedDir")?, self.web.directory("LowerDir")?);
        fs::write(merged.join("usr/bin/web"), "#!/bin/sh\necho mined\n")?;
        fs::write(layer.join("usr/bin/more"), "")?;
        let (web, ended) = self.judged(collector)?;
        ensure!(ended.code == Some(1) && web["state"] == "divergent", "{web}");
        ensure!(web["findings_total"] == 2, "one of its own, one of its layer: {web}");
        let one = collector.json(&format!("{CONTAINERS}/{}", self.web.id))?;
        ensure!(one["findings"][0]["path"] == "/usr/bin/web", "{one}");
        ensure!(one["layers"][0]["findings"][0]["path"] == "/usr/bin/more", "{one}");
        ensure!(one["decision"].is_object(), "policy says what becomes of it: {one}");
        Ok(fs::remove_file(layer.join("usr/bin/more"))?)
    }

    /// Without the container, the collector has it no more.
    fn is_over(&self, collector: &Collector) -> Result<()> {
        self.web.runtime.call(&["rm", "--force", "web"])?;
        // The list of a look may have gaps, as others' containers come and go.
        let is_gone = || Ok(self.judged(collector)?.0.is_null().then_some(()));
        wait_for("the container to be gone", PATIENCE, is_gone)?;
        // Ids on containerd begin alike, and others' containers of such a name run here.
        let beginning = &self.web.id[..self.web.id.len() - 1];
        let one = collector.json(&format!("{CONTAINERS}/{beginning}"))?;
        ensure!(one["id"] == self.web.id.as_str() && one["state"] == "over", "{one}");
        ensure!(
            one["last_state"].is_string() && one["report"].is_object(),
            "what is known of it stays: {one}"
        );
        Ok(())
    }

    fn status(&self) -> Result<Ended> {
        let config = self.site.sandbox.path(format!("{NODE}.toml"));
        run(agent::command(&["status", "--format", "json", "--config"])?.arg(config))
    }
}

fn verified(report: &Report<SetChange>) -> Result<&Verification<SetChange>> {
    match &report.outcome {
        Outcome::Verified(verification) => Ok(verification),
        other => anyhow::bail!("it is not verified: {other:?}"),
    }
}

fn paths(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(|finding| finding.path.to_string()).collect()
}

/// While no collector answers, what was seen of containers waits like all else.
#[test]
fn each_container_has_a_report_of_its_own_before_the_nodes() -> Result<()> {
    let scene = Scene::on(Docker::start)?;
    drop(scene.site.collect(&Settings::default())?);
    scene.look_at_containers(Some(&scene.web.image.manifests))?;
    let look = || -> Result<_> {
        let ended = scene.site.sweep(NODE)?;
        ensure!(ended.code == Some(2), "nobody takes reports: {}", ended.stderr);
        let (web, node) = scene.last()?;
        Ok((web, node.containers.context("the node tells of no containers")?, ended.stderr))
    };
    let (web, seen, log) = look()?;
    let web = web.with_context(|| log.clone())?;
    ensure!(seen.running.contains(&scene.web.id), "{seen:?}");
    let (verification, container) = (verified(&web)?, web.container.as_ref().context("no container")?);
    ensure!(verification.state == State::Congruent, "{web:?}");
    ensure!(verification.manifest.root == scene.web.image.baked.manifest.predicate().root);
    ensure!(container.identity.name.as_deref() == Some("web"), "{:?}", container.identity);
    ensure!(container.layers.len() == 1 && container.layers[0].is_consistent(), "{:?}", container.layers);
    ensure!(container.layers[0].place.shared_by == [scene.web.id.clone()], "{:?}", container.layers);

    let merged = scene.web.directory("MergedDir")?;
    fs::write(merged.join("usr/bin/web"), "#!/bin/sh\necho mined\n")?;
    let (web, _, log) = look()?;
    let web = web.context("there is no report")?;
    ensure!(web.state() == State::Divergent && !web.container.as_ref().is_some_and(|one| one.has_findings()));
    ensure!(paths(&verified(&web)?.findings.added) == ["/usr/bin/web"], "{web:?}");
    ensure!(log.contains("a container is not congruent") && log.contains("finding, not delivered"), "{log}");
    let status: Value = serde_json::from_slice(&scene.status()?.stdout)?;
    ensure!(status["containers"]["divergent"].as_u64() >= Some(1), "{status}");
    ensure!(scene.status()?.code == Some(1), "what differs anywhere differs");

    fs::write(scene.web.directory("LowerDir")?.join("usr/bin/more"), "")?;
    let web = look()?.0.context("there is no report")?;
    let layer = &web.container.as_ref().context("no container")?.layers[0];
    ensure!(layer.state == State::Divergent && paths(&layer.findings) == ["/usr/bin/more"], "{layer:?}");
    ensure!(verified(&web)?.findings.count == 1, "the layer's are not the container's own");

    scene.web.runtime.docker(&["rm", "--force", "web"])?;
    let (web, seen, _) = look()?;
    ensure!(web.is_none() && !seen.running.contains(&scene.web.id), "it is gone");
    let sequences: Vec<u64> = scene.spooled()?.iter().map(|report| report.sequence).collect();
    ensure!(sequences.iter().copied().eq(1..=sequences.len() as u64), "{sequences:?}");
    Ok(())
}

/// A container whose image has no manifest is still one.
#[test]
fn a_container_without_a_manifest_is_told_with_its_layers() -> Result<()> {
    let scene = Scene::on(Docker::start)?;
    drop(scene.site.collect(&Settings::default())?);
    scene.look_at_containers(None)?;
    let ended = scene.site.sweep(NODE)?;
    ensure!(ended.code == Some(2), "nobody takes reports: {}", ended.stderr);
    let web = scene.last()?.0.context("there is no report")?;
    ensure!(matches!(web.outcome, Outcome::NoManifest(_)) && web.state() == State::Unknown, "{web:?}");
    let layer = &web.container.as_ref().context("no container")?.layers[0];
    ensure!(
        layer.state == State::Congruent && layer.method.is_some(),
        "it is held to its diff_id: {layer:?}"
    );
    Ok(())
}

/// The manifest of its image comes from the collector, which takes each report and says
/// what becomes of the container.
#[test]
fn the_collector_judges_each_container() -> Result<()> {
    let scene = Scene::on(Docker::start)?;
    let settings = scene.accepting()?;
    let collector = scene.site.collect(&settings)?;
    scene.look_at_containers(None)?;
    let layer = scene.web.directory("LowerDir")?;
    let swapped = Swapped::new(&layer, layer.ancestors().nth(2).context("the layer lies at the root")?)?;
    let (web, _) = scene.judged(&collector)?;
    ensure!(web["state"] == "incomplete" && web["name"] == "web", "it has not mounted the copy: {web}");
    swapped.undo()?;
    scene.is_judged(&collector, "docker")?;

    // What was taken serves while the collector is away.
    collector.kill();
    let ended = scene.site.sweep(NODE)?;
    ensure!(ended.code == Some(2), "{}", ended.stderr);
    let web = scene.last()?.0.context("there is no report")?;
    ensure!(verified(&web)?.state == State::Divergent, "{web:?}");
    scene.site.write_server(&settings)?;
    let collector = scene.site.start()?;
    scene.is_over(&collector)?;

    // Auditors are told of it all the same.
    let mut report = Command::new(binaries::path("congruent-server")?);
    report.args(["report", "--from", "2026-01-01", "--to", "2126-01-01", "--config"]);
    let ended = run(report.arg(scene.site.sandbox.path("server.toml")))?;
    ensure!(ended.code == Some(0), "{}", ended.stderr);
    let document: Value = serde_json::from_slice(&ended.stdout)?;
    let told = document["nodes"][0]["containers"].as_array().context("it tells of no containers")?;
    let web = told.iter().find(|one| one["id"] == scene.web.id.as_str()).context("it does not tell of it")?;
    ensure!(web["name"] == "web" && web["image"].is_string() && web["state"] == "over", "{web}");
    Ok(())
}

#[test]
fn the_collector_judges_podmans_containers() -> Result<()> {
    judges_containers_of("podman", &Scene::on(Podman::new)?)
}

#[test]
fn the_collector_judges_containerds_containers() -> Result<()> {
    judges_containers_of("containerd", &Scene::on(OnContainerd::start)?)
}

fn judges_containers_of(runtime: &str, scene: &Scene<impl Runtime>) -> Result<()> {
    let collector = scene.site.collect(&scene.accepting()?)?;
    scene.look_at_containers(None)?;
    scene.is_judged(&collector, runtime)?;
    scene.is_over(&collector)
}

/// Without a collector, the log and the exit code are all that tells.
#[test]
fn a_node_without_a_collector_logs_what_it_finds() -> Result<()> {
    let scene = Scene::on(Docker::start)?;
    scene.look_at_containers(Some(&scene.web.image.manifests))?;
    fs::write(scene.web.directory("MergedDir")?.join("usr/bin/web"), "#!/bin/sh\necho mined\n")?;
    let ended = scene.site.sweep(NODE)?;
    ensure!(ended.code == Some(1), "{}", ended.stderr);
    for says in ["a container is not congruent", "name=web", "modified     /usr/bin/web"] {
        ensure!(ended.stderr.contains(says), "{says:?} is not in: {}", ended.stderr);
    }
    Ok(())
}

/// An agent that runs sees what changes, while other containers come and go: none of those
/// is ever taken for changed, and no look fails for them.
#[test]
fn an_agent_that_runs_looks_again_and_again() -> Result<()> {
    let scene = Scene::on(Docker::start)?;
    let collector = scene.site.collect(&scene.accepting()?)?;
    scene.look_at_containers(Some(&scene.web.image.manifests))?;
    let config = scene.site.sandbox.path(format!("{NODE}.toml"));
    let toml = fs::read_to_string(&config)?.replace("interval = \"15m\"", "interval = \"1s\"");
    fs::write(&config, toml)?;
    let log = scene.site.sandbox.path("agent.log");
    let mut agent = scene.site.agent(NODE)?;
    let agent = Running(agent.stderr(File::create(&log)?).spawn()?);
    let is = |state: &'static str| {
        let is_so = || Ok((scene.of_collector(&collector)?["state"] == state).then_some(()));
        wait_for(state, PATIENCE, is_so).with_context(|| fs::read_to_string(&log).unwrap_or_default())
    };
    is("congruent")?;
    for _ in 0..3 {
        Runtime::sleeper(&scene.web.runtime, "passing", &["--rm"])?;
        scene.web.runtime.docker(&["rm", "--force", "passing"])?;
    }
    fs::write(scene.web.directory("MergedDir")?.join("usr/bin/web"), "#!/bin/sh\necho mined\n")?;
    is("divergent")?;
    drop(agent);
    let log = fs::read_to_string(&log)?;
    ensure!(!log.contains("the look at containers failed") && !log.contains("refused"), "{log}");
    let is_wrong = |line: &&str| line.contains("name=passing") && line.contains("divergent");
    ensure!(!log.lines().any(|line| is_wrong(&line)), "{log}");
    Ok(())
}

/// An agent, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        program::end(&mut self.0);
    }
}

/// The agent's unit has few capabilities. Who is not shown what overlay notes says so, and
/// takes nothing for changed.
#[test]
fn what_overlay_notes_must_be_seen() -> Result<()> {
    let scene = Scene::on(Docker::start)?;
    let verify = |capabilities: &str| {
        let mut verify = Command::new("setpriv");
        verify.args(["--inh-caps=-all", "--bounding-set", capabilities]).arg(binaries::path("congruent")?);
        verify.args(["containers", "verify", "--data-root"]).arg(Runtime::data_root(&scene.web.runtime));
        verify
            .arg("--manifests")
            .arg(&scene.web.image.manifests)
            .arg("--trust")
            .arg(&scene.web.image.keys.public);
        run(verify.arg(&scene.web.id))
    };
    let few = "-all,+dac_read_search,+fowner,+sys_ptrace";
    let ended = verify(few)?;
    ensure!(ended.code == Some(3), "{}{}", ended.text(), ended.stderr);
    ensure!(ended.text().contains("CAP_SYS_ADMIN"), "{}", ended.text());
    let ended = verify(&format!("{few},+sys_admin"))?;
    ensure!(ended.code == Some(0), "{}{}", ended.text(), ended.stderr);
    Ok(())
}
