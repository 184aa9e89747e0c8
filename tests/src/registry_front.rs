//! What stands before registries in the world, and Debian's has not: an authority that
//! gives tokens, another host that blobs come from, referrers that are kept, lines
//! that break. Whatever it does not do itself the real registry behind it does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::http::Message;
use crate::registry::USER;

/// The identity token that the authority gives tokens for as well.
pub const IDENTITY: &str = "an-identity-token";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// What it does.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Asks for a token, which it gives for a password or an identity.
    pub asks_for_tokens: bool,
    /// Where blobs come from instead: the host and port of another.
    pub blobs_from: Option<String>,
    /// Keeps what refers to what.
    pub keeps_referrers: bool,
    /// Cuts this many answers with a blob after so many bytes.
    pub cuts: Option<(u32, usize)>,
    /// Knows no ranges.
    pub ignores_ranges: bool,
    /// Answers so many writes of a manifest with 500, as Docker's registry may where
    /// several write at once.
    pub fails: u32,
}

/// A request, as far as tests ask.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Method, path and version.
    pub line: String,
    /// Its `Authorization`.
    pub authorization: Option<String>,
    /// Its `Range`.
    pub range: Option<String>,
}

/// A listener in front of a registry.
pub struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    registry: String,
    own: String,
    rules: Rules,
    seen: Mutex<Vec<Seen>>,
    /// Each subject with what refers to it.
    referrers: Mutex<Vec<(String, Value)>>,
    cuts: AtomicU32,
    fails: AtomicU32,
    ends: AtomicBool,
}

impl Front {
    /// Starts one in front of the registry at this host and port.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(registry: &str, rules: Rules) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen")?;
        let address = listener.local_addr().context("the listener has no address")?;
        let shared = Arc::new(Shared {
            registry: registry.to_owned(),
            own: address.to_string(),
            cuts: AtomicU32::new(rules.cuts.map_or(0, |(times, _)| times)),
            fails: AtomicU32::new(rules.fails),
            rules,
            seen: Mutex::default(),
            referrers: Mutex::default(),
            ends: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.ends.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&serving);
                // Whoever is cut off makes an error of it; that is theirs to tell.
                thread::spawn(move || shared.serve(client).ok());
            }
        });
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Serves one request of a connection, and closes it.
    fn serve(&self, mut client: TcpStream) -> Result<()> {
        let request = Message::read(&client, false)?;
        let authorization = request.header("authorization").map(str::to_owned);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(Seen {
            line: request.first_line.clone(),
            authorization: authorization.clone(),
            range: request.header("range").map(str::to_owned),
        });
        let mut words = request.first_line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let answer = if path.starts_with("/token") {
            token(path, &request, authorization.as_deref())
        } else if let Some(refused) = self.refusal(method, authorization.as_deref()) {
            refused
        } else if let (Some(host), true) =
            (&self.rules.blobs_from, method == "GET" && path.contains("/blobs/sha"))
        {
            answer("307 Temporary Redirect", &format!("location: http://{host}{path}\r\n"), b"")
        } else if let (true, Some((_, subject))) =
            (self.rules.keeps_referrers, path.split_once("/referrers/"))
        {
            self.referrers_of(subject)
        } else if method == "PUT" && path.contains("/manifests/") && is_left(&self.fails) {
            answer("500 Internal Server Error", "", b"{}")
        } else {
            self.forward(method, path, &request)?
        };
        client.write_all(&answer)?;
        Ok(client.shutdown(Shutdown::Both)?)
    }

    /// A token for pulling is none for pushing.
    fn refusal(&self, method: &str, authorization: Option<&str>) -> Option<Vec<u8>> {
        let needed = if matches!(method, "GET" | "HEAD") { "pull" } else { "push" };
        let is_let_in = authorization
            .and_then(|given| given.strip_prefix("Bearer token-for-"))
            .is_some_and(|actions| actions.split('-').any(|action| action == needed));
        if !self.rules.asks_for_tokens || is_let_in {
            return None;
        }
        let challenge =
            format!("www-authenticate: Bearer realm=\"http://{}/token\",service=\"front\"\r\n", self.own);
        Some(answer("401 Unauthorized", &challenge, b"{}"))
    }

    fn referrers_of(&self, subject: &str) -> Vec<u8> {
        let referrers = self.referrers.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<&Value> =
            referrers.iter().filter(|(of, _)| of == subject).map(|(_, referrer)| referrer).collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found});
        answer("200 OK", &format!("content-type: {OCI_INDEX}\r\n"), index.to_string().as_bytes())
    }

    fn forward(&self, method: &str, path: &str, request: &Message) -> Result<Vec<u8>> {
        let mut head = format!("{method} {path} HTTP/1.0\r\nhost: {}\r\n", self.own);
        for name in ["accept", "content-type", "range"] {
            let is_passed = name != "range" || !self.rules.ignores_ranges;
            if let Some(value) = request.header(name).filter(|_| is_passed) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", request.body.len()));
        let mut registry = TcpStream::connect(&self.registry)?;
        registry.write_all(head.as_bytes())?;
        registry.write_all(&request.body)?;
        let mut bytes = Vec::new();
        registry.read_to_end(&mut bytes)?;
        if method == "PUT" && self.rules.keeps_referrers && path.contains("/manifests/") {
            bytes = self.keep(&request.body, bytes);
        }
        let is_blob = method == "GET" && path.contains("/blobs/");
        if let Some((_, after)) = self.rules.cuts.filter(|(_, after)| is_blob && *after < bytes.len())
            && is_left(&self.cuts)
        {
            bytes.truncate(after);
        }
        Ok(bytes)
    }

    /// Notes what a manifest refers to, and says so in the answer.
    fn keep(&self, body: &[u8], answer: Vec<u8>) -> Vec<u8> {
        let manifest: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(subject) = manifest["subject"]["digest"].as_str() else { return answer };
        let referrer = json!({
            "mediaType": manifest["mediaType"], "size": body.len(), "artifactType": manifest["artifactType"],
            "digest": format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(body))),
            "annotations": manifest["annotations"],
        });
        let mut referrers = self.referrers.lock().unwrap_or_else(PoisonError::into_inner);
        referrers.push((subject.to_owned(), referrer));
        let text = String::from_utf8_lossy(&answer);
        let (first, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
        format!("{first}\r\noci-subject: {subject}\r\n{rest}").into_bytes()
    }
}

/// Takes one of what is left, where there is any.
fn is_left(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// The authority: for the password, or for the identity, what was asked for.
fn token(path: &str, request: &Message, authorization: Option<&str>) -> Vec<u8> {
    let password = format!("Basic {}", BASE64.encode(format!("{}:{}", USER.0, USER.1).as_bytes()));
    let form = String::from_utf8_lossy(&request.body).replace("%2D", "-");
    let is_known = authorization == Some(&password)
        || (request.first_line.starts_with("POST") && form.contains(&format!("refresh_token={IDENTITY}")));
    if !is_known {
        return answer(
            "401 Unauthorized",
            "",
            b"{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"who are you\"}]}",
        );
    }
    let asked = format!("{path}{form}").replace("%3A", ":").replace("%2C", ",");
    let actions = if asked.contains(":pull,push") { "pull-push" } else { "pull" };
    answer("200 OK", "", json!({"token": format!("token-for-{actions}")}).to_string().as_bytes())
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
