//! A real registry of container images: Debian's `docker-registry`, which keeps no
//! referrers of its own, on the loopback with a folder of its own.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use rcgen::generate_simple_self_signed;

use crate::wait::{PATIENCE, wait_for};
use crate::{http, program};

/// Who is let in where the registry asks for a password, and the password.
pub const USER: (&str, &str) = ("baker", "open sesame");
/// The same as `htpasswd -B` writes it.
const HTPASSWD: &str = "baker:$2b$04$U0WwmYZXTUQ7Dg7UxyumJeGNRFykSSkiL.VRFWXBUQ3wA8KLqTyKy\n";

/// What a registry is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Everybody is let in, without TLS.
    None,
    /// TLS with a certificate that nobody else issued, and a password.
    TlsAndPassword,
}

/// A registry, killed when it is dropped.
pub struct Registry {
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl Registry {
    /// Starts an empty one that keeps what it has in `folder`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(folder: &Path, guard: Guard) -> Result<Self> {
        fs::create_dir_all(folder).context("cannot make the registry's folder")?;
        let free = TcpListener::bind(("127.0.0.1", 0)).context("there is no free port")?;
        let port = free.local_addr().context("the listener has no address")?.port();
        drop(free);
        let config = folder.join("config.json");
        fs::write(&config, configuration(folder, port, guard)?).context("cannot configure the registry")?;
        let log = File::create(folder.join("log")).context("cannot make the registry's log")?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot start docker-registry; install Debian's package")?;
        let mut registry = Self { port, folder: folder.to_owned(), child };
        wait_for("docker-registry to listen", PATIENCE, || {
            if let Some(ended) = registry.child.try_wait()? {
                bail!("docker-registry ended at once: {ended}");
            }
            Ok(TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
        })?;
        Ok(registry)
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate to trust, where it speaks TLS.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// What it has at a path of its API, where everybody is let in.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn get(&self, path: &str) -> Result<http::Response> {
        http::request("GET", &format!("http://{}{path}", self.host()), None, None, &[])
    }

    /// Puts a manifest under a tag or digest, as tools by others do.
    ///
    /// # Errors
    /// When it is refused.
    pub fn put_manifest(&self, repository: &str, name: &str, media_type: &str, body: &[u8]) -> Result<()> {
        let url = format!("http://{}/v2/{repository}/manifests/{name}", self.host());
        let answer = http::request("PUT", &url, None, Some(media_type), body)?;
        anyhow::ensure!(answer.status == 201, "the registry refused a manifest: {}", answer.text());
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        program::end(&mut self.child);
    }
}

/// The registry's configuration is YAML, of which JSON is a part.
fn configuration(folder: &Path, port: u16, guard: Guard) -> Result<String> {
    let mut http = serde_json::json!({"addr": format!("127.0.0.1:{port}")});
    let mut config = serde_json::json!({
        "version": "0.1", "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": folder.join("store")}},
    });
    if guard == Guard::TlsAndPassword {
        let made =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).context("cannot make a certificate")?;
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        fs::write(&certificate, made.cert.pem()).context("cannot write the certificate")?;
        fs::write(&key, made.signing_key.serialize_pem()).context("cannot write its key")?;
        let users = folder.join("htpasswd");
        fs::write(&users, HTPASSWD).context("cannot write the users")?;
        http["tls"] = serde_json::json!({"certificate": certificate, "key": key});
        config["auth"] = serde_json::json!({"htpasswd": {"realm": "tests", "path": users}});
    }
    config["http"] = http;
    Ok(config.to_string())
}
