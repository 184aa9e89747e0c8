//! Trust: which keys may sign the manifests of which name, how many of them
//! must, what is revoked, and the floor.
//!
//! Written as TOML by operators. Key files are named by path; whoever reads the
//! configuration fetches them, this crate opens none.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;
use toml::Spanned;

use crate::contract::{Floor, MAX_GLOB_BYTES, MAX_NESTING, nesting};
use crate::digest::Digest;
use crate::key::{KeyId, PublicKey};
use crate::strict_toml::{self, TomlError};

/// The longest trust configuration taken, in bytes.
pub const MAX_TRUST_BYTES: usize = 1 << 20;

/// Whose signatures count.
#[derive(Debug, Clone)]
pub struct Trust {
    signers: Vec<Signers>,
    revoked_keys: BTreeSet<String>,
    revoked_manifests: BTreeSet<Digest>,
    floor: Floor,
}

/// Who signs the manifests whose name matches.
#[derive(Debug, Clone)]
pub struct Signers {
    name: GlobMatcher,
    /// The keys that may sign.
    pub keys: Vec<PublicKey>,
    /// How many of them must have signed.
    pub threshold: usize,
}

/// A trust configuration, with the key files that it names by path.
#[derive(Debug)]
pub struct TrustFile {
    text: String,
    file: File,
}

/// Why a trust configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError<E: std::error::Error + 'static> {
    /// A word in it is wrong.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// A key that it names cannot be had.
    #[error("line {line}: cannot use the key {path:?}")]
    Key {
        /// Where it is named, counted from 1.
        line: usize,
        /// As it is named.
        path: String,
        /// Why not.
        #[source]
        source: E,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    signers: Vec<FileSigners>,
    #[serde(default)]
    revoked: Revoked,
    floor: Option<Spanned<Vec<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSigners {
    name: Spanned<String>,
    keys: Spanned<Vec<Spanned<String>>>,
    threshold: Option<Spanned<usize>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoked {
    #[serde(default)]
    keys: Vec<Spanned<String>>,
    #[serde(default)]
    manifests: Vec<Digest>,
}

impl Trust {
    /// Any manifest that any one of these keys signed, under the default floor.
    pub fn any_of(keys: Vec<PublicKey>) -> Self {
        let signers = Signers { name: name_glob("*").expect("the glob is constant"), keys, threshold: 1 };
        Self {
            signers: vec![signers],
            revoked_keys: BTreeSet::new(),
            revoked_manifests: BTreeSet::new(),
            floor: Floor::default(),
        }
    }

    /// The same trust over another floor.
    #[must_use]
    pub fn with_floor(self, floor: Floor) -> Self {
        Self { floor, ..self }
    }

    /// Who may sign manifests of this name: the last entry that matches says.
    pub fn signers_of(&self, name: &str) -> Option<&Signers> {
        self.signers.iter().rfind(|signers| signers.name.is_match(name))
    }

    /// Every key whose signature counts for any name.
    pub fn keys(&self) -> Vec<PublicKey> {
        let keys = self.signers.iter().flat_map(|signers| &signers.keys);
        keys.filter(|key| !self.is_key_revoked(&key.id())).cloned().collect()
    }

    /// Whether this key's signatures count no longer.
    pub fn is_key_revoked(&self, key: &KeyId) -> bool {
        self.revoked_keys.contains(&key.to_string())
    }

    /// Whether the manifest with this tree root was withdrawn.
    pub fn is_manifest_revoked(&self, root: &Digest) -> bool {
        self.revoked_manifests.contains(root)
    }

    /// What no contract may loosen.
    pub fn floor(&self) -> &Floor {
        &self.floor
    }
}

impl TrustFile {
    /// Reads the TOML, but not yet the keys.
    ///
    /// # Errors
    /// With line and column, when it is not TOML of this shape.
    pub fn parse(text: &str) -> Result<Self, TomlError> {
        if text.len() > MAX_TRUST_BYTES {
            let why = format!("the trust configuration is over {MAX_TRUST_BYTES} bytes");
            return Err(TomlError::at(text, 0..0, why));
        }
        let file: File = strict_toml::from_str(text)?;
        if file.signers.is_empty() {
            let why = "no [[signers]] table says whose signatures count";
            return Err(TomlError::at(text, 0..0, why));
        }
        Ok(Self { text: text.to_owned(), file })
    }

    /// The trust, with each key fetched by `read` from the path as written.
    ///
    /// # Errors
    /// When a key cannot be had, or a name, threshold or floor cannot be met.
    pub fn load<E: std::error::Error>(
        self,
        mut read: impl FnMut(&str) -> Result<PublicKey, E>,
    ) -> Result<Trust, TrustError<E>> {
        let Self { text, file } = self;
        let mut signers = Vec::new();
        for entry in file.signers {
            signers.push(entry.load(&text, &mut read)?);
        }
        let mut revoked_keys = BTreeSet::new();
        for key in file.revoked.keys {
            if !is_fingerprint(key.get_ref()) {
                let why = "a revoked key is named by its fingerprint, `sha256:` and 64 hexadecimal digits; \
                           `congruent show` prints those of a manifest's signers";
                return Err(TomlError::at(&text, key.span(), why).into());
            }
            revoked_keys.insert(key.into_inner());
        }
        let floor = match file.floor {
            None => Floor::default(),
            Some(places) => {
                let span = places.span();
                let floor = Floor::new(places.into_inner());
                floor.map_err(|error| TomlError::at(&text, span, error.to_string()))?
            }
        };
        let revoked_manifests = file.revoked.manifests.into_iter().collect();
        Ok(Trust { signers, revoked_keys, revoked_manifests, floor })
    }
}

impl FileSigners {
    fn load<E: std::error::Error>(
        self,
        text: &str,
        read: &mut impl FnMut(&str) -> Result<PublicKey, E>,
    ) -> Result<Signers, TrustError<E>> {
        let at = |span, message: String| TomlError::at(text, span, message);
        let name = name_glob(self.name.get_ref()).map_err(|why| at(self.name.span(), why))?;
        let mut keys: Vec<PublicKey> = Vec::new();
        for path in self.keys.get_ref() {
            let key = read(path.get_ref()).map_err(|source| {
                let line = at(path.span(), String::new()).line;
                TrustError::Key { line, path: path.get_ref().clone(), source }
            })?;
            // One key under two names must not count as two signatures.
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let threshold = self.threshold.as_ref().map_or(1, |threshold| *threshold.get_ref());
        if threshold == 0 || threshold > keys.len() {
            let span = self.threshold.map_or_else(|| self.keys.span(), |threshold| threshold.span());
            let why = if threshold == 0 {
                "a threshold must be at least 1".to_owned()
            } else {
                format!("a threshold of {threshold} cannot be met: {} different keys are named", keys.len())
            };
            return Err(at(span, why).into());
        }
        Ok(Signers { name, keys, threshold })
    }
}

/// A glob over the names of manifests, which hold no separator.
fn name_glob(pattern: &str) -> Result<GlobMatcher, String> {
    if pattern.len() > MAX_GLOB_BYTES || nesting(pattern) > MAX_NESTING {
        return Err(format!("name `{}` is too long or nested too deep", pattern.escape_debug()));
    }
    let glob = GlobBuilder::new(pattern).backslash_escape(true).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| format!("name `{}` is not a glob: {}", pattern.escape_debug(), error.kind()))
}

fn is_fingerprint(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::testing::secret_key;

    fn load(text: &str) -> Result<Trust, String> {
        let file = TrustFile::parse(text).map_err(|error| error.to_string())?;
        let read = |path: &str| match path {
            "a" => Ok(secret_key(1).public()),
            "b" => Ok(secret_key(2).public()),
            _ => Err(io::Error::other("no such key")),
        };
        file.load(read).map_err(|error| error.to_string())
    }

    #[test]
    fn the_last_entry_that_matches_says_who_signs() {
        let text = "floor = []\n\
                    [[signers]]\nname = '*'\nkeys = ['a']\n\
                    [[signers]]\nname = 'web-*'\nkeys = ['a', 'b', 'a']\nthreshold = 2\n\
                    [revoked]\nkeys = ['sha256:0000000000000000000000000000000000000000000000000000000000000000']\n";
        let trust = load(text).unwrap();
        let threshold = |name| trust.signers_of(name).map(|signers| (signers.keys.len(), signers.threshold));
        assert_eq!((threshold("db"), threshold("web-1")), (Some((1, 1)), Some((2, 2))));
        assert!(trust.floor().places().is_empty());
        assert!(Trust::any_of(vec![]).signers_of("any").is_some());
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let signers = "[[signers]]\nname = '*'\n";
        for (text, says) in [
            (String::new(), "no [[signers]] table"),
            (format!("{signers}keys = ['c']"), "line 3: cannot use the key \"c\""),
            (format!("{signers}keys = ['a', 'a']\nthreshold = 2"), "line 4, column 13: a threshold of 2"),
            (format!("{signers}keys = []"), "line 3, column 8: a threshold of 1 cannot be met: 0"),
            (format!("{signers}keys = ['a']\nthreshold = 0"), "must be at least 1"),
            ("[[signers]]\nname = '['\nkeys = ['a']".to_owned(), "line 2, column 8: name `[` is not a glob"),
            (format!("{signers}keys = ['a']\n[revoked]\nkeys = ['a']"), "named by its fingerprint"),
            (format!("floor = ['usr']\n{signers}keys = ['a']"), "line 1, column 9: the floor is not valid"),
            (format!("{signers}keys = ['a']\nthreshhold = 1"), "did you mean `threshold`?"),
        ] {
            let error = load(&text).err().unwrap_or_default();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
