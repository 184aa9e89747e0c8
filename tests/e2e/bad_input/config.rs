//! Configurations that cannot be, and what stands in a collector's way.

use std::fs;
use std::net::TcpListener;

use anyhow::Result;
use congruent_tests::collector;
use congruent_tests::program::{Ended, run};
use congruent_tests::site::{Settings, Site};
use rusqlite::Connection;

use super::check_refusal;

/// A collector that must not come up.
fn serve(site: &Site) -> Result<Ended> {
    run(&mut collector::command(&site.sandbox.path("server.toml"))?)
}

#[test]
fn an_unknown_key_gets_the_nearest_known_one_named() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let server = fs::read_to_string(site.write_server(&Settings::default())?)?;
    for (good, bad, says) in [
        ("silent-after", "silent-aftr", "did you mean `silent-after`?"),
        ("[[group]]", "[[groups]]", "did you mean `group`?"),
        ("manifests =", "manifest =", "did you mean `manifests`?"),
        ("mode = \"report-only\"", "mode = \"report\"", "did you mean `report-only`?"),
        ("agents-listen", "agent-listen", "did you mean `agents-listen`?"),
    ] {
        site.sandbox.write("server.toml", server.replace(good, bad))?;
        check_refusal(bad, &serve(&site)?, &["server.toml", "line ", "column ", says]);
    }
    let agent = fs::read_to_string(site.write_agent("web-1")?)?;
    for (good, bad, says) in [
        ("interval", "intervall", "did you mean `interval`?"),
        ("state-directory", "state-dir", "did you mean `state-directory`?"),
        ("trust =", "trusts =", "did you mean `trust`?"),
    ] {
        site.sandbox.write("web-1.toml", agent.replace(good, bad))?;
        check_refusal(bad, &site.sweep("web-1")?, &["web-1.toml", "line ", "column ", says]);
        assert!(!site.state("web-1").exists(), "{bad}: something was done all the same");
    }
    Ok(())
}

/// Configurations of a version before nodes enrolled.
#[test]
fn tokens_of_nodes_are_refused_with_the_mend() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let agent = fs::read_to_string(site.write_agent("web-1")?)?;
    let old = "[collector]\nurl = \"http://127.0.0.1:1\"\ntoken-file = \"web-1.token\"\n";
    site.sandbox.write("web-1.toml", format!("{agent}{old}"))?;
    let server = fs::read_to_string(site.write_server(&Settings::default())?)?;
    let node = "[[node]]\nid = \"web-1\"\ngroup = \"web\"\ntoken-file = \"web-1.token\"\n";
    site.sandbox.write("server.toml", format!("{server}{node}"))?;
    check_refusal("an old collector", &serve(&site)?, &["[[node]]", "token create", "congruent enroll"]);
    check_refusal("an old agent", &site.sweep("web-1")?, &["web-1.toml", "[collector]", "congruent enroll"]);
    Ok(())
}

#[test]
fn what_a_collector_cannot_use_is_named_with_the_mend() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let replacing = Settings { tls: false, ..Settings::replacing("http://127.0.0.1:9/".to_owned()) };
    let server = fs::read_to_string(site.write_server(&replacing)?)?;
    let cases: [(&str, &str, &str, &[&str]); 6] = [
        ("an open address", "127.0.0.1:0", "0.0.0.0:0", &["0.0.0.0:0", "127.0.0.1"]),
        ("no such webhook", "webhook = \"platform\"", "webhook = \"form\"", &["\"form\"", "platform"]),
        ("no such manifest", "web.manifest", "gone.manifest", &["gone.manifest", "No such file"]),
        ("no such key", "key.pub.pem", "gone.pem", &["gone.pem", "No such file"]),
        ("no such secret", "operator.token", "gone.token", &["gone.token", "No such file"]),
        ("no duration", "\"15m\"", "\"soon\"", &["server.toml", "line 4"]),
    ];
    for (what, good, bad, says) in cases {
        assert!(server.contains(good), "{what}");
        site.sandbox.write("server.toml", server.replace(good, bad))?;
        check_refusal(what, &serve(&site)?, says);
    }
    Ok(())
}

#[test]
fn a_secret_that_everyone_can_read_is_refused() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::small(&["web-1"])?;
    site.write_server(&Settings::default())?;
    let file = site.sandbox.path("operator.token");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    check_refusal("an open secret", &serve(&site)?, &["operator.token", "chmod 600"]);
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let taken = TcpListener::bind(("127.0.0.1", 0))?;
    let port = taken.local_addr()?.port();
    site.write_server(&Settings { port, ..Settings::default() })?;
    let says = [&format!("127.0.0.1:{port}"), "cannot listen", "in use"];
    check_refusal("a port in use", &serve(&site)?, &says);
    Ok(())
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    assert_eq!(site.collect(&Settings::default())?.stop()?, Some(0));
    let database = Connection::open(site.database())?;
    database.execute_batch("PRAGMA user_version = 999; PRAGMA wal_checkpoint(TRUNCATE)")?;
    database.close().map_err(|(_, error)| error)?;
    let before = fs::read(site.database())?;
    check_refusal("a newer database", &serve(&site)?, &["congruent.db", "999", "upgrade"]);
    assert_eq!(fs::read(site.database())?, before, "it was written to");
    Ok(())
}

#[test]
fn what_is_no_database_is_left_alone() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    site.write_server(&Settings::default())?;
    site.sandbox.write("congruent.db", vec![b'x'; 5000])?;
    check_refusal("no database", &serve(&site)?, &["congruent.db"]);
    assert_eq!(fs::read(site.database())?, vec![b'x'; 5000]);
    Ok(())
}

#[test]
fn a_manifest_that_is_not_signed_by_the_groups_keys_is_not_accepted() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    site.write_server(&Settings::default())?;
    let stranger = site.sandbox.keygen("stranger")?;
    congruent_tests::agent::bake(&site.root("web-1"), None, &stranger, &site.manifest())?;
    check_refusal(
        "a stranger's manifest",
        &serve(&site)?,
        &["web.manifest", "no trusted key signed", "sha256:"],
    );
    Ok(())
}
