//! A running collector, `congruent-server serve`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::http::{Response, request, request_tls};
use crate::wait::{PATIENCE, wait_for};
use crate::{binaries, program};

const READY: &str = "listening on ";
const AGENTS: &str = "enrolled nodes on ";

/// A collector, killed when it is dropped.
pub struct Collector {
    child: Child,
    url: String,
    /// Where enrolled nodes report; none where it takes no enrolments.
    agents_url: Option<String>,
    operator_token: String,
    /// The certificate of its authority, where it speaks TLS.
    authority: PathBuf,
}

/// `congruent-server serve` with this configuration.
///
/// # Errors
/// When the binary is missing.
pub fn command(config: &Path) -> Result<Command> {
    let mut command = Command::new(binaries::path("congruent-server")?);
    command.arg("serve").arg("--config").arg(config);
    Ok(command)
}

impl Collector {
    /// Starts one and waits until it accepts requests. Its log goes to `log`.
    ///
    /// # Errors
    /// When it does not come up; with its log.
    pub fn start(config: &Path, log: &Path, operator_token: &str) -> Result<Self> {
        Self::start_as(command(config)?, config, log, operator_token)
    }

    /// The same, as `command` has it, which is one of [`command`] with more to it.
    ///
    /// # Errors
    /// When it does not come up; with its log.
    pub fn start_as(mut command: Command, config: &Path, log: &Path, operator_token: &str) -> Result<Self> {
        let file = File::options().append(true).create(true).open(log).context("cannot open the log")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .context("cannot start the collector")?;
        let toml = std::fs::read_to_string(config).context("cannot read the configuration")?;
        match urls(&mut child, toml.lines().any(|line| line.starts_with("agents-listen"))) {
            Some((url, agents_url)) => {
                let (operator_token, authority) =
                    (operator_token.to_owned(), config.with_file_name("ca.pem"));
                Ok(Self { child, url, agents_url, operator_token, authority })
            }
            None => {
                program::end(&mut child);
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("the collector did not come up: {said}")
            }
        }
    }

    /// Where it listens, such as `http://127.0.0.1:8440`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Where enrolled nodes report.
    ///
    /// # Errors
    /// When it takes no enrolments.
    pub fn agents_url(&self) -> Result<String> {
        self.agents_url.clone().context("the collector takes no enrolments")
    }

    /// Asks for `path` as the operator.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&self, path: &str) -> Result<Response> {
        self.ask("GET", path, "")
    }

    /// Asks as the operator, with a body.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Result<Response> {
        let url = format!("{}{path}", self.url);
        if self.url.starts_with("https:") {
            let bearer = format!("Bearer {}", self.operator_token);
            let headers = [
                ("authorization", bearer.as_str()),
                ("congruent-reason", "a test"),
                ("content-type", "application/json"),
            ];
            return request_tls(&self.authority, method, &url, &headers, body.as_bytes());
        }
        request(method, &url, Some(&self.operator_token), Some("application/json"), body.as_bytes())
    }

    /// The JSON at `path`.
    ///
    /// # Errors
    /// When it does not answer with 200 and JSON.
    pub fn json(&self, path: &str) -> Result<Value> {
        let response = self.get(path)?;
        anyhow::ensure!(response.status == 200, "{path}: {} {}", response.status, response.text());
        response.json()
    }

    /// Ends it as the kernel does when memory runs out: at once, without a word.
    pub fn kill(mut self) {
        self.end();
    }

    /// The same, where another is to take its place.
    pub fn end(&mut self) {
        program::end(&mut self.child);
    }

    /// Asks it to stop, and gives its exit code.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(self) -> Result<Option<i32>> {
        self.terminate()?;
        self.ended()
    }

    /// Asks it to stop, and does not wait.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn terminate(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).context("cannot signal the collector")
    }

    /// Waits until it has ended, and gives its exit code.
    ///
    /// # Errors
    /// When it does not end.
    pub fn ended(mut self) -> Result<Option<i32>> {
        let child = &mut self.child;
        Ok(wait_for("the collector to stop", PATIENCE, || Ok(child.try_wait()?))?.code())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        program::end(&mut self.child);
    }
}

/// The URLs in the collector's first lines, the second where enrolled nodes have a port
/// of their own; none where it ends or says nothing.
fn urls(child: &mut Child, has_agents: bool) -> Option<(String, Option<String>)> {
    let lines = lines(child)?;
    let next = || lines.recv_timeout(PATIENCE).ok();
    let url = next()?.strip_prefix(READY)?.to_owned();
    let agents_url = if has_agents { Some(next()?.strip_prefix(AGENTS)?.to_owned()) } else { None };
    Some((url, agents_url))
}

/// What the collector says, line by line.
fn lines(child: &mut Child) -> Option<Receiver<String>> {
    let stdout = child.stdout.take()?;
    let (send, lines) = mpsc::channel();
    // Reads on when nobody listens any more, so that the collector never meets a closed
    // pipe.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    Some(lines)
}
