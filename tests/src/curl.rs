//! HTTPS as others speak it: curl, over OpenSSL.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::http::Response;
use crate::program::{Ended, run};

/// What curl is told of both sides.
#[derive(Debug, Clone)]
pub struct Curl {
    authority: PathBuf,
    identity: Option<(PathBuf, PathBuf)>,
    token: Option<String>,
    more: Vec<String>,
}

impl Curl {
    /// Trusts what this authority signed.
    pub fn new(authority: &Path) -> Self {
        Self { authority: authority.to_owned(), identity: None, token: None, more: Vec::new() }
    }

    /// Shows this certificate, with its key.
    #[must_use]
    pub fn identity(mut self, certificate: PathBuf, key: PathBuf) -> Self {
        self.identity = Some((certificate, key));
        self
    }

    /// Sends this bearer token.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// With one more argument.
    #[must_use]
    pub fn with(mut self, argument: &str) -> Self {
        self.more.push(argument.to_owned());
        self
    }

    /// Asks, and takes whatever curl makes of it.
    ///
    /// # Errors
    /// When curl cannot be run.
    pub fn try_ask(&self, method: &str, url: &str, body: &str) -> Result<Ended> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*", "--request", method]);
        command.args(["--write-out", "\n%{http_code}", "--cacert"]).arg(&self.authority);
        if let Some((certificate, key)) = &self.identity {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        if let Some(token) = &self.token {
            command.args(["--header", &format!("authorization: Bearer {token}")]);
        }
        if !body.is_empty() {
            command.args(["--header", "content-type: application/json", "--data-raw", body]);
        }
        run(command.args(&self.more).arg(url))
    }

    /// Posts what is in a file, byte for byte, and takes the answer.
    ///
    /// # Errors
    /// When there is none; with what curl said.
    pub fn post_file(&self, url: &str, file: &Path) -> Result<Response> {
        let (header, data) = ("content-type: application/json", format!("@{}", file.display()));
        self.clone().with("--header").with(header).with("--data-binary").with(&data).ask("POST", url, "")
    }

    /// Asks, and takes the answer.
    ///
    /// # Errors
    /// When there is none; with what curl said.
    pub fn ask(&self, method: &str, url: &str, body: &str) -> Result<Response> {
        let ended = self.try_ask(method, url, body)?;
        ensure!(ended.code == Some(0), "curl {method} {url} ({:?}): {}", ended.code, ended.stderr);
        let text = ended.text();
        let (body, status) = text.rsplit_once('\n').context("curl says no status")?;
        let status = status.parse().with_context(|| format!("{status:?} is no status"))?;
        Ok(Response { status, body: body.as_bytes().to_vec() })
    }
}
