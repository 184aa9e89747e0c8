//! Collectors whose manifests lie in a bucket of a real S3-compatible store.

mod faults;
mod shared;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use congruent_tests::binaries;
use congruent_tests::collector::Collector;
use congruent_tests::operator::Operator;
use congruent_tests::program::{Ended, run};
use congruent_tests::s3::{BUCKET, KEY_ID, S3, SECRET};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::site::Site;

const PREFIX: &str = "fleet";

/// The store, and where it keeps what it has.
struct Store {
    s3: S3,
    _sandbox: Sandbox,
}

impl Store {
    fn start() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        Ok(Self { s3: S3::start(&sandbox.path("store"))?, _sandbox: sandbox })
    }

    /// The objects' files.
    fn objects(&self) -> Result<Vec<PathBuf>> {
        let folder = self.s3.objects().join(PREFIX);
        if !folder.exists() {
            return Ok(Vec::new());
        }
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }
}

/// A collector with a database of its own.
struct Place {
    site: Site,
    collector: Option<Collector>,
}

impl Place {
    fn new(store: &Store, tls: bool) -> Result<Self> {
        let mut place = Self { site: Site::small(&["web-1"])?, collector: None };
        place.site.sandbox.write("s3.secret", SECRET)?;
        place.configure(store, tls, "s3.secret")?;
        place.start()?;
        Ok(place)
    }

    fn configure(&self, store: &Store, tls: bool, secret: &str) -> Result<()> {
        let toml = format!(
            "listen = \"127.0.0.1:0\"\ndatabase = \"congruent.db\"\ntls = {tls}\n\
             operator-token-file = \"operator.token\"\nsilent-after = \"15m\"\n{}\
             [blobs]\nurl = \"s3://{BUCKET}/{PREFIX}\"\nendpoint = {:?}\n\
             access-key-id = {KEY_ID:?}\nsecret-access-key-file = {secret:?}\n",
            self.site.agents_listen(),
            store.s3.endpoint(),
        );
        self.site.sandbox.write("server.toml", toml).map(drop)
    }

    fn start(&mut self) -> Result<()> {
        self.collector = Some(self.site.start()?);
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        assert_eq!(self.collector.take().context("it runs")?.stop()?, Some(0));
        Ok(())
    }

    fn collector(&self) -> &Collector {
        self.collector.as_ref().expect("it was started")
    }

    fn admin(&self) -> Operator {
        let (url, authority) = (self.collector().url().to_owned(), self.collector().authority().to_owned());
        Operator { url, token_file: self.site.sandbox.path("operator.token"), authority }
    }

    /// Imports a manifest; gives its root.
    fn import(&self, manifest: &str) -> Result<String> {
        let answer = self.admin().change(&["manifest", "import", manifest])?;
        Ok(answer["root"].as_str().context("no root")?.to_owned())
    }

    /// `congruent-server` with its configuration, which is expected to end.
    fn ends(&self, command: &str) -> Result<Ended> {
        let config = self.site.sandbox.path("server.toml");
        run(Command::new(binaries::path("congruent-server")?).arg(command).arg("--config").arg(config))
    }

    fn copies(&self) -> PathBuf {
        self.site.sandbox.path("blob-cache")
    }
}
