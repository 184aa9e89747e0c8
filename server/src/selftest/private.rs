//! The test's own collector, and the nodes that report to it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use congruent_fleet::{Baking, Fleet, Http, Release, Way, join_token};
use congruent_protocol::key::SecretKey;
use data_encoding::BASE32_NOPAD;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{FINDINGS, SelftestError};
use crate::clock;
use crate::config::Config;
use crate::serve::{self, Collector, ServeError};
use crate::store::Database;

const GROUP: &str = "selftest";
/// Files of the simulated image; a real one has far more, which only counts where
/// drift is reported.
const FILES: usize = FINDINGS * 10;

/// A collector in this process, on the loopback.
pub(super) struct Private {
    folder: PathBuf,
    url: String,
    operator_token: String,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServeError>>,
}

impl Private {
    /// Starts it, with all that it has in this folder, but for a database that lies elsewhere.
    pub(super) async fn start(folder: &Path, database: Option<Database>) -> Result<Self, SelftestError> {
        serve::install_crypto();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(SelftestError::Random)?;
        let key = SecretKey::from_seed(seed);
        getrandom::fill(&mut seed).map_err(SelftestError::Random)?;
        let operator_token = BASE32_NOPAD.encode(&seed).to_ascii_lowercase();
        let baking = Baking { name: GROUP.to_owned(), version: "1".to_owned(), files: FILES };
        let manifest = baking.bake(&key, clock::system()()).map_err(SelftestError::Fleet)?;
        for (name, content) in [
            ("image.manifest", &manifest[..]),
            ("image.pub.pem", key.public().to_pem().as_bytes()),
            ("operator.token", operator_token.as_bytes()),
            ("server.toml", server_toml().as_bytes()),
        ] {
            write_private(&folder.join(name), content)?;
        }
        let mut config = Config::load(&folder.join("server.toml")).map_err(SelftestError::Config)?;
        if let Some(database) = database {
            config.database = database;
        }
        let collector = Collector::start(config, clock::system()).await.map_err(SelftestError::Serve)?;
        if collector.agents_url().is_none() {
            return Err(SelftestError::NoAgents);
        }
        let (stop, stopping) = oneshot::channel();
        let url = collector.url().to_owned();
        // Who drops the other end wants it stopped as well.
        let running = tokio::spawn(collector.run_until(async move { drop(stopping.await) }));
        Ok(Self { folder: folder.to_owned(), url, operator_token, stop, running })
    }

    /// Nodes that are enrolled with it.
    pub(super) async fn fleet(&self, nodes: usize) -> Result<Fleet, SelftestError> {
        let failed = SelftestError::Fleet;
        let way = Way::new(&self.url, &self.folder.join("ca.pem"), Http::Two).map_err(failed)?;
        let release = Release::open(&self.folder.join("image.manifest")).map_err(failed)?;
        let token = join_token(&way, &self.operator_token, GROUP).await.map_err(failed)?;
        let mut fleet = Fleet::new(way, vec![release]);
        fleet.enroll(nodes, GROUP, &token).await.map_err(failed)?;
        Ok(fleet)
    }

    /// Stops it.
    pub(super) async fn stop(self) -> Result<(), SelftestError> {
        // It may have ended by itself, which the other end tells.
        let _ = self.stop.send(());
        self.running.await.unwrap_or(Err(ServeError::Ended)).map_err(SelftestError::Serve)
    }
}

fn server_toml() -> String {
    format!(
        "listen = \"127.0.0.1:0\"\n\
         agents-listen = \"127.0.0.1:0\"\n\
         database = \"selftest.db\"\n\
         operator-token-file = \"operator.token\"\n\
         silent-after = \"1h\"\n\
         [[group]]\n\
         name = {GROUP:?}\n\
         environment = \"selftest\"\n\
         manifests = [\"image.manifest\"]\n\
         trust = [\"image.pub.pem\"]\n"
    )
}

fn write_private(path: &Path, content: &[u8]) -> Result<(), SelftestError> {
    let mut options = fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(path);
    made.and_then(|mut file| file.write_all(content))
        .map_err(|source| SelftestError::Write { path: path.to_owned(), source })
}
