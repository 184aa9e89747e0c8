//! Credentials as Docker keeps them: `config.json`, by itself or by way of the
//! programs `docker-credential-NAME` that it names.
//!
//! Nothing here is ever logged or told.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use serde::Deserialize;

use crate::image::reference::RegistryReference;
use crate::regular;

const HUB: &str = "docker.io";
/// What Docker calls its Hub where it keeps credentials.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const MAX_ANSWER_BYTES: u64 = 1 << 20;
/// As the protocol of helpers has it.
const NOT_FOUND: &str = "credentials not found";
/// The user of a helper's answer that is no password.
const TOKEN_USER: &str = "<token>";

/// What opens a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// What is given to the authority for a token.
    Identity(String),
    /// A token.
    Token(String),
}

/// Why credentials could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file could not be read.
    #[error("cannot read credentials from {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not what Docker writes. What stands in it is not told.
    #[error("the credentials in {} are malformed, in line {line}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
    /// An entry of the file is not what Docker writes.
    #[error("the credentials for {0} are malformed")]
    Entry(String),
    /// A helper has a name that none has.
    #[error("{0:?} names no program docker-credential-NAME")]
    HelperName(String),
    /// A helper could not be run.
    #[error("cannot run docker-credential-{name}")]
    Run {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A helper failed.
    #[error("docker-credential-{name} gave no credentials for {server}")]
    Helper {
        /// Its name.
        name: String,
        /// What it was asked for.
        server: String,
    },
}

/// `config.json`, as far as it concerns credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerConfig {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    #[serde(default)]
    cred_helpers: HashMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// The credentials for a registry, where there are any.
pub(super) fn find(
    file: Option<&Path>,
    reference: &RegistryReference,
) -> Result<Option<Credentials>, CredentialsError> {
    let Some(config) = read(file)? else { return Ok(None) };
    if let Some((name, server)) = config.helper(&reference.registry)
        && let Some(found) = ask(name, &server)?
    {
        return Ok(Some(found));
    }
    config.stored(&reference.registry, &reference.repository)
}

fn read(file: Option<&Path>) -> Result<Option<DockerConfig>, CredentialsError> {
    let Some(path) = file.map(Path::to_owned).or_else(default_file) else { return Ok(None) };
    let bytes = match regular::read(&path, regular::MAX_TEXT_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CredentialsError::Read { path, source }),
    };
    let config = DockerConfig::parse(&bytes);
    config.map(Some).map_err(|line| CredentialsError::Malformed { path, line })
}

/// Where Docker keeps them.
fn default_file() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")));
    folder.map(|folder| folder.join("config.json"))
}

impl DockerConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// The line where it is malformed; the parser's words may quote a secret.
    pub fn parse(bytes: &[u8]) -> Result<Self, usize> {
        serde_json::from_slice(bytes).map_err(|error| error.line())
    }

    /// The helper for a registry, and what it is to be asked for.
    fn helper(&self, registry: &str) -> Option<(&str, String)> {
        let own = self.cred_helpers.iter().find(|(key, _)| host_of(key) == registry);
        let server = || if registry == HUB { HUB_KEY.to_owned() } else { registry.to_owned() };
        match (own, &self.creds_store) {
            (Some((key, name)), _) => Some((name, if registry == HUB { server() } else { key.clone() })),
            (None, Some(name)) if !name.is_empty() => Some((name, server())),
            _ => None,
        }
    }

    /// What the file itself has for a repository: the entry of its own, of what is
    /// above it, or of the registry.
    ///
    /// # Errors
    /// When the entry is malformed.
    pub fn stored(&self, registry: &str, repository: &str) -> Result<Option<Credentials>, CredentialsError> {
        let mut place = format!("{registry}/{repository}");
        loop {
            let found = self.auths.get(&place).or_else(|| {
                // Older tools wrote URLs; of several for one host, the first by name.
                let same = self.auths.iter().filter(|(key, _)| place == registry && host_of(key) == registry);
                same.min_by_key(|(key, _)| key.as_str()).map(|(_, entry)| entry)
            });
            if let Some(found) = found.map(Entry::credentials) {
                return found.map_err(|()| CredentialsError::Entry(place));
            }
            match place.rfind('/') {
                Some(at) => place.truncate(at),
                None => return Ok(None),
            }
        }
    }
}

/// The registry that a key of the file is about.
fn host_of(key: &str) -> &str {
    let Some(host) = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) else {
        return if matches!(key, "index.docker.io" | "registry-1.docker.io") { HUB } else { key };
    };
    let host = host.split('/').next().unwrap_or(host);
    if matches!(host, "index.docker.io" | "registry-1.docker.io") { HUB } else { host }
}

impl Entry {
    fn credentials(&self) -> Result<Option<Credentials>, ()> {
        let given = |word: &Option<String>| word.clone().filter(|word| !word.is_empty());
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credentials::Token(token)));
        }
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credentials::Identity(token)));
        }
        if let Some(auth) = given(&self.auth) {
            let bytes = BASE64.decode(auth.as_bytes()).map_err(|_| ())?;
            let text = String::from_utf8(bytes).map_err(|_| ())?;
            let (user, password) = text.split_once(':').ok_or(())?;
            // Docker itself once padded with these.
            let password = password.trim_end_matches('\0').to_owned();
            return Ok(Some(Credentials::Password { user: user.to_owned(), password }));
        }
        let both = given(&self.username).zip(given(&self.password));
        Ok(both.map(|(user, password)| Credentials::Password { user, password }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Asks a helper. It is the user's own program, named in the user's own file.
fn ask(name: &str, server: &str) -> Result<Option<Credentials>, CredentialsError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_word) {
        return Err(CredentialsError::HelperName(name.chars().take(100).collect()));
    }
    let failed = |source| CredentialsError::Run { name: name.to_owned(), source };
    let mut command = Command::new(format!("docker-credential-{name}"));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read what it is asked for answers all the same.
        let _ = input.write_all(server.as_bytes());
    }
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        output.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).map_err(failed)?;
    }
    let has_ended_well = child.wait().map_err(failed)?.success();
    if !has_ended_well {
        let says_none = String::from_utf8_lossy(&answer).contains(NOT_FOUND);
        let error = CredentialsError::Helper { name: name.to_owned(), server: server.to_owned() };
        return if says_none { Ok(None) } else { Err(error) };
    }
    let answer: HelperAnswer = serde_json::from_slice(&answer)
        .map_err(|_| CredentialsError::Helper { name: name.to_owned(), server: server.to_owned() })?;
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => Credentials::Identity(answer.secret),
        _ => Credentials::Password { user: answer.username, password: answer.secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Credentials {
        Credentials::Password { user: user.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn the_nearest_entry_counts() {
        let auth = |pair: &str| BASE64.encode(pair.as_bytes());
        let config = serde_json::json!({"auths": {
            "r.example": {"auth": auth("all:p:w")},
            "r.example/team/web": {"auth": auth("web:w")},
            "https://old.example/v2/": {"username": "u", "password": "p"},
            "https://index.docker.io/v1/": {"identitytoken": "idt", "auth": auth("u:")},
            "empty.example": {},
            "token.example": {"registrytoken": "rt"},
            "bad.example": {"auth": "!"},
        }});
        let config = DockerConfig::parse(config.to_string().as_bytes()).expect("a configuration");
        let check = |registry: &str, repository: &str, expected: Option<Credentials>| {
            let found = config.stored(registry, repository).expect(registry);
            assert!(found == expected, "{registry}/{repository}");
        };
        check("r.example", "db", Some(password("all", "p:w")));
        check("r.example", "team/web", Some(password("web", "w")));
        check("r.example", "team/web/x", Some(password("web", "w")));
        check("r.example", "team/website", Some(password("all", "p:w")));
        check("old.example", "x", Some(password("u", "p")));
        check("docker.io", "library/debian", Some(Credentials::Identity("idt".to_owned())));
        check("token.example", "x", Some(Credentials::Token("rt".to_owned())));
        check("empty.example", "x", None);
        check("other.example", "x", None);
        check("r.example:5000", "db", None);
        assert!(matches!(config.stored("bad.example", "x"), Err(CredentialsError::Entry(_))));
        assert_eq!(DockerConfig::parse(b"{\n\"auths\": []}").err(), Some(2));
    }

    #[test]
    fn helpers_are_known_by_registry() {
        let config =
            br#"{"credsStore":"desktop","credHelpers":{"r.example":"pass","https://h.example":"x"}}"#;
        let config = DockerConfig::parse(config).expect("a configuration");
        let check = |registry: &str, name: &str, server: &str| {
            assert_eq!(config.helper(registry), Some((name, server.to_owned())));
        };
        check("r.example", "pass", "r.example");
        check("h.example", "x", "https://h.example");
        check("docker.io", "desktop", HUB_KEY);
        check("other.example", "desktop", "other.example");
        for name in ["", "../evil", "a b", "a/b"] {
            assert!(matches!(ask(name, "r.example"), Err(CredentialsError::HelperName(_))), "{name}");
        }
        assert!(matches!(ask("congruent-has-none", "r.example"), Err(CredentialsError::Run { .. })));
    }
}
