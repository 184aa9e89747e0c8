//! Registries that do not let everybody in: by password over TLS, by token, by a
//! program that keeps credentials; and what never goes elsewhere.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use congruent_tests::program::{run, succeed};
use congruent_tests::registry::{Guard, Registry, USER};
use congruent_tests::registry_front::{Front, IDENTITY, Rules};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{Baked, done, named, refused};

fn auth(user: &str, password: &str) -> Value {
    json!({"auth": BASE64.encode(format!("{user}:{password}").as_bytes())})
}

/// A file as `docker login` writes it.
fn auth_file(baked: &Baked, name: &str, host: &str, entry: &Value) -> Result<PathBuf> {
    baked.sandbox.write(name, json!({"auths": {host: entry}}).to_string())
}

fn word(path: &std::path::Path) -> &str {
    path.to_str().unwrap_or_default()
}

#[test]
fn a_password_opens_a_registry_over_tls() -> Result<()> {
    let baked = Baked::new()?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::TlsAndPassword)?;
    let (host, authority) = (registry.host(), registry.authority());
    let image = named(&host, "1");
    let from = format!("oci:{}:1", baked.layout.display());
    let password = format!("--dest-creds={}:{}", USER.0, USER.1);
    succeed("skopeo", ["copy", "--quiet", "--dest-tls-verify=false", &password, &from, &image])?;

    let right = auth_file(&baked, "right.json", &host, &auth(USER.0, USER.1))?;
    let wrong = auth_file(&baked, "wrong.json", &host, &auth(USER.0, "guess"))?;
    let none = auth_file(&baked, "none.json", "elsewhere.example", &auth(USER.0, USER.1))?;
    let attach = |more: &[&str]| baked.attach(&baked.manifest, &image, more);
    refused(&attach(&["--auth-file", word(&right)])?, &["certificate"])?;
    refused(&attach(&["--plain-http", "--auth-file", word(&right)])?, &["400"])?;
    let ca = ["--ca", word(&authority), "--auth-file"];
    let with = |file: &PathBuf| attach(&[&ca[..], &[word(file)]].concat());
    refused(&with(&none)?, &[&host, "asks for credentials", "--auth-file"])?;
    let guessed = with(&wrong)?;
    refused(&guessed, &[&host, "401"])?;
    ensure!(!guessed.stderr.contains("guess"), "the password was told: {}", guessed.stderr);
    refused(&with(&baked.sandbox.path("nowhere.json"))?, &["cannot read credentials"])?;
    let broken = baked.sandbox.write("broken.json", "{\"auths\":\n\"secret\"}")?;
    let broken = with(&broken)?;
    refused(&broken, &["malformed, in line 2"])?;
    ensure!(!broken.stderr.contains("secret"), "the file was quoted: {}", broken.stderr);
    done(&with(&right)?)?;

    // Where nothing is named, credentials are where Docker keeps them.
    let home = baked.sandbox.path("home");
    fs::create_dir_all(home.join(".docker"))?;
    fs::copy(&right, home.join(".docker/config.json"))?;
    let fetched = baked.sandbox.path("fetched.manifest");
    let mut fetch =
        congruent_tests::agent::command(&["fetch", &image, "--ca", word(&authority), "--output"])?;
    fetch.arg(&fetched).arg("--trust").arg(&baked.keys.public).env("HOME", &home).env_remove("DOCKER_CONFIG");
    done(&run(&mut fetch)?)?;
    assert_eq!(fs::read(&fetched)?, fs::read(&baked.manifest)?);
    Ok(())
}

#[test]
fn a_program_that_keeps_credentials_is_asked() -> Result<()> {
    let baked = Baked::new()?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::TlsAndPassword)?;
    let (host, authority) = (registry.host(), registry.authority());
    let image = named(&host, "1");
    let from = format!("oci:{}:1", baked.layout.display());
    let password = format!("--dest-creds={}:{}", USER.0, USER.1);
    succeed("skopeo", ["copy", "--quiet", "--dest-tls-verify=false", &password, &from, &image])?;
    let answer = json!({"ServerURL": host, "Username": USER.0, "Secret": USER.1});
    let script = format!("#!/bin/sh\n[ \"$1\" = get ] && [ \"$(cat)\" = '{host}' ] && echo '{answer}'\n");
    let helper = baked.sandbox.write("docker-credential-tests", script)?;
    fs::set_permissions(&helper, Permissions::from_mode(0o755))?;
    let path = format!("{}:{}", baked.sandbox.folder().display(), std::env::var("PATH").unwrap_or_default());
    let attach = |name: &str, config: Value| {
        let file = baked.sandbox.write(name, config.to_string())?;
        let mut attach = congruent_tests::agent::command(&["attach", &image, "--manifest"])?;
        attach.arg(&baked.manifest).args(["--ca", word(&authority), "--auth-file"]).arg(&file);
        run(attach.env("PATH", &path))
    };
    refused(&attach("out.json", json!({"credHelpers": {&host: "../tests"}}))?, &["names no program"])?;
    refused(&attach("gone.json", json!({"credsStore": "not-there"}))?, &["docker-credential-not-there"])?;
    refused(&attach("fails.json", json!({"credHelpers": {&host: "fails"}}))?, &["docker-credential-fails"])?;
    done(&attach("own.json", json!({"credsStore": "fails", "credHelpers": {&host: "tests"}}))?)?;
    done(&attach("store.json", json!({"credsStore": "tests"}))?)
}

#[test]
fn tokens_are_asked_for_and_go_to_no_other_host() -> Result<()> {
    let baked = Baked::new()?;
    let registry = Registry::start(&baked.sandbox.path("registry"), Guard::None)?;
    baked.push("1", &registry.host())?;
    let elsewhere = Front::start(&registry.host(), Rules::default())?;
    let rules = Rules { asks_for_tokens: true, blobs_from: Some(elsewhere.host()), ..Rules::default() };
    let front = Front::start(&registry.host(), rules)?;
    let (host, image) = (front.host(), named(&front.host(), "1"));
    let password = auth_file(&baked, "password.json", &host, &auth(USER.0, USER.1))?;
    let identity = auth_file(&baked, "identity.json", &host, &json!({"identitytoken": IDENTITY}))?;
    let stranger = auth_file(&baked, "stranger.json", &host, &auth("stranger", "guess"))?;
    let with =
        |file: &PathBuf| baked.attach(&baked.manifest, &image, &["--plain-http", "--auth-file", word(file)]);
    let guessed = with(&stranger)?;
    refused(&guessed, &["cannot get a token", "UNAUTHORIZED: who are you"])?;
    done(&with(&password)?)?;
    let fetched = baked.sandbox.path("fetched.manifest");
    done(&baked.fetch(&image, &fetched, &["--plain-http", "--auth-file", word(&identity)])?)?;
    assert_eq!(fs::read(&fetched)?, fs::read(&baked.manifest)?);

    let seen = front.seen();
    ensure!(seen.iter().any(|seen| seen.line.starts_with("POST /token")), "no identity was given: {seen:?}");
    ensure!(
        seen.iter().any(|seen| seen.line.contains("pull%2Cpush")),
        "no token to push was asked for: {seen:?}"
    );
    let led_away = elsewhere.seen();
    ensure!(!led_away.is_empty(), "no blob came from elsewhere");
    ensure!(led_away.iter().all(|seen| seen.authorization.is_none()), "a token went elsewhere: {led_away:?}");
    Ok(())
}
