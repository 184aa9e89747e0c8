//! Why a configuration is refused. Each names the thing and the mend.

use std::path::PathBuf;

use congruent_protocol::digest::Digest;
use congruent_protocol::key::KeyError;
use congruent_protocol::strict_toml::TomlError;

use super::accepted::AcceptError;
use super::secrets::SecretError;
use crate::store::AddressError;

/// Why the collector's configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the configuration {} is not valid", .path.display())]
    Parse {
        path: PathBuf,
        #[source]
        source: TomlError,
    },
    #[error(
        "nodes report by a certificate, and stand in no configuration; take `[[node]]` out, make a token with \
         `congruent-server token create`, and enrol each node with `congruent enroll`"
    )]
    NodeTable,
    #[error("`listen` is {0:?}; write an address and a port, such as \"127.0.0.1:8440\"")]
    ListenSyntax(String),
    #[error(
        "`listen` is {0}, which other machines can reach, and `tls` is false; \
         take `tls = false` out, or listen on 127.0.0.1 or [::1]"
    )]
    NotLoopback(std::net::SocketAddr),
    #[error("`{key}` is {value:?}; write an address and a port, such as \"0.0.0.0:8441\"")]
    AddressSyntax { key: &'static str, value: String },
    #[error(
        "`agents-url` is {0:?}; write one such as \"https://collector.example:8441\", without a path or a password"
    )]
    AgentsUrl(String),
    #[error("the database cannot be used")]
    Database(#[source] Box<AddressError>),
    #[error("`{key}` is {value}; {mend}")]
    Value { key: &'static str, value: String, mend: &'static str },
    #[error(
        "`{kind}` of [retention] is {value:?}; write a time of at least a day, in hours, days or weeks, such as \
         \"400d\", or leave it out to keep them for ever"
    )]
    Retention { kind: &'static str, value: String },
    #[error("{what} {name:?} must be 1 to {limit} printable characters without \"/\", and not dots alone", limit = super::MAX_NAME_CHARS)]
    Name { what: &'static str, name: String },
    #[error("{what} {name:?} stands twice; give each its own name")]
    Duplicate { what: &'static str, name: String },
    #[error("group {group:?} sends orders to webhook {webhook:?}, which does not exist; {}", name_known(.known, "[[webhook]]"))]
    UnknownWebhook { group: String, webhook: String, known: Vec<String> },
    #[error(
        "group {0:?} has mode = \"replace\" but no webhook that takes its orders; \
         add webhook = \"NAME\", or leave the mode at \"report-only\""
    )]
    ReplaceWithoutWebhook(String),
    #[error("group {0:?} has both trust and trust-config; keep one")]
    TrustTwice(String),
    #[error(
        "group {group:?} accepts {name} {version} with two roots, {} and {}: one name and version must be one \
         image; bake the later one under another version", .roots[0], .roots[1]
    )]
    TwoRoots { group: String, name: String, version: String, roots: Box<[Digest; 2]> },
    #[error("group {0:?} accepts manifests but trusts no key; add trust = [\"KEY.pub.pem\"]")]
    NoTrust(String),
    #[error(
        "webhook {name:?} has the url {url:?}; write one that begins with http:// or https:// and holds no password"
    )]
    WebhookUrl { name: String, url: String },
    #[error("{what} {name:?} cannot be used")]
    Secret {
        what: &'static str,
        name: String,
        #[source]
        source: SecretError,
    },
    #[error("group {group:?} trusts {}, which cannot be read", .path.display())]
    KeyFile {
        group: String,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("group {group:?} trusts {}, which is no key", .path.display())]
    Key {
        group: String,
        path: PathBuf,
        #[source]
        source: KeyError,
    },
    #[error("group {0:?} has keys to trust that its trust configuration does not name: {names}", names = .1.join(", "))]
    IdleKeys(String, Vec<String>),
    #[error("the trust configuration of group {group:?} is not valid")]
    TrustText {
        group: String,
        #[source]
        source: TomlError,
    },
    #[error(
        "the trust configuration of group {group:?} names the key {key:?}, which is not among the keys given with it"
    )]
    KeyNotGiven { group: String, key: String },
    #[error(
        "group {0:?} is declared in the configuration, and stands in the store too; take one of that name out of \
         the configuration, or give it another name there"
    )]
    DeclaredTwice(String),
    #[error("group {group:?} accepts over {limit} {what}; let it accept fewer")]
    TooMany { group: String, what: &'static str, limit: usize },
    #[error("both `manifest-directory` and `[blobs]` say where imported manifests are kept; keep one")]
    TwoPlaces,
    #[error(
        "`[blobs]` has one of `access-key-id` and `secret-access-key-file`; write both, or neither where this \
         machine's role is to be used"
    )]
    HalfAKey,
    #[error("cannot read the `ca-certificate` of `[blobs]`, {}", .path.display())]
    BlobAuthority {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("group {group:?} cannot accept {manifest}")]
    Manifest {
        group: String,
        manifest: String,
        #[source]
        source: Box<AcceptError>,
    },
}

/// Names what there is, or what to add.
fn name_known(names: &[String], table: &str) -> String {
    match names {
        [] => format!("add a {table} of that name"),
        names => format!("known are {}", names.join(", ")),
    }
}
