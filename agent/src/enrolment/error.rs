//! Why a node was not enrolled, or its certificate not renewed.

use jiff::Timestamp;

use super::StateError;

/// Why that did not come about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    #[error(
        "the server {0:?} must begin with https://, or with http:// and a loopback address, and hold no user, password or path"
    )]
    Url(String),
    #[error(
        "the fingerprint {0:?} is not sha256: and 64 hexadecimal digits; `congruent-server init` printed it"
    )]
    Fingerprint(String),
    #[error("cannot make a certificate signing request")]
    Request(#[source] rcgen::Error),
    #[error("cannot set up TLS")]
    Tls(#[source] rustls::Error),
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    #[error("cannot reach the collector at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error(
        "the collector at {url} is of another authority than --ca-fingerprint says: expected {expected}, it shows {shown}; \
         is the address right? If the collector's authority was made anew, take the fingerprint that it logs when it starts"
    )]
    OtherAuthority { url: String, expected: String, shown: String },
    #[error(
        "the certificate of the collector at {url} is not valid at this node's time, {now}: {why}; set the clock that \
         is wrong, this node's or the collector's"
    )]
    ServerTime { url: String, now: Timestamp, why: String },
    #[error(
        "the certificate of the collector at {url} is not for that name: {why}; add the name to `names` in its server.toml"
    )]
    ServerName { url: String, why: String },
    #[error("the collector refuses: {message}")]
    Refused { code: String, message: String, server_time: Option<Timestamp> },
    #[error("the collector at {url} answered {status}, which is no answer of a collector: {text}")]
    Answer { url: String, status: u16, text: String },
    #[error(
        "the collector gave a certificate that does not serve: {0}; is it of another version than this agent?"
    )]
    Certificate(String),
    #[error(
        "this node is enrolled with {enrolled} already, and not with {asked}; to enrol it anew, revoke it there and \
         remove the agent's state directory"
    )]
    Elsewhere { enrolled: String, asked: String },
    #[error(
        "this node is enrolled as {enrolled:?} already, and not as {asked:?}; to name it anew, revoke it and remove \
         the agent's state directory"
    )]
    OtherName { enrolled: String, asked: String },
    #[error("cannot use the state directory")]
    State(#[source] StateError),
}

impl EnrolError {
    /// The word that the collector refused with.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}
