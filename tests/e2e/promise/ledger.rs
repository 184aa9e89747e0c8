//! First values: counted until they are recorded, held to from then on; and what
//! is sensitive, which is told only keyed.

use std::fs;
use std::path::Path;

use anyhow::Result;
use congruent_protocol::verification::{State, Verification};
use congruent_tests::agent;
use congruent_tests::program::{Ended, run};
use congruent_tests::scene::Scene;

use super::found;
use crate::bad_input::check_refusal;

const CONTRACT: &str = "[[rule]]\npath = '/etc/machine-id'\nclass = 'pinned'\n\
                        [[rule]]\npath = '/var/lib/keys/**'\nclass = 'create-only'\nforbid = ['exec']\nsensitive = true\n";

fn record(scene: &Scene, outcome: &Verification, ledger: &Path) -> Result<Ended> {
    let outcome = scene.sandbox.write("outcome.json", serde_json::to_vec(outcome)?)?;
    run(agent::command(&["ledger", "record", "--ledger"])?.arg(ledger).arg(outcome))
}

#[test]
fn a_first_value_is_held_to_once_it_is_recorded() -> Result<()> {
    let scene = Scene::unbaked()?;
    fs::write(scene.root.join("etc/machine-id"), "")?;
    fs::create_dir_all(scene.root.join("var/lib/keys"))?;
    let contract = scene.sandbox.write("c.toml", CONTRACT)?;
    agent::bake(&scene.root, Some(&contract), &scene.keys, &scene.manifest)?;
    let (ledger, key) = (scene.sandbox.path("ledger.json"), scene.sandbox.write("content.key", [7; 32])?);
    let plain = ["--content-key".into(), key.clone().into_os_string()];
    let held: Vec<_> =
        plain.iter().cloned().chain(["--ledger".into(), ledger.clone().into_os_string()]).collect();

    fs::write(scene.root.join("etc/machine-id"), "0123\n")?;
    fs::write(scene.root.join("var/lib/keys/own"), "secret")?;
    let first = scene.verification(&plain)?;
    let seen: Vec<_> = first.coverage.first_seen.iter().map(|first| first.path.to_string()).collect();
    assert_eq!(
        (first.state, seen),
        (State::Congruent, vec!["/etc/machine-id".into(), "/var/lib/keys/own".into()])
    );
    let text = String::from_utf8(serde_json::to_vec(&first)?)?;
    assert!(text.contains("keyed-blake3:"), "{text}");
    assert!(!text.contains(&congruent_protocol::digest::Algorithm::Blake3.digest(b"secret").to_hex()));

    let recorded = record(&scene, &first, &ledger)?;
    assert!(recorded.stderr.contains("recorded 2 first values"), "{}", recorded.stderr);
    let again = record(&scene, &first, &ledger)?;
    assert!(
        again.stderr.contains("recorded 0 first values") && again.stderr.contains("2 were known"),
        "{}",
        again.stderr
    );
    let kept = scene.verification(&held)?;
    assert_eq!((kept.state, kept.coverage.first_seen.len()), (State::Congruent, 0));

    let without = scene.verify(["--insecure-unsigned".as_ref(), "--ledger".as_ref(), ledger.as_os_str()])?;
    check_refusal("a ledger without its key", &without, &["give it with --content-key FILE"]);

    fs::write(scene.root.join("etc/machine-id"), "4567\n")?;
    fs::remove_file(scene.root.join("var/lib/keys/own"))?;
    fs::write(scene.root.join("var/lib/keys/tool"), "#!/bin/sh")?;
    fs::set_permissions(
        scene.root.join("var/lib/keys/tool"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    let changed = scene.verification(&held)?;
    assert_eq!(
        found(&changed),
        ["modified /etc/machine-id content", "removed /var/lib/keys/own", "added /var/lib/keys/tool !exec"]
    );
    assert_ne!(changed.observed_root, changed.baked_root);
    // Without the ledger nobody knows what came first, but never may it run.
    assert_eq!(found(&scene.verification(&plain)?), ["added /var/lib/keys/tool !exec"]);
    Ok(())
}

#[test]
fn ledgers_that_cannot_be_used_are_refused() -> Result<()> {
    let scene = Scene::new()?;
    let outcome = scene.verification::<&str>([])?;
    let ledger = scene.sandbox.path("ledger.json");
    assert_eq!(record(&scene, &outcome, &ledger)?.code, Some(0));
    let whole = fs::read_to_string(&ledger)?;
    let root = outcome.baked_root.to_string();
    let other = root.replace(&root[7..9], "zz");
    let stranger = format!("blake3:{}", "0".repeat(64));
    for (what, text, says) in [
        ("cut", whole[..20].to_owned(), "malformed"),
        ("of another image", whole.replace(&root, &stranger), "a ledger serves one instance of one image"),
        (
            "of a later version",
            whole.replace("\"schema_version\": 1", "\"schema_version\": 2"),
            "schema version 2",
        ),
        ("a root that is none", whole.replace(&root, &other), "malformed"),
    ] {
        let broken = scene.sandbox.write("broken.json", text)?;
        let words = ["--insecure-unsigned".as_ref(), "--ledger".as_ref(), broken.as_os_str()];
        check_refusal(what, &scene.verify(words)?, &["broken.json", says]);
    }
    let short = scene.sandbox.write("short.key", b"short")?;
    let words = ["--insecure-unsigned".as_ref(), "--content-key".as_ref(), short.as_os_str()];
    check_refusal("a short key", &scene.verify(words)?, &["short.key is not 32 bytes long", "openssl rand"]);
    Ok(())
}
