//! A folder for one test: made empty, open to nobody else, removed at the end.

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{binaries, program};

/// Where trees are copied fastest, on machines that have it.
const MEMORY: &str = "/dev/shm";
/// What a test over a whole root file system needs there, with room for a second.
const MEMORY_BYTES: u64 = 2 << 30;

/// A folder of one's own.
pub struct Sandbox(TempDir);

/// The two halves of a signing key, as files.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    /// The private half.
    pub secret: PathBuf,
    /// The public half.
    pub public: PathBuf,
}

impl Sandbox {
    /// A folder where temporary files go.
    ///
    /// # Errors
    /// When none can be made.
    pub fn new() -> Result<Self> {
        Self::in_folder(&std::env::temp_dir())
    }

    /// A folder in memory where there is room for whole trees with extended
    /// attributes, else as [`Sandbox::new`].
    ///
    /// # Errors
    /// When none can be made.
    pub fn for_trees() -> Result<Self> {
        let memory = Path::new(MEMORY);
        if holds_trees(memory) { Self::in_folder(memory) } else { Self::new() }
    }

    fn in_folder(folder: &Path) -> Result<Self> {
        let made = tempfile::Builder::new().prefix("congruent-").tempdir_in(folder);
        Ok(Self(made.with_context(|| format!("cannot make a folder in {}", folder.display()))?))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// The path of `name` in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder().join(name)
    }

    /// The names of what lies in it, sorted.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub fn listing(&self) -> Result<Vec<String>> {
        let list = || -> std::io::Result<Vec<String>> {
            fs::read_dir(self.folder())?
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect()
        };
        let mut names = list().with_context(|| format!("cannot list {}", self.folder().display()))?;
        names.sort();
        Ok(names)
    }

    /// Writes a file that only its owner can read, and gives its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path(name);
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(content.as_ref())
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Lets every user into the folder itself.
    ///
    /// # Errors
    /// When its mode cannot be set.
    pub fn open_to_all(&self) -> Result<()> {
        fs::set_permissions(self.folder(), Permissions::from_mode(0o755)).context("cannot open the sandbox")
    }

    /// Makes a key by `congruent keygen`.
    ///
    /// # Errors
    /// When that fails.
    pub fn keygen(&self, name: &str) -> Result<KeyFiles> {
        let keys = self.key_files(name);
        let mut command = Command::new(binaries::path("congruent")?);
        let ended = program::run(command.arg("keygen").arg("--output").arg(&keys.secret))?;
        ensure!(ended.code == Some(0), "congruent keygen failed: {}", ended.stderr);
        Ok(keys)
    }

    /// Makes a key by OpenSSL.
    ///
    /// # Errors
    /// When that fails.
    pub fn openssl_key(&self, name: &str) -> Result<KeyFiles> {
        let keys = self.key_files(name);
        let secret = keys.secret.as_os_str();
        let generate = ["genpkey", "-algorithm", "ed25519", "-out"].map(AsRef::as_ref);
        program::succeed("openssl", generate.into_iter().chain([secret]))?;
        let export = ["pkey", "-pubout", "-in"].map(AsRef::as_ref);
        let out = ["-out".as_ref(), keys.public.as_os_str()];
        program::succeed("openssl", export.into_iter().chain([secret]).chain(out))?;
        Ok(keys)
    }

    fn key_files(&self, name: &str) -> KeyFiles {
        KeyFiles { secret: self.path(format!("{name}.pem")), public: self.path(format!("{name}.pub.pem")) }
    }
}

fn holds_trees(folder: &Path) -> bool {
    let room = CString::new(folder.as_os_str().as_encoded_bytes()).is_ok_and(|path| {
        rustix::fs::statvfs(&path).is_ok_and(|about| about.f_bavail * about.f_frsize >= MEMORY_BYTES)
    });
    room && tempfile::NamedTempFile::new_in(folder).is_ok_and(|probe| {
        rustix::fs::fsetxattr(&probe, "user.congruent-probe", b"x", rustix::fs::XattrFlags::empty()).is_ok()
    })
}
