//! Secrets by file path: tokens and webhook secrets.
//!
//! Nothing here shows a secret: not in errors, not in `Debug`.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use subtle::ConstantTimeEq;

/// The longest secret file taken, in bytes.
const MAX_SECRET_BYTES: u64 = 4096;
/// What a Standard Webhooks secret begins with.
const WEBHOOK_PREFIX: &str = "whsec_";
/// The fewest bytes of a webhook secret, as Standard Webhooks has it.
const MIN_WEBHOOK_SECRET_BYTES: usize = 24;

/// Why a secret file is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot read the secret file {}", .path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the secret file {0} can be read or written by every user of this machine; run `chmod 600 {0}`", .path.display())]
    WorldReadable { path: PathBuf },
    #[error("the secret file {} is not a regular file of at most {MAX_SECRET_BYTES} bytes", .path.display())]
    NotASecret { path: PathBuf },
    #[error("the secret file {} is empty; write the secret into it", .path.display())]
    Empty { path: PathBuf },
    #[error("the secret file {} must hold one word of printable ASCII and nothing else", .path.display())]
    NotOneWord { path: PathBuf },
    #[error(
        "the secret in {} is not `{WEBHOOK_PREFIX}` and {MIN_WEBHOOK_SECRET_BYTES} bytes or more in base64; \
         `echo {WEBHOOK_PREFIX}$(openssl rand -base64 32)` makes one",
        .path.display()
    )]
    NotAWebhookSecret { path: PathBuf },
}

/// What a bearer token hashes to. Tokens are hashed before they are compared or
/// looked up, so that neither takes longer for a better guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of `token`.
    pub(crate) fn of(token: &str) -> Self {
        Self(*blake3::hash(token.as_bytes()).as_bytes())
    }

    /// The hash that was kept as these bytes.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether both are of the same token, in constant time.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// A hash that was stored.
    pub(crate) fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes, to be stored.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash of the token in the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, SecretError> {
        Ok(Self::of(&read_secret(path)?))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

/// The key that signs deliveries to one webhook.
#[derive(Clone)]
pub(crate) struct WebhookSecret(Vec<u8>);

impl WebhookSecret {
    /// Reads `whsec_` and base64; none where the text is anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let key = BASE64.decode(text.strip_prefix(WEBHOOK_PREFIX)?.as_bytes()).ok()?;
        (key.len() >= MIN_WEBHOOK_SECRET_BYTES).then_some(Self(key))
    }

    /// The key's bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads the secret in the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, SecretError> {
        let text = read_secret(path)?;
        Self::parse(&text).ok_or_else(|| SecretError::NotAWebhookSecret { path: path.to_owned() })
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// Reads a file that holds one word; permissions are those of the open file.
pub(crate) fn read_secret(path: &Path) -> Result<String, SecretError> {
    let path = path.to_owned();
    let read = |source| SecretError::Read { path: path.clone(), source };
    let file = File::open(&path).map_err(read)?;
    let metadata = file.metadata().map_err(read)?;
    if !metadata.is_file() || metadata.len() > MAX_SECRET_BYTES {
        return Err(SecretError::NotASecret { path });
    }
    if metadata.permissions().mode() & 0o006 != 0 {
        return Err(SecretError::WorldReadable { path });
    }
    let mut text = String::new();
    file.take(MAX_SECRET_BYTES).read_to_string(&mut text).map_err(read)?;
    let word = text.trim();
    if word.is_empty() {
        return Err(SecretError::Empty { path });
    }
    if !word.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(SecretError::NotOneWord { path });
    }
    Ok(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, mode: u32) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        read_secret(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn secrets_are_trimmed_and_refused_with_the_mend() {
        assert_eq!(check(" word\n", 0o600), Ok("word".to_owned()));
        assert_eq!(check("word", 0o640), Ok("word".to_owned()));
        for (content, mode, says) in [
            ("word", 0o604, "chmod 600"),
            ("word", 0o644, "can be read or written by every user"),
            ("word", 0o602, "chmod 600"),
            (&"x".repeat(5000), 0o600, "at most 4096 bytes"),
            (" \n", 0o600, "is empty"),
            ("two words", 0o600, "one word"),
        ] {
            let error = check(content, mode).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("two words"), "{error}");
        }
    }

    #[test]
    fn webhook_secrets_are_standard_webhooks() {
        assert!(WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").is_some());
        for bad in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_AAAA", "whsec_!"] {
            assert!(WebhookSecret::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{secret:?} {:?}", TokenHash::of("x")), "WebhookSecret(…) TokenHash(…)");
        assert!(TokenHash::of("x").matches(&TokenHash::of("x")));
        assert!(!TokenHash::of("x").matches(&TokenHash::of("y")));
    }
}
