//! A layer that was edited behind Docker's back becomes one order, with all that a driver
//! needs.

use std::fs;

use anyhow::{Context, Result, ensure};
use congruent_protocol::action::OrderTarget;
use congruent_tests::collector::Collector;
use congruent_tests::docker::Docker;
use congruent_tests::operator::Operator;
use congruent_tests::receiver::{Answer, WebhookReceiver};
use congruent_tests::site::Settings;
use congruent_tests::wait::{PATIENCE, wait_for};

use super::reported::{NODE, Scene};
use super::verified::Runtime;
use crate::watch::{actions, settle};

/// The ids of the node's containers, a container at a time, as each list says how to go on.
fn listed_by_one(scene: &Scene<Docker>, collector: &Collector) -> Result<Vec<String>> {
    let operator = Operator {
        url: collector.url().to_owned(),
        token_file: scene.site.sandbox.path("operator.token"),
        authority: collector.authority().to_owned(),
    };
    let (mut listed, mut after) = (Vec::new(), None::<String>);
    loop {
        let mut list = vec!["container", "list", "--node", NODE, "--limit", "1"];
        list.extend(after.as_deref().into_iter().flat_map(|after| ["--after", after]));
        let page = operator.answer(&list)?;
        listed.extend(page["containers"][0]["id"].as_str().map(str::to_owned));
        let table = operator.run(&list)?.text();
        let next = table.split_once("give --after ").and_then(|(_, rest)| rest.split(',').next());
        ensure!(next == page["next"].as_str(), "{table} {page}");
        match next {
            Some(next) => after = Some(next.to_owned()),
            None => return Ok(listed),
        }
    }
}

#[test]
fn a_damaged_layer_is_one_order_that_names_all_on_it() -> Result<()> {
    let scene = Scene::on(Docker::start)?;
    let other = Runtime::sleeper(&scene.web.runtime, "other", &[])?;
    let receiver = WebhookReceiver::start(scene.site.secret.clone(), Answer::Status(204))?;
    let settings =
        Settings { manifests: scene.accepting()?.manifests, ..Settings::replacing(receiver.url()) };
    let collector = scene.site.collect(&settings)?;
    scene.look_at_containers(None)?;
    let planted = scene.web.directory("LowerDir")?.join("usr/bin/planted");
    fs::write(&planted, "#!/bin/sh\n")?;
    let look = || -> Result<()> {
        let ended = scene.site.sweep(NODE)?;
        ensure!(ended.code == Some(1), "{}", ended.stderr);
        settle(&scene.site)
    };
    look()?;
    ensure!(receiver.deliveries().is_empty(), "ordered without confirmation");
    look()?;

    let mut both = vec![scene.web.id.clone(), other];
    both.sort();
    let listed = listed_by_one(&scene, &collector)?;
    ensure!(both.iter().all(|id| listed.contains(id)), "{listed:?}");
    let order = receiver.wait_for(1, PATIENCE)?.remove(0).order()?;
    ensure!(order.target == OrderTarget::Container && order.order_type == "congruent.action.replace");
    ensure!(order.node == NODE && order.findings_total == 0, "the container itself is as it was: {order:?}");
    let container = order.container.context("it names no container")?;
    let identity = &container.identity;
    ensure!(both.contains(&identity.id) && identity.runtime == "docker", "{identity:?}");
    ensure!(identity.image.is_some() && identity.config_digest.is_some(), "{identity:?}");
    let [layer] = &container.purge[..] else { anyhow::bail!("{:?}", container.purge) };
    ensure!(layer.place.shared_by == both && layer.place.diff_id.is_some(), "{:?}", layer.place);
    ensure!(planted.starts_with(&layer.place.directory), "{:?}", layer.place);
    ensure!(layer.findings[0].path.to_string() == "/usr/bin/planted", "{:?}", layer.findings);
    let of_scene = |action: &serde_json::Value| both.iter().any(|id| action["container"] == id.as_str());
    let mut live = actions(&collector)?;
    live.retain(of_scene);
    let held = live.iter().find(|action| action["state"] == "held").context("the other one is not held")?;
    let first = format!("action {}", order.action_id);
    ensure!(
        held["reason"].as_str().is_some_and(|reason| reason.starts_with(&first)),
        "one at a time: {held}"
    );

    // The layer is made good, and a fresh container stands in for each.
    fs::remove_file(&planted)?;
    scene.web.runtime.docker(&["rm", "--force", "web", "other"])?;
    let successor = Runtime::sleeper(&scene.web.runtime, "web", &[])?;
    let is_over = || {
        scene.site.sweep(NODE)?;
        settle(&scene.site)?;
        let mut live = actions(&collector)?;
        live.retain(of_scene);
        Ok(live.iter().all(|action| action["state"] == "withdrawn").then_some(()))
    };
    wait_for("what was to happen to be over", PATIENCE, is_over)?;
    let successor = collector.json(&format!("/v1/nodes/{NODE}/containers/{successor}"))?;
    ensure!(successor["state"] == "congruent", "{successor}");
    ensure!(receiver.deliveries().len() == 1, "one cause, one order");
    Ok(())
}

/// Without a manifest the container is never congruent, and its layer is held to its
/// diff_id.
#[test]
fn what_waits_for_a_layer_that_was_mended_is_given_up() -> Result<()> {
    let scene = Scene::on(Docker::start)?;
    let collector = scene.site.collect(&Settings::default())?;
    scene.look_at_containers(None)?;
    let planted = scene.web.directory("LowerDir")?.join("usr/bin/planted");
    let looked = || -> Result<(String, String)> {
        let ended = scene.site.sweep(NODE)?;
        ensure!(ended.code != Some(2), "{}", ended.stderr);
        settle(&scene.site)?;
        let live = actions(&collector)?;
        let of_scene = live.iter().find(|action| action["container"] == scene.web.id.as_str());
        let text = |key: &str| of_scene.and_then(|action| action[key].as_str()).unwrap_or("none").to_owned();
        Ok((text("state"), text("reason")))
    };
    ensure!(looked()?.0 == "none", "nothing is wrong with it");
    fs::write(&planted, "#!/bin/sh\n")?;
    let (state, reason) = looked()?;
    ensure!(state == "held", "{state}: {reason}");
    fs::remove_file(&planted)?;
    let (state, reason) = looked()?;
    ensure!(state == "withdrawn" && reason.starts_with("nothing that was found"), "{state}: {reason}");
    let container = collector.json(&format!("/v1/nodes/{NODE}/containers/{}", scene.web.id))?;
    ensure!(container["state"] == "unknown", "{container}");
    Ok(())
}
