//! A whole installation in a sandbox: a baked tree, a collector's configuration,
//! nodes with trees of their own that were copied from what was baked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result};
use congruent_protocol::report::{REPORTS_PATH, Report};
use rusqlite::{Connection, OpenFlags};

use crate::collector::{self, Collector};
use crate::enrolled::{self, Enrolled};
use crate::http::Response;
use crate::program::{Ended, run};
use crate::sandbox::{KeyFiles, Sandbox};
use crate::signature::WebhookSecret;
use crate::wait::PATIENCE;
use crate::{agent, tree};

/// The group that every node is in.
pub const GROUP: &str = "web";
/// The webhook target's name.
pub const TARGET: &str = "platform";

/// An installation.
pub struct Site {
    /// Where all its files are.
    pub sandbox: Sandbox,
    /// What signs its manifest.
    pub keys: KeyFiles,
    /// What its webhooks are signed with.
    pub secret: WebhookSecret,
    nodes: Vec<String>,
    /// The address of its database, where that is not a file.
    store: Option<String>,
    /// Where collectors of this installation take reports; 0 before the first.
    agents_port: AtomicU16,
}

/// What differs between collectors in tests.
#[derive(Debug, Clone)]
pub struct Settings {
    /// 0 for one of the kernel's choice.
    pub port: u16,
    /// The group's environment.
    pub environment: &'static str,
    /// `report-only` or `replace`.
    pub mode: &'static str,
    /// Where orders are delivered.
    pub webhook: Option<String>,
    /// When a node that does not report is silent.
    pub silent_after: &'static str,
    /// The database's file.
    pub database: &'static str,
    /// The largest body taken.
    pub max_body_bytes: Option<u64>,
    /// The accepted manifests' files.
    pub manifests: Vec<String>,
    /// Whether it speaks TLS to operators and to nodes that enrol.
    pub tls: bool,
    /// More lines for the top of the file.
    pub more: &'static str,
    /// More lines for the group.
    pub more_of_group: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            environment: "prod",
            mode: "report-only",
            webhook: None,
            silent_after: "15m",
            database: "congruent.db",
            max_body_bytes: None,
            manifests: vec!["web.manifest".to_owned()],
            tls: true,
            more: "",
            more_of_group: "",
        }
    }
}

impl Settings {
    /// A group that orders replacements from `url`.
    pub fn replacing(url: String) -> Self {
        Self { mode: "replace", webhook: Some(url), ..Self::default() }
    }
}

impl Site {
    /// An installation over a small tree with these nodes.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn small(nodes: &[&str]) -> Result<Self> {
        Self::new(Sandbox::new()?, nodes, tree::small)
    }

    /// An installation over what `plant` puts into an empty folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(sandbox: Sandbox, nodes: &[&str], plant: impl FnOnce(&Path) -> Result<()>) -> Result<Self> {
        let nodes: Vec<String> = nodes.iter().map(|&node| node.to_owned()).collect();
        let site = Self {
            keys: sandbox.keygen("key")?,
            secret: WebhookSecret::new(*b"a secret of thirty-two bytes ..."),
            sandbox,
            nodes,
            store: None,
            agents_port: AtomicU16::new(0),
        };
        let baked = site.sandbox.path("baked");
        plant(&baked)?;
        agent::bake(&baked, None, &site.keys, &site.manifest())?;
        site.sandbox.write("operator.token", token("operator"))?;
        site.sandbox.write("platform.secret", site.secret.to_text())?;
        for node in &site.nodes {
            tree::copy(&baked, &site.root(node))?;
        }
        Ok(site)
    }

    /// The same, whose collectors keep what they know in the database of PostgreSQL at this
    /// address.
    #[must_use]
    pub fn on_postgres(self, url: String) -> Self {
        Self { store: Some(url), ..self }
    }

    /// The manifest that all nodes are held to.
    pub fn manifest(&self) -> PathBuf {
        self.sandbox.path("web.manifest")
    }

    /// The collector's database, where that is a file.
    pub fn database(&self) -> PathBuf {
        self.sandbox.path("congruent.db")
    }

    /// Whether that is so.
    pub fn has_file(&self) -> bool {
        self.store.is_none()
    }

    /// The one number that a query gives, wherever the database is.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn count(&self, query: &str) -> Result<i64> {
        if let Some(url) = &self.store {
            let mut client = postgres::Client::connect(url, postgres::NoTls).context("cannot connect")?;
            return client
                .query_one(query, &[])
                .with_context(|| query.to_owned())?
                .try_get(0)
                .context("no number");
        }
        let database = Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        database.busy_timeout(PATIENCE)?;
        database.query_row(query, [], |row| row.get(0)).with_context(|| query.to_owned())
    }

    /// The root of a node's tree.
    pub fn root(&self, node: &str) -> PathBuf {
        self.sandbox.path(format!("{node}-root"))
    }

    /// Where a node keeps its state.
    pub fn state(&self, node: &str) -> PathBuf {
        self.sandbox.path(format!("{node}-state"))
    }

    /// Writes the collector's configuration.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_server(&self, settings: &Settings) -> Result<PathBuf> {
        self.sandbox.write("server.toml", self.server_toml(settings))
    }

    /// The collector's configuration.
    pub fn server_toml(&self, settings: &Settings) -> String {
        let Settings { port, environment, mode, silent_after, database, tls, more, more_of_group, .. } =
            settings;
        let database = self.store.as_deref().unwrap_or(database);
        let limit = settings.max_body_bytes.map(|bytes| format!("max-body-bytes = {bytes}\n"));
        let webhook = settings.webhook.as_ref().map(|_| format!("webhook = {TARGET:?}\n"));
        let agents = if more.contains("agents-listen") { String::new() } else { self.agents_listen() };
        let mut toml = format!(
            "listen = \"127.0.0.1:{port}\"\n\
             database = {database:?}\n\
             operator-token-file = \"operator.token\"\n\
             silent-after = {silent_after:?}\n\
             tls = {tls}\n{agents}{}{more}\n\
             [[group]]\n\
             name = {GROUP:?}\n\
             environment = {environment:?}\n\
             mode = {mode:?}\n\
             manifests = {:?}\n\
             trust = [\"key.pub.pem\"]\n{more_of_group}{}",
            limit.unwrap_or_default(),
            settings.manifests,
            webhook.unwrap_or_default()
        );
        if let Some(url) = &settings.webhook {
            toml.push_str(&format!(
                "[[webhook]]\nname = {TARGET:?}\nurl = {url:?}\nsecret-file = \"platform.secret\"\n"
            ));
        }
        toml
    }

    /// The line of a configuration that has nodes report where they always did.
    pub fn agents_listen(&self) -> String {
        format!("agents-listen = \"127.0.0.1:{}\"\n", self.agents_port.load(Ordering::Relaxed))
    }

    /// Starts the collector, and enrols every node that is not.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn collect(&self, settings: &Settings) -> Result<Collector> {
        self.write_server(settings)?;
        let collector = self.start()?;
        for node in &self.nodes {
            let config = self.write_agent(node)?;
            if !enrolled::is_enrolled(&self.state(node)) {
                enrolled::enrol(&collector, &config, GROUP)?;
            }
        }
        Ok(collector)
    }

    /// Starts a collector with the configuration as it is written.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(&self) -> Result<Collector> {
        self.start_as(collector::command(&self.sandbox.path("server.toml"))?)
    }

    /// The same by a command that may say more of how it runs.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_as(&self, command: Command) -> Result<Collector> {
        let (config, log) = (self.sandbox.path("server.toml"), self.sandbox.path("server.log"));
        let collector = Collector::start_as(command, &config, &log, &token("operator"))?;
        let url = collector.agents_url()?;
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
        self.agents_port.store(port.with_context(|| format!("{url} has no port"))?, Ordering::Relaxed);
        Ok(collector)
    }

    /// Writes a node's configuration.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_agent(&self, node: &str) -> Result<PathBuf> {
        let toml = format!(
            "node = {node:?}\n\
             manifest = \"web.manifest\"\n\
             trust = [\"key.pub.pem\"]\n\
             root = \"{node}-root\"\n\
             state-directory = \"{node}-state\"\n\
             interval = \"15m\"\n"
        );
        self.sandbox.write(format!("{node}.toml"), toml)
    }

    /// What an enrolled node can do without its agent.
    ///
    /// # Errors
    /// When it is not enrolled.
    pub fn enrolled(&self, node: &str) -> Result<Enrolled> {
        Enrolled::new(&self.state(node), &self.database())
    }

    /// A report as this node sends it.
    ///
    /// # Errors
    /// When it is not enrolled.
    pub fn sealed(&self, node: &str, report: &Report) -> Result<Vec<u8>> {
        self.enrolled(node)?.sealed(report)
    }

    /// Posts a body as this node's report.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post(&self, collector: &Collector, node: &str, body: &[u8]) -> Result<Response> {
        let file = tempfile::NamedTempFile::new_in(self.sandbox.folder()).context("cannot make a file")?;
        fs::write(&file, body).context("cannot write a body")?;
        let url = format!("{}{REPORTS_PATH}", collector.agents_url()?);
        self.enrolled(node)?.curl(collector.authority()).post_file(&url, file.path())
    }

    /// The agent's command for a node, without `--once`.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn agent(&self, node: &str) -> Result<Command> {
        let mut command = agent::command(&["agent", "--config"])?;
        command.arg(self.sandbox.path(format!("{node}.toml")));
        Ok(command)
    }

    /// One sweep of a node, reported.
    ///
    /// # Errors
    /// When the agent cannot be run.
    pub fn sweep(&self, node: &str) -> Result<Ended> {
        run(self.agent(node)?.arg("--once"))
    }

    /// Changes a file of a node, so that its next sweep finds it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn tamper(&self, node: &str) -> Result<()> {
        let victim = self.root(node).join("usr/bin/web");
        fs::write(&victim, "#!/bin/sh\necho mined\n").context("cannot change the tree")
    }
}

/// A token that nobody else has.
pub fn token(of: &str) -> String {
    format!("token-of-{of}-0123456789abcdef0123456789abcdef")
}
