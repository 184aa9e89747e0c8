//! `congruent-server init`: a new installation that runs as it is.

use std::fmt::Write;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;

use crate::config::host_name;
use crate::identity::{Authority, AuthorityError, AuthorityFiles, write_new};

const CONFIGURATION: &str = "server.toml";
const OPERATOR_TOKEN: &str = "operator.token";
const DATABASE: &str = "congruent.db";

/// Why no installation was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    #[error("{} is there already; init overwrites nothing, so name another directory", .0.display())]
    There(PathBuf),
    #[error("cannot make the directory {}", .path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the kernel gives no random numbers")]
    Random(#[source] getrandom::Error),
    #[error("the name {0:?} is no host name and no address; give one such as collector.example")]
    Name(String),
    #[error("the path {:?} cannot stand in the configuration, which takes UTF-8 without control characters", .0)]
    Path(PathBuf),
    #[error("cannot use the authority")]
    Authority(#[source] AuthorityError),
    #[error("cannot make the installation")]
    Files(#[source] AuthorityError),
}

/// An installation that was made.
pub(crate) struct Made {
    configuration: PathBuf,
    token: PathBuf,
    authority: AuthorityFiles,
    /// Not there before the collector runs.
    database: PathBuf,
    fingerprint: String,
    /// A name that the collector is reached by.
    host: String,
}

/// Makes an installation in `dir`, with the user's `own` authority where there is one;
/// the paths of that are absolute. Its configuration comes last: what was
/// interrupted does not run, and says what is in the way.
pub(crate) fn make(
    dir: &Path,
    names: &[String],
    own: Option<AuthorityFiles>,
    now: Timestamp,
) -> Result<Made, InitError> {
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return Err(InitError::Name(name.clone()));
    }
    let toml = server_toml(names, own.as_ref())?;
    // Before anything is made: it may be none.
    let given =
        own.as_ref().map(|own| Authority::load(own, now)).transpose().map_err(InitError::Authority)?;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(dir).map_err(|source| InitError::Directory { path: dir.to_owned(), source })?;
    let made = AuthorityFiles::in_folder(dir);
    let (configuration, token) = (dir.join(CONFIGURATION), dir.join(OPERATOR_TOKEN));
    for there in [&configuration, &token, &made.key, &made.certificate] {
        if there.symlink_metadata().is_ok() {
            return Err(InitError::There(there.clone()));
        }
    }
    let authority = match given {
        Some(given) => given,
        None => Authority::load_or_make(&made, false, now).map_err(InitError::Files)?,
    };
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(InitError::Random)?;
    let text = format!("cop_{}\n", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase());
    write_new(&token, 0o600, text.as_bytes()).map_err(InitError::Files)?;
    write_new(&configuration, 0o600, toml.as_bytes()).map_err(InitError::Files)?;
    let fingerprint = authority.fingerprint();
    let host = names.first().cloned().unwrap_or_else(host_name);
    let database = dir.join(DATABASE);
    Ok(Made { configuration, token, authority: own.unwrap_or(made), database, fingerprint, host })
}

/// Whether a certificate can be for it, and a line of TOML hold it.
fn is_name(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok() || rustls::pki_types::DnsName::try_from(name).is_ok()
}

fn server_toml(names: &[String], own: Option<&AuthorityFiles>) -> Result<String, InitError> {
    let mut toml = String::from(
        "# The collector's configuration. Relative paths are taken from this file's directory.\n\n\
         listen = \"0.0.0.0:8440\"          # operators, and nodes that enrol\n\
         agents-listen = \"0.0.0.0:8441\"   # enrolled nodes, by their certificates\n",
    );
    match names {
        [] => toml.push_str("# names = [\"collector.example\"] # how nodes and operators reach this host, beside its own name\n"),
        names => {
            let _ = writeln!(toml, "names = {names:?}");
        }
    }
    if let Some(AuthorityFiles { certificate, key, .. }) = own {
        let (certificate, key) = (quoted(certificate)?, quoted(key)?);
        let _ = writeln!(toml, "ca = {{ certificate = {certificate}, key = {key} }}");
    }
    toml.push_str(
        "database = \"congruent.db\"\n\
         operator-token-file = \"operator.token\"\n\
         silent-after = \"45m\"\n\
         # certificate-ttl = \"24h\"         # how long a node's certificate lasts; renewed at half of it\n\
         # renewal-grace = \"7d\"            # how long after its end it can still be renewed\n\n\
         [[group]]                         # nodes that are copies of each other\n\
         name = \"default\"\n\
         environment = \"dev\"\n\
         # manifests = [\"web.manifest\"]    # what its nodes may be held to\n\
         # trust = [\"signer.pub.pem\"]      # who must have signed those\n",
    );
    Ok(toml)
}

/// A path as TOML has it.
fn quoted(path: &Path) -> Result<String, InitError> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    // Without control characters, a string is in TOML what it is in JSON.
    Ok(serde_json::Value::from(text.ok_or_else(|| InitError::Path(path.to_owned()))?).to_string())
}

impl Made {
    /// What was made, and what to do next.
    pub(crate) fn next_steps(&self) -> String {
        let Self { configuration, token, authority, database, fingerprint, host } = self;
        let (configuration, token, database) = (configuration.display(), token.display(), database.display());
        let (certificate, key) = (authority.certificate.display(), authority.key.display());
        format!(
            "made {configuration}\n\
             the operator's token is in {token}; keep it secret\n\
             the authority's certificate is {certificate}\n\
             back up its key {key} and the database {database}: without either every node must enrol again\n\n\
             next:\n  \
             congruent-server serve --config {configuration}\n  \
             congruent-server token create --config {configuration} --group default --ttl 15m --reason \"first node\"\n  \
             congruent enroll --server https://{host}:8440 --ca-fingerprint {fingerprint} --token-file FILE\n\n\
             the authority's fingerprint:\n\
             {fingerprint}"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Config;

    #[test]
    fn what_init_makes_runs_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("new/collector");
        let names = ["collector.example".to_owned(), "10.0.0.1".to_owned()];
        let made = make(&place, &names, None, Timestamp::now()).unwrap();
        let config = Config::load(&made.configuration).unwrap();
        assert_eq!(config.identity.names, names);
        assert!(config.identity.tls && config.identity.agents_listen.is_some());
        let authority = Authority::load(&config.identity.authority, Timestamp::now()).unwrap();
        assert!(made.next_steps().ends_with(&authority.fingerprint()));
        for kept in [config.identity.authority.key.as_path(), config.database.file().unwrap()] {
            let line = made
                .next_steps()
                .lines()
                .any(|line| line.starts_with("back up") && line.contains(&kept.display().to_string()));
            assert!(line, "{}", kept.display());
        }
        for (file, mode) in [("ca.key", 0o600), ("operator.token", 0o600), ("ca.pem", 0o644), ("", 0o700)] {
            let metadata = std::fs::metadata(place.join(file)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{file}");
        }
        // Whatever is left of an installation is in the way of another.
        for file in ["server.toml", "ca.key", "operator.token", "ca.pem"] {
            let again = make(&place, &[], None, Timestamp::now());
            assert!(matches!(again, Err(InitError::There(_))), "{file}");
            std::fs::remove_file(place.join(file)).unwrap();
        }
        let named = make(&place, &["a b".to_owned()], None, Timestamp::now());
        assert!(matches!(named, Err(InitError::Name(_))));
    }

    #[test]
    fn the_users_own_authority_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        make(&place("other"), &[], None, Timestamp::now()).unwrap();
        let own = |key: &str| AuthorityFiles {
            certificate: place("other/ca.pem"),
            key: place(key),
            is_given: true,
        };
        let made = make(&place("new"), &[], Some(own("other/ca.key")), Timestamp::now()).unwrap();
        let config = Config::load(&made.configuration).unwrap();
        assert_eq!(config.identity.authority.key, place("other/ca.key"));
        let authority = Authority::load(&config.identity.authority, Timestamp::now()).unwrap();
        assert!(made.next_steps().ends_with(&authority.fingerprint()));
        assert!(!place("new/ca.key").exists());
        let refused = make(&place("newer"), &[], Some(own("other/operator.token")), Timestamp::now());
        assert!(matches!(refused, Err(InitError::Authority(_))));
        assert!(!place("newer").exists(), "nothing is made");
    }
}
