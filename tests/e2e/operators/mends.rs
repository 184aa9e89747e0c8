//! What the operators' command line says where something is wrong, and what it has for
//! shells and readers.

use std::fs;
use std::process::Command;

use anyhow::Result;
use congruent_tests::binaries;
use congruent_tests::operator::Operator;
use congruent_tests::program::{Ended, run};
use congruent_tests::site::{Settings, Site};

use super::Scene;

fn server(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(binaries::path("congruent-server")?);
    command.args(arguments);
    Ok(command)
}

fn check(ended: &Ended, says: &[&str]) {
    assert_eq!(ended.code, Some(2), "{}", ended.text());
    for says in says {
        assert!(ended.stderr.contains(says), "{says:?} in {}", ended.stderr);
    }
}

#[test]
fn a_group_that_is_there_or_is_not() -> Result<()> {
    let scene = Scene::new()?;
    let admin = scene.admin();
    let twice = admin.run(&["group", "create", "fleet", "--environment", "prod", "--reason", "x"])?;
    check(&twice, &["there is a group \"fleet\" already", "`congruent-server group edit fleet`"]);
    for arguments in [&["group", "edit", "nope"][..], &["group", "delete", "nope"]] {
        let none = admin.run(&[arguments, &["--reason", "x"]].concat())?;
        check(&none, &["there is no group \"nope\"; known are fleet"]);
    }
    let token = admin.run(&["token", "create", "--group", "nope", "--reason", "x"])?;
    check(&token, &["there is no group \"nope\"; known are fleet"]);
    Ok(())
}

#[test]
fn a_connection_that_comes_to_nothing_says_what_may_be_wrong() -> Result<()> {
    let scene = Scene::new()?;
    let admin = scene.admin();
    let token = admin.token_file.to_string_lossy().into_owned();
    let list = |url: &str| run(server(&["node", "list", "--token-file", &token, "--server"])?.arg(url));
    check(&list(&admin.url)?, &["give the collector's with --ca FILE"]);
    let clear = admin.url.replacen("https:", "http:", 1);
    check(&list(&clear)?, &["its port may speak TLS: write https://"]);
    let other = Site::small(&[])?;
    let collector = other.collect(&Settings { tls: false, ..Settings::default() })?;
    let encrypted = collector.url().replacen("http:", "https:", 1);
    check(&list(&encrypted)?, &["its port does not speak TLS: write http://"]);
    let stranger = Operator { authority: collector.authority().to_owned(), ..admin.clone() };
    check(&stranger.run(&["node", "list"])?, &["from another authority than --ca"]);
    let url = collector.url().to_owned();
    assert_eq!(collector.stop()?, Some(0));
    check(&list(&url)?, &["nothing listens there"]);
    Ok(())
}

#[test]
fn the_configuration_may_be_named_once_for_all() -> Result<()> {
    let scene = Scene::new()?;
    let config = scene.site.sandbox.path("server.toml");
    for arguments in [&["report", "--from", "2020-01-01", "--to", "2199-01-01"][..], &["check-config"]] {
        let ended = run(server(arguments)?.env("CONGRUENT_CONFIG", &config))?;
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    }
    Ok(())
}

#[test]
fn shells_complete_and_the_manual_has_every_command() -> Result<()> {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&mut server(&["completions", shell])?)?.text();
        assert!(script.contains("congruent-server") && script.contains("silent-for"), "{shell}: {script}");
    }
    let sourced = "eval \"$(\"$0\" completions bash)\"; complete -p congruent-server";
    let sourced = run(Command::new("bash").args(["-c", sourced]).arg(binaries::path("congruent-server")?))?;
    assert!(sourced.code == Some(0) && sourced.text().contains("_congruent"), "{}", sourced.stderr);

    let dir = tempfile::tempdir()?;
    let written = run(server(&["man"])?.arg(dir.path()))?;
    assert_eq!(written.code, Some(0), "{}", written.stderr);
    let page = fs::read_to_string(dir.path().join("congruent-server-node-list.1"))?;
    assert!(page.contains("silent") && page.contains(".TH"), "{page}");
    check(&run(server(&["man"])?.arg(dir.path().join("none")))?, &["cannot write the manual to"]);
    Ok(())
}
