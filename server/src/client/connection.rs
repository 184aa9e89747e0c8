//! The way to a collector: one address, one token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use congruent_protocol::report::Refusal;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::ConnectionArgs;
use crate::config::{Config, ConfigError, SecretError, read_secret};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Long enough for a large manifest on a slow line.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(15);
/// The most that is read of an answer.
const MAX_ANSWER_BYTES: usize = 64 << 20;
/// The largest file of certificates taken.
const MAX_CA_BYTES: u64 = 1 << 20;

/// Why a collector cannot be asked, or refuses.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("which collector? give --server URL, or --config with the collector's own configuration")]
    NoServer,
    #[error("as whom? give --token-file FILE, or --config with the collector's own configuration")]
    NoToken,
    #[error("--server {0:?} is no address; write it as in https://collector.example:8440")]
    Address(String),
    #[error(
        "--server {0} would send the token in the clear; http:// is taken for 127.0.0.1 and [::1] only, so \
         write https://"
    )]
    Clear(Url),
    #[error("cannot use the configuration")]
    Config(#[source] ConfigError),
    #[error("cannot use the token")]
    Token(#[source] SecretError),
    #[error("cannot read the certificates {}", .path.display())]
    ReadCa {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} holds no certificates in PEM", .path.display())]
    Ca {
        path: PathBuf,
        #[source]
        source: Option<reqwest::Error>,
    },
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("cannot reach the collector at {url}{}", mend(.hint))]
    Unreachable {
        url: Url,
        /// What may be wrong, where its cause tells.
        hint: Option<&'static str>,
        #[source]
        source: reqwest::Error,
    },
    #[error("the collector refuses ({status}, {}): {}", .refusal.code, .refusal.message)]
    Refused { status: StatusCode, refusal: Refusal },
    #[error("{url} answered {status}, and not like a collector")]
    Foreign { url: Url, status: StatusCode },
}

/// A way to a collector.
pub(super) struct Connection {
    http: reqwest::Client,
    url: Url,
    token: String,
    pub(super) format: super::Format,
    /// Whether it was said which authority to trust.
    has_authority: bool,
}

/// What is sent.
pub(super) enum Content {
    Nothing,
    Json(Value),
    Bytes(Vec<u8>),
}

impl Connection {
    /// Takes address and token from the flags or, where they say nothing, from
    /// the collector's configuration.
    pub(super) fn open(args: &ConnectionArgs) -> Result<Self, ClientError> {
        let defaults = args.config.as_deref().map(Config::client_defaults).transpose();
        let defaults = defaults.map_err(ClientError::Config)?;
        let url = address(args.server.as_deref(), defaults.as_ref().map(|known| known.url.as_str()))?;
        let (token_file, authority) = defaults.map(|known| (known.token_file, known.authority)).unzip();
        let token_file = args.token_file.clone().or(token_file).ok_or(ClientError::NoToken)?;
        let authority = args.ca.clone().or(authority.flatten());
        let token = read_secret(&token_file).map_err(ClientError::Token)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A token must not follow a redirect to somewhere else, nor go through
            // a proxy that the environment happens to name.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("congruent-server/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = &authority {
            builder = builder.tls_certs_only(certificates(ca)?);
        }
        let http = builder.build().map_err(ClientError::Client)?;
        Ok(Self { http, url, token, format: args.format, has_authority: authority.is_some() })
    }

    /// Asks for what lies at these components of a path.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, ClientError> {
        let mut url = self.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.ask(Method::GET, url, None, Content::Nothing).await
    }

    /// Changes what lies at these components of a path, for a reason.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &[&str],
        reason: &str,
        content: Content,
    ) -> Result<Value, ClientError> {
        self.ask(method, self.at(path), Some(reason), content).await
    }

    /// Takes away what lies at these components of a path, for a reason.
    pub(super) async fn delete(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        reason: &str,
    ) -> Result<Value, ClientError> {
        let mut url = self.at(path);
        url.query_pairs_mut().extend_pairs(query);
        self.ask(Method::DELETE, url, Some(reason), Content::Nothing).await
    }

    /// Components are escaped: a name may hold anything.
    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        url
    }

    async fn ask(
        &self,
        method: Method,
        url: Url,
        reason: Option<&str>,
        content: Content,
    ) -> Result<Value, ClientError> {
        let mut request = self.http.request(method, url.clone()).bearer_auth(&self.token);
        if let Some(reason) = reason {
            request = request.header("congruent-reason", reason.as_bytes());
        }
        request = match content {
            Content::Nothing => request,
            Content::Json(json) => request.json(&json),
            Content::Bytes(bytes) => request.body(bytes),
        };
        let unreachable = |source: reqwest::Error| {
            let hint = hint(&url, &crate::ingest::chain_of(&source), self.has_authority);
            ClientError::Unreachable { url: url.clone(), hint, source }
        };
        let mut response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            answer.extend_from_slice(&chunk);
            if answer.len() > MAX_ANSWER_BYTES {
                return Err(ClientError::Foreign { url, status });
            }
        }
        if status.is_success() {
            return serde_json::from_slice(&answer).map_err(|_| ClientError::Foreign { url, status });
        }
        match serde_json::from_slice(&answer) {
            Ok(refusal) => Err(ClientError::Refused { status, refusal }),
            Err(_) => Err(ClientError::Foreign { url, status }),
        }
    }
}

fn mend(hint: &Option<&'static str>) -> String {
    hint.map(|hint| format!("; {hint}")).unwrap_or_default()
}

/// What may be wrong, from what libraries say of a connection that came to nothing.
fn hint(url: &Url, cause: &str, has_authority: bool) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|word| cause.contains(word));
    match url.scheme() {
        "https" if says(&["InvalidContentType"]) => Some(
            "its port does not speak TLS: write http:// (the collector has `tls = false`), or mend the port",
        ),
        "https" if says(&["UnknownIssuer"]) && !has_authority => Some(
            "its certificate is from an authority that this machine does not know: give the collector's with \
             --ca FILE (`ca.pem` beside its configuration)",
        ),
        "https" if says(&["UnknownIssuer", "BadSignature"]) => {
            Some("its certificate is from another authority than --ca, or the configuration, names")
        }
        "https" if says(&["NotValidForName"]) => Some(
            "its certificate is for other names: ask it by one of those, or give it this one with `names` in its \
             configuration",
        ),
        "http" if says(&["invalid HTTP version", "connection closed", "message completed"]) => {
            Some("its port may speak TLS: write https://")
        }
        _ if says(&["Connection refused"]) => {
            Some("nothing listens there: is it running, and the port right?")
        }
        _ => None,
    }
}

/// The collector's address; http:// only where nobody listens on the way.
fn address(server: Option<&str>, configured: Option<&str>) -> Result<Url, ClientError> {
    let text = server.or(configured).ok_or(ClientError::NoServer)?.to_owned();
    let url = Url::parse(&text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && (url.username(), url.password(), url.query()) == ("", None, None)
    });
    let url = url.ok_or(ClientError::Address(text))?;
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(ClientError::Clear(url));
    }
    Ok(url)
}

/// By number only: whoever answers for names could answer with another address.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, ClientError> {
    use std::io::Read;
    let read = |source| ClientError::ReadCa { path: path.to_owned(), source };
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(read)?;
    file.take(MAX_CA_BYTES).read_to_end(&mut pem).map_err(read)?;
    let refuse = |source| ClientError::Ca { path: path.to_owned(), source };
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if certificates.is_empty() => Err(refuse(None)),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(refuse(Some(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_go_in_the_clear_only_on_loopback() {
        let listen = Some("http://127.0.0.1:8440");
        for (server, listen, expected) in [
            (None, listen, Ok("http://127.0.0.1:8440/")),
            (Some("https://collector.example"), listen, Ok("https://collector.example/")),
            (Some("http://127.9.9.9:1"), None, Ok("http://127.9.9.9:1/")),
            (Some("http://[::1]:1"), None, Ok("http://[::1]:1/")),
            (None, None, Err("give --server URL")),
            (Some("http://collector.example"), None, Err("in the clear")),
            (Some("http://localhost:8440"), None, Err("in the clear")),
            (Some("http://10.0.0.1"), None, Err("in the clear")),
            (Some("ftp://127.0.0.1"), None, Err("is no address")),
            (Some("https://me:pw@collector.example"), None, Err("is no address")),
            (Some("collector.example:8440"), None, Err("is no address")),
        ] {
            match (address(server, listen), expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
                (Err(error), Err(says)) => assert!(error.to_string().contains(says), "{error}"),
                (got, _) => panic!("{server:?}: {got:?}"),
            }
        }
    }
}
