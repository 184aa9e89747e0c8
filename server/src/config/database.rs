//! Which database the collector uses.

use std::path::{Path, PathBuf};

use super::ConfigError;
use super::file::ConfigFile;
use super::secrets::read_secret;
use crate::store::{AddressError, Database};

/// The database that a configuration names, with what reaches it.
pub(super) fn database(
    file: &ConfigFile,
    beside: &impl Fn(&Path) -> PathBuf,
) -> Result<Database, ConfigError> {
    at(&file.database, file.database_password_file.as_deref(), file.database_ca.as_deref(), beside)
}

/// The database at an address, or in a file.
pub(super) fn at(
    stated: &str,
    password: Option<&Path>,
    authority: Option<&Path>,
    beside: &impl Fn(&Path) -> PathBuf,
) -> Result<Database, ConfigError> {
    let address = |source| ConfigError::Database(Box::new(source));
    if !Database::is_server(stated) {
        let stray = [("database-password-file", password.is_some()), ("database-ca", authority.is_some())];
        return match stray.into_iter().find(|(_, is_there)| *is_there) {
            Some((key, _)) => Err(address(AddressError::NotPostgres(key))),
            None => Ok(Database::Sqlite(beside(Path::new(stated)))),
        };
    }
    let password = password.map(|path| {
        let secret = |source| ConfigError::Secret {
            what: "the database's password",
            name: "database-password-file".to_owned(),
            source,
        };
        read_secret(&beside(path)).map_err(secret)
    });
    let authority = authority.map(|path| {
        let path = beside(path);
        std::fs::read(&path).map_err(|source| ConfigError::Read { path, source })
    });
    let (password, authority) = (password.transpose()?, authority.transpose()?);
    Database::server(stated, password.as_deref(), authority).map_err(address)
}

/// Where other files lie that nobody gave a place: beside a database that is a file, else
/// beside the configuration.
pub(super) fn folder(file: &ConfigFile, beside: &impl Fn(&Path) -> PathBuf) -> PathBuf {
    if Database::is_server(&file.database) {
        return beside(Path::new(""));
    }
    beside(Path::new(&file.database)).parent().unwrap_or(Path::new("")).to_owned()
}
