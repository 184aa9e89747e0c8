//! Two collectors on one PostgreSQL behind HAProxy, all real and on the loopback.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use congruent_postgres::Postgres;

use crate::collector::{self, Collector};
use crate::enrolled;
use crate::operator::Operator;
use crate::program;
use crate::site::{Settings, Site, token};
use crate::wait::{PATIENCE, wait_for};

/// How each collector is called.
const NAMES: [&str; 2] = ["a", "b"];
/// What is deployed: the tests run it as it is.
const BALANCER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/haproxy/haproxy.cfg");

/// Where a collector listens.
#[derive(Debug, Clone, Copy)]
struct Ports {
    operators: u16,
    agents: u16,
}

/// The installation; all of it ends when this is dropped.
pub struct Cluster {
    /// Its files.
    pub site: Site,
    /// What both know is kept here.
    pub postgres: Postgres,
    collectors: [Option<Collector>; 2],
    ports: [Ports; 2],
    /// Where the balancer listens.
    balanced: Ports,
    balancer: Option<Child>,
}

impl Cluster {
    /// Starts everything; the nodes are not enrolled yet.
    ///
    /// # Errors
    /// When something does not come up.
    pub fn start(nodes: &[&str], settings: &Settings) -> Result<Self> {
        let postgres = Postgres::start()?;
        let site = Site::small(nodes)?.on_postgres(postgres.database()?);
        let balanced = free_ports()?;
        let ports = [free_ports()?, free_ports()?];
        let mut this = Self { site, postgres, collectors: [None, None], ports, balanced, balancer: None };
        for which in [0, 1] {
            this.configure(which, settings)?;
            this.start_collector(which)?;
        }
        this.balancer = Some(this.balance()?);
        wait_for("the balancer to reach a collector", PATIENCE, || {
            let (url, authority) = (format!("{}/readyz", this.url()), this.collector(0).authority());
            let asked = crate::http::request_tls(authority, "GET", &url, &[], b"");
            Ok(asked.is_ok_and(|answer| answer.status == 200).then_some(()))
        })?;
        Ok(this)
    }

    /// The collector `which`, 0 or 1.
    ///
    /// # Panics
    /// When it does not run.
    pub fn collector(&self, which: usize) -> &Collector {
        self.collectors[which].as_ref().expect("it runs")
    }

    /// Starts a collector, as it is configured.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_collector(&mut self, which: usize) -> Result<()> {
        let config = self.config(which);
        let command = collector::command(&config)?;
        let collector = Collector::start_as(command, &config, &self.log(which), &token("operator"))?;
        self.collectors[which] = Some(collector);
        Ok(())
    }

    /// Kills a collector, at once and without a word.
    pub fn kill(&mut self, which: usize) {
        self.collectors[which] = None;
    }

    /// Which collector leads; none where neither says so.
    ///
    /// # Errors
    /// When `among` do not answer.
    pub fn leader(&self, among: &[usize]) -> Result<Option<usize>> {
        for which in among {
            let told = self.collector(*which).get("/metrics")?.text();
            if told.lines().any(|line| line == "congruent_leading 1") {
                return Ok(Some(*which));
            }
        }
        Ok(None)
    }

    /// Where operators reach it.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.balanced.operators)
    }

    /// Where a collector takes reports, past the balancer.
    pub fn agents_url(&self, which: usize) -> String {
        format!("https://127.0.0.1:{}", self.ports[which].agents)
    }

    /// The admin, at a collector.
    pub fn admin(&self, which: usize) -> Operator {
        let collector = self.collector(which);
        let token_file = self.site.sandbox.path("operator.token");
        Operator { url: collector.url().to_owned(), token_file, authority: collector.authority().to_owned() }
    }

    /// Enrols a node at a collector; it reports to the balancer.
    ///
    /// # Errors
    /// When it is refused.
    pub fn enrol(&self, which: usize, node: &str, group: &str) -> Result<()> {
        enrolled::enrol(self.collector(which), &self.site.write_agent(node)?, group)
    }

    /// Has a node report to a collector itself.
    ///
    /// # Errors
    /// When it is not enrolled.
    pub fn send_to(&self, which: usize, node: &str) -> Result<()> {
        enrolled::redirect(&self.site.state(node), &self.agents_url(which)).map(drop)
    }

    /// The log of a collector.
    pub fn log(&self, which: usize) -> PathBuf {
        self.site.sandbox.path(format!("server-{}.log", NAMES[which]))
    }

    fn config(&self, which: usize) -> PathBuf {
        self.site.sandbox.path(format!("server-{}.toml", NAMES[which]))
    }

    fn configure(&self, which: usize, settings: &Settings) -> Result<()> {
        let Ports { operators, agents } = self.ports[which];
        let toml = self.site.server_toml(&Settings { port: operators, ..settings.clone() });
        let anywhere = self.site.agents_listen();
        ensure!(toml.contains(&anywhere), "{toml}");
        let here = format!(
            "agents-listen = \"127.0.0.1:{agents}\"\nagents-url = \"https://127.0.0.1:{}\"\n",
            self.balanced.agents
        );
        std::fs::write(self.config(which), toml.replace(&anywhere, &here)).context("cannot write it")
    }

    fn balance(&self) -> Result<Child> {
        let at = |port: u16| format!("127.0.0.1:{port}");
        let [a, b] = self.ports;
        let log = std::fs::File::create(self.site.sandbox.path("haproxy.log"))?;
        let mut command = Command::new(haproxy()?);
        command.args(["-db", "-f", BALANCER]);
        command.env("CA", self.collector(0).authority());
        for (name, port) in [
            ("OPERATORS", self.balanced.operators),
            ("AGENTS", self.balanced.agents),
            ("A_OPERATORS", a.operators),
            ("A_AGENTS", a.agents),
            ("B_OPERATORS", b.operators),
            ("B_AGENTS", b.agents),
        ] {
            command.env(name, at(port));
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("cannot start haproxy")?;
        let listens = || TcpStream::connect((Ipv4Addr::LOCALHOST, self.balanced.agents)).is_ok();
        let said = || std::fs::read_to_string(self.site.sandbox.path("haproxy.log")).unwrap_or_default();
        wait_for("haproxy to listen", PATIENCE, || {
            ensure!(child.try_wait()?.is_none(), "haproxy ended: {}", said());
            Ok(listens().then_some(()))
        })?;
        Ok(child)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(balancer) = &mut self.balancer {
            program::end(balancer);
        }
    }
}

/// Debian's haproxy lies where an ordinary user's PATH may not look.
fn haproxy() -> Result<&'static Path> {
    let path = Path::new("/usr/sbin/haproxy");
    ensure!(path.exists(), "{} is missing: run `make setup`", path.display());
    Ok(path)
}

/// Two that are free now.
fn free_ports() -> Result<Ports> {
    let (first, second) =
        (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    Ok(Ports { operators: first.local_addr()?.port(), agents: second.local_addr()?.port() })
}
