//! Operators at the command line: their tokens, their roles, their reasons.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use congruent_tests::operator::Operator;
use congruent_tests::program::run;
use serde_json::json;

use super::Scene;

#[test]
fn a_token_is_given_once_and_works_until_it_is_revoked() -> Result<()> {
    let mut scene = Scene::new()?;
    let (admin, file) = (scene.admin(), scene.site.sandbox.path("alice.token"));
    let path = file.to_string_lossy().into_owned();
    let created = admin.run(&[
        "operator", "create", "alice", "--role", "viewer", "--ttl", "90d", "--output", &path, "--reason", "x",
    ])?;
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let token = fs::read_to_string(&file)?;
    assert!(!created.text().contains(token.trim()), "the token is shown as well");

    let alice = scene.operator(file.clone());
    assert_eq!(alice.run(&["group", "list"])?.code, Some(0));
    let refused = alice.run(&["group", "edit", "fleet", "--mode", "replace", "--reason", "x"])?;
    assert_eq!(refused.code, Some(2));
    for says in ["403", "role-too-low", "\"alice\" has the role viewer", "ask an admin"] {
        assert!(refused.stderr.contains(says), "{}", refused.stderr);
    }
    assert_eq!(scene.audit()?[..2], ["refused", "operator-created"]);

    scene.start()?;
    let alice = scene.operator(file);
    assert_eq!(alice.run(&["group", "list"])?.code, Some(0), "a restart forgets operators");
    scene.admin().change(&["operator", "revoke", "alice"])?;
    let gone = alice.run(&["group", "list"])?;
    assert!(gone.code == Some(2) && gone.stderr.contains("was revoked at"), "{}", gone.stderr);
    scene.start()?;
    let gone = Operator { url: scene.admin().url, ..alice }.run(&["group", "list"])?;
    assert!(gone.code == Some(2) && gone.stderr.contains("was revoked at"), "{}", gone.stderr);

    // Kept are digests only; log and audit have no token either.
    for name in ["congruent.db", "congruent.db-wal", "server.log"] {
        let kept = fs::read(scene.site.sandbox.path(name))?;
        let found = kept.windows(token.trim().len()).any(|window| window == token.trim().as_bytes());
        assert!(!found, "the token is in {name}");
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_said_with_the_mend() -> Result<()> {
    let scene = Scene::new()?;
    let admin = scene.admin();
    let there = scene.site.sandbox.path("operator.token").to_string_lossy().into_owned();
    for (arguments, says) in [
        (vec!["operator", "create", "eve", "--role", "viewer"], "--reason <TEXT>"),
        (vec!["operator", "create", "eve", "--role", "root", "--reason", "x"], "viewer, operator, admin"),
        (
            vec!["operator", "create", "eve", "--role", "viewer", "--ttl", "soon", "--reason", "x"],
            "a period such as 90d",
        ),
        (
            vec!["operator", "create", "eve", "--role", "viewer", "--output", &there, "--reason", "x"],
            "cannot create",
        ),
        (vec!["operator", "create", "eve", "--role", "viewer", "--reason", " "], "needs a reason"),
        (vec!["operator", "revoke", "config", "--reason", "x"], "`operator-token-file`"),
        (vec!["operator", "revoke", "no/body", "--reason", "x"], "there is no such operator"),
        (vec!["group", "show", "none"], "there is no group \"none\"; known are fleet"),
        (vec!["group", "edit", "fleet", "--drop", "blake3:0", "--reason", "x"], "does not accept blake3:0"),
        (vec!["manifest", "show", "blake3:0"], "is not a digest"),
        (vec!["manifest", "import", &there, "--reason", "x"], "not a congruent manifest"),
        (vec!["audit", "list", "--limit", "0"], "from 1 to 1000"),
    ] {
        let ended = admin.run(&arguments)?;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.text());
        assert!(ended.stderr.contains(says), "{arguments:?}: {}", ended.stderr);
    }
    assert_eq!(scene.audit()?, ["group-created"]);

    let config = scene.site.sandbox.path("server.toml");
    let mut bare = std::process::Command::new(congruent_tests::binaries::path("congruent-server")?);
    let ended = run(bare.args(["audit", "list"]))?;
    assert!(ended.stderr.contains("give --server URL, or --config"), "{}", ended.stderr);
    // The configuration names the token; its port is the kernel's choice here.
    let mut beside = std::process::Command::new(congruent_tests::binaries::path("congruent-server")?);
    let beside = beside.env("CONGRUENT_SERVER", scene.collector().url()).arg("audit").arg("list");
    let ended = run(beside.arg("--config").arg(&config))?;
    assert!(ended.code == Some(0) && ended.text().contains("group-created"), "{}", ended.stderr);
    let mut clear = std::process::Command::new(congruent_tests::binaries::path("congruent-server")?);
    let ended = run(clear.args(["audit", "list", "--server", "http://192.0.2.1", "--token-file", &there]))?;
    assert!(ended.stderr.contains("in the clear"), "{}", ended.stderr);
    assert_eq!(admin.answer(&["operator", "list"])?["operators"][0]["name"], json!("config"));
    Ok(())
}
