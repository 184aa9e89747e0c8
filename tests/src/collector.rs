//! A running collector, `congruent-server serve`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use anyhow::{Context, Result, bail};
use congruent_protocol::report::{REPORTS_PATH, Report};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::curl::Curl;
use crate::http::{Response, request};
use crate::wait::{PATIENCE, wait_for};
use crate::{binaries, program};

const READY: &str = "listening on ";
const AGENTS: &str = "enrolled nodes on ";

/// A collector, killed when it is dropped.
pub struct Collector {
    child: Child,
    url: String,
    /// What it says after its first line.
    lines: Receiver<String>,
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
        let file = File::options().append(true).create(true).open(log).context("cannot open the log")?;
        let mut child = command(config)?
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .context("cannot start the collector")?;
        match first_line(&mut child) {
            Some((url, lines)) => {
                let (operator_token, authority) =
                    (operator_token.to_owned(), config.with_file_name("ca.pem"));
                Ok(Self { child, url, lines, operator_token, authority })
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

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.url.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Where enrolled nodes report, as it says once.
    ///
    /// # Errors
    /// When it does not say so.
    pub fn agents_url(&self) -> Result<String> {
        let line = self.lines.recv_timeout(PATIENCE).context("the collector takes no enrolments")?;
        line.strip_prefix(AGENTS).map(str::to_owned).with_context(|| format!("unexpected: {line}"))
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
            let curl = Curl::new(&self.authority).token(&self.operator_token);
            return curl.with("--header").with("congruent-reason: a test").ask(method, &url, body);
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

    /// Posts a body as a node's report.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn post(&self, token: &str, body: &[u8]) -> Result<Response> {
        let url = format!("{}{REPORTS_PATH}", self.url);
        request("POST", &url, Some(token), Some("application/json"), body)
    }

    /// Posts a report.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn report(&self, token: &str, report: &Report) -> Result<Response> {
        self.post(token, &serde_json::to_vec(report).context("reports always serialise")?)
    }

    /// Ends it as the kernel does when memory runs out: at once, without a word.
    pub fn kill(mut self) {
        program::end(&mut self.child);
    }

    /// Asks it to stop, and gives its exit code.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(mut self) -> Result<Option<i32>> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).context("cannot signal the collector")?;
        let child = &mut self.child;
        Ok(wait_for("the collector to stop", PATIENCE, || Ok(child.try_wait()?))?.code())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        program::end(&mut self.child);
    }
}

/// The URL in the collector's first line, and the lines after it; none where it
/// ends or says nothing.
fn first_line(child: &mut Child) -> Option<(String, Receiver<String>)> {
    let stdout = child.stdout.take()?;
    let (send, lines) = mpsc::channel();
    // Reads on after the first line, so that the collector never meets a closed pipe.
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    let line = lines.recv_timeout(PATIENCE).ok()?;
    Some((line.strip_prefix(READY)?.to_owned(), lines))
}
