//! Why a registry did not serve.

use std::io;
use std::path::PathBuf;

use reqwest::StatusCode;

use super::credentials::CredentialsError;

/// Why a registry did not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("cannot read the authorities to trust from {}", .path.display())]
    ReadAuthority {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot trust the authorities in {}", .path.display())]
    Authority {
        path: PathBuf,
        #[source]
        source: reqwest::Error,
    },
    #[error("cannot prepare for requests")]
    Prepare(#[source] reqwest::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("the registry names {0:?}, which is no address that can be used")]
    Address(String),
    /// The cause never has the address: a redirect's may hold a signature that opens it.
    #[error("cannot {action} at {host}")]
    Request {
        action: String,
        host: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("cannot {action}: {host} speaks HTTP without TLS; where that is meant so, give --plain-http")]
    NoTls { action: String, host: String },
    #[error("cannot {action}: {host} answered {status}{told}")]
    Status { action: String, host: String, status: StatusCode, told: String },
    #[error("cannot {action}: it is not at {host}")]
    NotFound { action: String, host: String },
    #[error(
        "{host} asks for credentials for {repository}, and there are none; log in with docker or skopeo, or name --auth-file FILE"
    )]
    NoCredentials { host: String, repository: String },
    #[error("{host} asks to be authorized in a way that is not known: {told:?}")]
    Challenge { host: String, told: String },
    #[error("the authority {host} gave no token that can be used")]
    Token { host: String },
    #[error("{action}: the answer of {host} is over {limit} bytes long")]
    TooLong { action: String, host: String, limit: u64 },
    #[error("cannot {action}: the answer of {host} is for other bytes than were asked for")]
    Range { action: String, host: String },
    #[error("others write the tag {tag} of referrers all the time; try again")]
    Contended { tag: String },
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}
