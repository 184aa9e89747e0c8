//! From `congruent-server init` to a congruent node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Result;
use congruent_tests::binaries;
use congruent_tests::collector::Collector;
use congruent_tests::program::run;
use congruent_tests::site::Site;

use super::{Place, fingerprint, start};

#[test]
fn from_nothing_to_a_congruent_node() -> Result<()> {
    let site = Site::small(&[])?;
    let folder = site.sandbox.path("collector");
    let init = || -> Result<_> {
        let mut command = Command::new(binaries::path("congruent-server")?);
        run(command.arg("init").arg(&folder).args(["--name", "localhost"]))
    };
    let made = init()?;
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let expected = fingerprint(&folder.join("ca.pem"))?;
    assert_eq!(made.text().trim_end().lines().last(), Some(expected.as_str()), "{}", made.text());
    let again = init()?;
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("overwrites nothing"), "{}", again.stderr);

    // It runs as it is; only here others may have the ports, and a group is to
    // accept something.
    let config = folder.join("server.toml");
    let toml = fs::read_to_string(&config)?.replace("0.0.0.0:8440", "127.0.0.1:0");
    let toml = toml.replace("0.0.0.0:8441", "127.0.0.1:0").replace("# manifests", "manifests");
    let toml = toml.replace("# trust = [\"signer.pub.pem\"]", "trust = [\"key.pub.pem\"]");
    fs::write(&config, toml)?;
    fs::copy(site.manifest(), folder.join("web.manifest"))?;
    fs::copy(&site.keys.public, folder.join("key.pub.pem"))?;
    let operator = fs::read_to_string(folder.join("operator.token"))?;
    let log = site.sandbox.path("server.log");
    let collector = Collector::start(&config, &log, operator.trim())?;
    let agents_url = collector.agents_url()?;
    assert!(agents_url.starts_with("https://localhost:"), "{agents_url}");

    let mut command = Command::new(binaries::path("congruent-server")?);
    command.args(["token", "create", "--group", "default", "--reason", "the first node"]);
    let created = run(command.args(["--server", collector.url(), "--config"]).arg(&config))?;
    assert_eq!(created.code, Some(0), "{}", created.stderr);
    let token = created.text().trim().to_owned();
    congruent_tests::tree::copy(&site.sandbox.path("baked"), &site.root("web-1"))?;
    site.write_agent("web-1")?;
    let place = Place { site, collector, agents_url };
    let file = place.site.sandbox.write("join.token", &token)?;
    let enroll = || -> Result<_> {
        let mut command = congruent_tests::agent::command(&["enroll", "--server", place.collector.url()])?;
        command.args(["--ca-fingerprint", &expected, "--token-file"]).arg(&file);
        run(command.arg("--config").arg(place.site.sandbox.path("web-1.toml")))
    };
    let enrolled = enroll()?;
    assert_eq!(enrolled.code, Some(0), "{}", enrolled.stderr);
    assert!(enrolled.text().starts_with("enrolled as web-1, in the group default"), "{}", enrolled.text());
    for entry in fs::read_dir(place.site.state("web-1"))? {
        let entry = entry?;
        assert_eq!(entry.metadata()?.permissions().mode() & 0o077, 0, "{:?}", entry.file_name());
    }
    let before = fs::read(place.site.state("web-1").join("node.crt"))?;
    let again = enroll()?;
    assert!(again.text().starts_with("already enrolled as web-1"), "{}{}", again.text(), again.stderr);
    assert_eq!(fs::read(place.site.state("web-1").join("node.crt"))?, before);

    for sequence in 1..=2 {
        let swept = place.site.sweep("web-1")?;
        assert_eq!(swept.code, Some(0), "{}", swept.stderr);
        let node = place.collector.json("/v1/nodes/web-1")?;
        assert_eq!((&node["state"], &node["report"]["sequence"]), (&"congruent".into(), &sequence.into()));
    }
    // A restart forgets nobody.
    let Place { site, collector, .. } = place;
    assert_eq!(collector.stop()?, Some(0));
    let collector = Collector::start(&config, &log, operator.trim())?;
    assert_eq!(collector.json("/v1/nodes/web-1")?["state"], "congruent");
    let log = fs::read_to_string(log)?;
    assert!(log.contains("enrolled") && !log.contains(&token) && !log.contains(operator.trim()), "{log}");
    drop(site);
    Ok(())
}

/// An authority that OpenSSL made, of each kind of key that it may have.
#[test]
fn the_users_own_authority_serves_as_well() -> Result<()> {
    for algorithm in [&["EC", "-pkeyopt", "ec_paramgen_curve:P-384"][..], &["RSA"][..], &["ED25519"][..]] {
        let site = Site::small(&[])?;
        let (key, certificate) = (site.sandbox.path("own.key"), site.sandbox.path("own.pem"));
        let mut command = Command::new("openssl");
        let made = run(command.args(["genpkey", "-algorithm"]).args(algorithm).arg("-out").arg(&key))?;
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-days", "30", "-subj", "/CN=Example Root", "-key"]).arg(&key);
        let made = run(command.arg("-out").arg(&certificate))?;
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        congruent_tests::tree::copy(&site.sandbox.path("baked"), &site.root("web-1"))?;
        site.write_agent("web-1")?;
        let own = "agents-listen = \"127.0.0.1:0\"\nca = { certificate = \"own.pem\", key = \"own.key\" }\n";
        let (collector, agents_url) = start(&site, own)?;
        // Where the helpers look for it.
        fs::copy(&certificate, site.sandbox.path("ca.pem"))?;
        let place = Place { site, collector, agents_url };
        place.enrolled("web-1")?;
        let swept = place.site.sweep("web-1")?;
        assert_eq!(swept.code, Some(0), "{algorithm:?}: {}", swept.stderr);
        let node = place.collector.json("/v1/nodes/web-1")?;
        assert!(node["enrolment"]["key"].as_str().is_some_and(|key| key.starts_with("sha256:")), "{node}");
    }
    Ok(())
}
