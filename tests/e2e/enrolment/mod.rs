//! Nodes that enrol, with the real binaries: the whole way from `init` to a report
//! over mutual TLS, and what goes wrong on it.

mod by_root;
mod certificates;
mod init;
mod join;
mod killed;
mod revoked;
mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_tests::collector::Collector;
use congruent_tests::curl::Curl;
use congruent_tests::program::{Ended, run};
use congruent_tests::site::{GROUP, Settings, Site, token};
use congruent_tests::{agent, binaries, tree};
use data_encoding::HEXLOWER;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// An installation whose nodes are not configured, and its running collector.
struct Place {
    site: Site,
    collector: Collector,
    agents_url: String,
}

impl Place {
    /// With these nodes, and more lines for the collector's configuration.
    fn new(nodes: &[&str], more: &'static str) -> Result<Self> {
        let site = Site::small(&[])?;
        for node in nodes {
            tree::copy(&site.sandbox.path("baked"), &site.root(node))?;
            site.write_agent(node)?;
        }
        let (collector, agents_url) = start(&site, more)?;
        Ok(Self { site, collector, agents_url })
    }

    /// The collector again, as after an update: stopped, and started on the same
    /// ports with `change` to its configuration.
    fn restart(self, change: impl FnOnce(String) -> String) -> Result<Self> {
        self.again(false, change)
    }

    /// The same, when it was killed.
    fn killed(self) -> Result<Self> {
        self.again(true, |toml| toml)
    }

    fn again(self, killed: bool, change: impl FnOnce(String) -> String) -> Result<Self> {
        let Self { site, collector, agents_url } = self;
        let config = site.sandbox.path("server.toml");
        let port_of = |url: &str| url.rsplit(':').next().unwrap_or_default().to_owned();
        let toml = fs::read_to_string(&config)?;
        let toml = toml.replacen(
            "listen = \"127.0.0.1:0",
            &format!("listen = \"127.0.0.1:{}", port_of(collector.url())),
            1,
        );
        let toml = toml.replacen(
            AGENTS.trim_end(),
            &AGENTS.trim_end().replace(":0", &format!(":{}", port_of(&agents_url))),
            1,
        );
        fs::write(&config, change(toml))?;
        if killed {
            collector.kill();
        } else {
            assert_eq!(collector.stop()?, Some(0));
        }
        let collector = Collector::start(&config, &site.sandbox.path("server.log"), &token("operator"))?;
        assert_eq!(collector.agents_url()?, agents_url);
        Ok(Self { site, collector, agents_url })
    }

    fn authority(&self) -> PathBuf {
        self.site.sandbox.path("ca.pem")
    }

    fn fingerprint(&self) -> Result<String> {
        fingerprint(&self.authority())
    }

    /// A join token as an operator makes one, in a file.
    fn token(&self) -> Result<PathBuf> {
        self.token_with(&["--ttl", "15m"])
    }

    fn token_with(&self, more: &[&str]) -> Result<PathBuf> {
        let tokens = self.site.sandbox.listing()?.iter().filter(|name| name.ends_with(".join")).count();
        let file = self.site.sandbox.path(format!("{tokens}.join"));
        let ended = run(self
            .operator(&["token", "create", "--group", GROUP])?
            .args(more)
            .arg("--output")
            .arg(&file))?;
        ensure!(ended.code == Some(0), "{}", ended.stderr);
        Ok(file)
    }

    /// An operator on the collector's machine, who changes something.
    fn operator(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binaries::path("congruent-server")?);
        command.args(arguments).args(["--reason", "a test", "--server", self.collector.url(), "--config"]);
        command.arg(self.site.sandbox.path("server.toml"));
        Ok(command)
    }

    /// `congruent enroll` for a node.
    fn enroll_command(&self, node: &str, token: &Path) -> Result<Command> {
        let mut command = agent::command(&["enroll", "--server", self.collector.url()])?;
        command.args(["--ca-fingerprint", &self.fingerprint()?, "--token-file"]).arg(token);
        command.arg("--config").arg(self.site.sandbox.path(format!("{node}.toml")));
        Ok(command)
    }

    fn enroll(&self, node: &str, token: &Path) -> Result<Ended> {
        run(&mut self.enroll_command(node, token)?)
    }

    /// A node that is enrolled.
    fn enrolled(&self, node: &str) -> Result<()> {
        let ended = self.enroll(node, &self.token()?)?;
        ensure!(ended.code == Some(0), "{}", ended.stderr);
        Ok(())
    }

    /// The certificate and key of an enrolled node, for curl.
    fn as_node(&self, node: &str) -> Curl {
        let state = self.site.state(node);
        Curl::new(&self.authority()).identity(state.join("node.crt"), state.join("node.key"))
    }

    fn revoke(&self, node: &str) -> Result<()> {
        let ended = run(&mut self.operator(&["node", "revoke", node])?)?;
        ensure!(ended.code == Some(0), "{}", ended.stderr);
        Ok(())
    }
}

fn start(site: &Site, more: &'static str) -> Result<(Collector, String)> {
    let collector = site.collect(&Settings { more, ..Settings::default() })?;
    let agents_url = collector.agents_url()?;
    Ok((collector, agents_url))
}

/// The fingerprint of a certificate in PEM, worked out by others.
fn fingerprint(certificate: &Path) -> Result<String> {
    let mut command = Command::new("openssl");
    let der = run(command.args(["x509", "-outform", "DER", "-in"]).arg(certificate))?;
    ensure!(der.code == Some(0), "{}", der.stderr);
    Ok(format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(&der.stdout))))
}

/// Holds that a command ended with an error that says all this.
fn check_refused(ended: &Ended, says: &[&str]) {
    assert_eq!(ended.code, Some(2), "{}{}", ended.text(), ended.stderr);
    for word in says {
        assert!(ended.stderr.contains(word), "{word:?} in {}", ended.stderr);
    }
}

/// What a node keeps of its enrolment.
fn enrolment(site: &Site, node: &str) -> Result<Value> {
    let bytes = fs::read(site.state(node).join("enrolment.json")).context("not enrolled")?;
    Ok(serde_json::from_slice(&bytes)?)
}

const AGENTS: &str = "agents-listen = \"127.0.0.1:0\"\n";
