//! A group that changes while the collector runs.

use std::fs;

use anyhow::Result;
use congruent_protocol::action::ActionState;
use congruent_tests::mounts::Mounted;
use congruent_tests::receiver::{Answer, WebhookReceiver};
use congruent_tests::signature::WebhookSecret;
use congruent_tests::site::TARGET;
use congruent_tests::wait::{PATIENCE, wait_for};
use serde_json::json;

use super::{JOINED, Scene};
use crate::watch::{actions, node, sweep, wait_for_action, wait_for_state};

#[test]
fn a_release_is_accepted_without_a_restart_and_stays_so_after_one() -> Result<()> {
    let mut scene = Scene::new()?;
    sweep(&scene.site, "web-1", 0)?;
    let unknown = node(scene.collector(), "web-1")?;
    assert_eq!(unknown["state"], "unknown");
    assert!(
        unknown["note"].as_str().is_some_and(|note| note.contains("is not accepted for the group fleet"))
    );

    let root = scene.import()?;
    let key = scene.site.keys.public.to_string_lossy().into_owned();
    let admin = scene.admin();
    let untrusted = admin.run(&["group", "edit", "fleet", "--accept", &root, "--reason", "1.4.2"])?;
    assert_eq!(untrusted.code, Some(2));
    assert!(untrusted.stderr.contains("trusts no key"), "{}", untrusted.stderr);
    admin.change(&["group", "edit", "fleet", "--accept", &root, "--trust", &key])?;
    sweep(&scene.site, "web-1", 0)?;
    assert_eq!(node(scene.collector(), "web-1")?["state"], "congruent");

    scene.start()?;
    assert_eq!(scene.group()?["version"], 2);
    assert_eq!(node(scene.collector(), "web-1")?["state"], "congruent");
    assert_eq!(sweep(&scene.site, "web-1", 0)?.code, Some(0));

    // What is accepted no longer is unknown at once, whatever was reported.
    scene.admin().change(&["group", "edit", "fleet", "--drop", &root])?;
    wait_for_state(scene.collector(), "web-1", "unknown")?;
    let history = scene.admin().answer(&["group", "history", "fleet"])?;
    let roots = |at: usize| history["versions"][at]["manifests"][0]["root"].clone();
    assert_eq!((roots(0), roots(1)), (json!(null), json!(root)));
    let words = ["group-edited", "group-edited", "manifest-imported", "group-created"];
    assert_eq!(scene.audit()?, words);
    let report = scene.auditors_report()?;
    let audit = report["audit"].as_array().cloned().unwrap_or_default();
    let reported = audit.iter().map(|row| &row["action"]).filter(|action| **action != JOINED);
    assert!(reported.eq(words.iter().rev()), "{audit:?}");
    assert_eq!(report["scope"].as_array().map(Vec::len), Some(4), "a scope for each start and change");
    Ok(())
}

#[test]
fn an_order_stops_when_the_brake_is_pulled() -> Result<()> {
    let secret = WebhookSecret::new(*b"a secret of thirty-two bytes ...");
    let receiver = WebhookReceiver::start(secret, Answer::Status(503))?;
    let scene = Scene::ordering(Some(receiver.url()))?;
    let (root, admin) = (scene.import()?, scene.admin());
    let key = scene.site.keys.public.to_string_lossy().into_owned();
    admin.change(&["group", "edit", "fleet", "--accept", &root, "--trust", &key])?;
    admin.change(&["group", "edit", "fleet", "--mode", "replace", "--webhook", TARGET])?;
    scene.site.tamper("web-1")?;
    sweep(&scene.site, "web-1", 1)?;
    sweep(&scene.site, "web-1", 1)?;
    let order = wait_for_action(scene.collector(), ActionState::Proposed)?;
    receiver.wait_for(1, PATIENCE)?;

    wait_for("the order to be held", PATIENCE, || {
        // A delivery that is under way is not taken back; the next one is.
        admin.change(&["group", "edit", "fleet", "--mode", "report-only"])?;
        let action = actions(scene.collector())?.remove(0);
        Ok((action["state"] == "held").then_some(action))
    })?;
    let held = wait_for("the plan", PATIENCE, || {
        let action = actions(scene.collector())?.remove(0);
        let reason = action["reason"].as_str().unwrap_or_default().to_owned();
        Ok(reason.contains("group fleet is report-only").then_some(action))
    })?;
    assert_eq!(held["id"], order["id"]);
    // Let go, and the same order goes out again.
    admin.change(&["group", "edit", "fleet", "--mode", "replace"])?;
    let again = wait_for_action(scene.collector(), ActionState::Proposed)?;
    assert_eq!(again["id"], order["id"]);
    Ok(())
}

#[test]
fn manifests_are_imported_whole_or_not_at_all() -> Result<()> {
    let scene = Scene::new()?;
    let (root, manifest) = (scene.import()?, scene.site.manifest());
    let twice = scene.import()?;
    assert_eq!(root, twice);
    let bytes = fs::read(&manifest)?;
    let cut = scene.site.sandbox.write("cut.manifest", &bytes[..bytes.len() - 1])?;
    let refused = ["manifest", "import", &cut.to_string_lossy(), "--reason", "x"].map(str::to_owned);
    let refused = scene.admin().run(&refused.each_ref().map(String::as_str))?;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("truncated"), "{}", refused.stderr);
    let folder: Vec<_> = fs::read_dir(scene.site.sandbox.path("manifests"))?.collect();
    assert_eq!(folder.len(), 1, "{folder:?}");
    let kept = scene.collector().get(&format!("/v1/manifests/{root}/content"))?;
    assert!(kept.body == bytes, "another file is given than was imported");
    assert_eq!(scene.audit()?, ["manifest-imported", "group-created"]);
    Ok(())
}

#[test]
fn a_full_disk_refuses_an_import_and_keeps_nothing_of_it() -> Result<()> {
    let scene = Scene::new()?;
    let folder = scene.site.sandbox.path("manifests");
    let mounted = Mounted::new("tmpfs", "size=64k", "none".as_ref(), &folder)?;
    let filler = mounted.path().join("filler");
    // It ends where the disk does.
    assert!(fs::write(&filler, vec![1; 1 << 20]).is_err());
    let manifest = scene.site.manifest().to_string_lossy().into_owned();
    let refused = scene.admin().run(&["manifest", "import", &manifest, "--reason", "x"])?;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("cannot keep or read files in"), "{}", refused.stderr);
    assert!(refused.stderr.contains("No space left"), "{}", refused.stderr);
    assert_eq!(scene.audit()?, ["group-created"]);
    fs::remove_file(&filler)?;
    assert_eq!(fs::read_dir(mounted.path())?.count(), 0, "half an import is left");
    scene.import()?;
    assert_eq!(scene.audit()?, ["manifest-imported", "group-created"]);
    Ok(())
}

#[test]
fn a_group_of_the_configuration_is_changed_there() -> Result<()> {
    let site = congruent_tests::site::Site::small(&["web-1"])?;
    let collector = site.collect(&congruent_tests::site::Settings::default())?;
    let admin = congruent_tests::operator::Operator {
        url: collector.url().to_owned(),
        token_file: site.sandbox.path("operator.token"),
        authority: collector.authority().to_owned(),
    };
    let refused = admin.run(&["group", "edit", "web", "--mode", "replace", "--reason", "x"])?;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("declared in the configuration"), "{}", refused.stderr);
    let shown = admin.answer(&["group", "show", "web"])?;
    assert_eq!((&shown["declared_in"], &shown["nodes"]), (&json!("configuration"), &json!(1)));
    Ok(())
}
