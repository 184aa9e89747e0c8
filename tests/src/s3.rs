//! A real S3-compatible store, `s3s-fs`, which keeps objects as files in a folder: so
//! tests can change them behind its back.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::program;
use crate::wait::{PATIENCE, wait_for};

/// What signs requests to it.
pub const KEY_ID: &str = "AKIACONGRUENTTEST";
/// Its secret.
pub const SECRET: &str = "a-secret-of-the-store";
/// Its one bucket.
pub const BUCKET: &str = "blobs";

/// A store on loopback, killed when it is dropped.
pub struct S3 {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl S3 {
    /// Starts one with an empty bucket, whose objects lie in `folder`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join(BUCKET)).context("cannot make a bucket")?;
        let free = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port")?;
        let port = free.local_addr().context("the listener has no address")?.port();
        drop(free);
        let mut store = Self { folder: folder.to_owned(), port, child: None };
        store.start_again()?;
        Ok(store)
    }

    /// Starts it where it was, with what it had.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_again(&mut self) -> Result<()> {
        let mut command = Command::new("s3s-fs");
        command.args(["--host", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--access-key", KEY_ID, "--secret-key", SECRET]).arg(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().context("cannot start s3s-fs; run scripts/setup, which installs it")?;
        let child = self.child.insert(child);
        wait_for("s3s-fs to listen", PATIENCE, || {
            if let Some(ended) = child.try_wait()? {
                anyhow::bail!("s3s-fs ended at once: {ended}");
            }
            Ok(TcpStream::connect(("127.0.0.1", self.port)).ok().map(drop))
        })
    }

    /// Ends it at once, as a machine that loses power.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            program::end(&mut child);
        }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The folder of all that it keeps, also of what no bucket shows.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the bucket's objects.
    pub fn objects(&self) -> PathBuf {
        self.folder.join(BUCKET)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.kill();
    }
}
