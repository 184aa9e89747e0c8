//! Whose signatures count, read from key files or from a trust configuration.

use std::io;
use std::path::{Path, PathBuf};

use congruent_protocol::key::{KeyError, PublicKey};
use congruent_protocol::strict_toml::TomlError;
use congruent_protocol::trust::{Trust, TrustError, TrustFile};

use crate::regular;

/// Why there is no telling whom to trust.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadTrustError {
    #[error("cannot read the public key {}", .path.display())]
    ReadKey {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use {}", .path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: KeyError,
    },
    #[error("cannot read the trust configuration {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the trust configuration {} is not valid", .path.display())]
    Toml {
        path: PathBuf,
        #[source]
        source: TomlError,
    },
    #[error("the trust configuration {} cannot be used", .path.display())]
    Load {
        path: PathBuf,
        #[source]
        source: Box<TrustError<ReadTrustError>>,
    },
}

/// Trust in any of these keys, for manifests of every name.
pub(crate) fn of_keys(paths: &[PathBuf]) -> Result<Trust, ReadTrustError> {
    Ok(Trust::any_of(paths.iter().map(|path| read_key(path)).collect::<Result<_, _>>()?))
}

/// Trust as a configuration says. Relative paths in it are taken from its folder.
pub(crate) fn of_file(path: &Path) -> Result<Trust, ReadTrustError> {
    let owned = || path.to_owned();
    let text = regular::read_text(path).map_err(|source| ReadTrustError::Read { path: owned(), source })?;
    let file = TrustFile::parse(&text).map_err(|source| ReadTrustError::Toml { path: owned(), source })?;
    let directory = path.parent().unwrap_or(Path::new(""));
    file.load(|key| read_key(&directory.join(key)))
        .map_err(|source| ReadTrustError::Load { path: owned(), source: Box::new(source) })
}

fn read_key(path: &Path) -> Result<PublicKey, ReadTrustError> {
    let pem = regular::read_text(path)
        .map_err(|source| ReadTrustError::ReadKey { path: path.to_owned(), source })?;
    PublicKey::from_pem(&pem).map_err(|source| ReadTrustError::Key { path: path.to_owned(), source })
}
