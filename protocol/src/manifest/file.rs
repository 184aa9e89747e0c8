//! The manifest file: magic line, envelope, entries section.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use crate::key::{KeyId, PublicKey, SecretKey};
use crate::manifest::{
    EntriesError, EntriesReader, Envelope, EnvelopeError, ListedEntry, Predicate, Statement, StatementError,
};
use crate::normalise::is_reserved;
use crate::path::TreePath;
use crate::tree::{Contribution, OutOfOrder, TreeHasher};
use crate::{digest::Digest, entry::Entry};

/// The first line of every manifest, without its version.
const MAGIC: &str = "congruent-manifest ";
/// The version that this code reads and writes.
const VERSION: u32 = 1;
/// The longest first line taken.
const MAX_MAGIC_BYTES: usize = 40;
/// The largest envelope taken.
const MAX_ENVELOPE_BYTES: u32 = 16 << 20;

/// A manifest whose signature, entries and root have been checked.
#[derive(Debug, Clone)]
pub struct Manifest {
    predicate: Predicate,
    signed_by: SignedBy,
    section_start: u64,
    section_bytes: u64,
}

/// Who signed a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// The trusted keys whose signatures were checked.
    pub verified: Vec<KeyId>,
    /// What all its signatures claim as their keys; nothing was checked.
    pub claimed: Vec<String>,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file could not be read.
    #[error("cannot read the manifest")]
    Read(#[source] io::Error),
    /// The file could not be written.
    #[error("cannot write the manifest")]
    Write(#[source] io::Error),
    /// It does not begin like a manifest.
    #[error("this is not a congruent manifest: it does not begin with \"{MAGIC}{VERSION}\"")]
    Foreign,
    /// It is of a later format version.
    #[error(
        "the manifest is of format version {found}; this version of congruent reads version {VERSION}: upgrade it"
    )]
    FutureVersion {
        /// The version it names.
        found: String,
    },
    /// It ends before it is whole.
    #[error("the manifest is truncated in its {part}; copy or bake it again")]
    Truncated {
        /// Where it ends.
        part: &'static str,
    },
    /// Something follows its end.
    #[error("the manifest has {0} bytes after its end; copy or bake it again")]
    TrailingBytes(u64),
    /// The envelope claims to be larger than any is.
    #[error("the manifest's envelope claims {0} bytes, the limit is {MAX_ENVELOPE_BYTES}")]
    EnvelopeTooLarge(u32),
    /// The envelope is malformed.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The statement is malformed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Nobody signed it.
    #[error("the manifest is not signed; bake it with --key, or accept it with --insecure-unsigned")]
    Unsigned,
    /// No trusted key signed it, as it stands.
    #[error(
        "no trusted key signed this manifest as it stands: its signatures name {}; trusted are {}",
        list(.claimed),
        list(.trusted)
    )]
    Untrusted {
        /// Fingerprints that the signatures name.
        claimed: Vec<String>,
        /// Fingerprints of the trusted keys.
        trusted: Vec<String>,
    },
    /// A signature names a trusted key, and is not that key's.
    #[error(
        "the manifest was altered after it was signed: its signature names the trusted key {0} and does not fit"
    )]
    Altered(String),
    /// The entries are malformed or not the stated ones.
    #[error(transparent)]
    Entries(#[from] EntriesError),
    /// An entry lies where none is part of the tree.
    #[error("the manifest has the entry {0}, which lies in a place that it reserves")]
    ReservedEntry(TreePath),
    /// The entries do not hash to the stated root.
    #[error("the manifest's entries have the tree root {found}, stated is {stated}")]
    Root {
        /// As computed.
        found: Digest,
        /// As stated.
        stated: Digest,
    },
    /// Never for entries read in order.
    #[error(transparent)]
    Order(#[from] OutOfOrder),
}

fn list(keys: &[String]) -> String {
    let shown: Vec<_> = keys.iter().take(10).map(|key| crate::path::escape(key.as_bytes())).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

/// Writes a manifest: the statement about `predicate`, signed by `keys`, and
/// the compressed entries `section`, which is copied from its reader.
///
/// # Errors
/// When the statement would be refused, or on a failed read or write.
pub fn write_manifest(
    out: &mut impl Write,
    predicate: Predicate,
    keys: &[SecretKey],
    section: &mut impl Read,
    section_bytes: u64,
) -> Result<(), ManifestError> {
    let payload = Statement::new(predicate).to_json();
    Statement::from_json(&payload)?;
    let mut envelope = Envelope::new(&payload);
    for key in keys {
        envelope.sign(key)?;
    }
    let envelope = envelope.to_json();
    let envelope_bytes = u32::try_from(envelope.len()).unwrap_or(u32::MAX);
    if envelope_bytes > MAX_ENVELOPE_BYTES {
        return Err(ManifestError::EnvelopeTooLarge(envelope_bytes));
    }
    let mut head = format!("{MAGIC}{VERSION}\n").into_bytes();
    head.extend_from_slice(&envelope_bytes.to_le_bytes());
    head.extend_from_slice(&envelope);
    head.extend_from_slice(&section_bytes.to_le_bytes());
    out.write_all(&head).map_err(ManifestError::Write)?;
    let copied = io::copy(section, out).map_err(ManifestError::Write)?;
    if copied == section_bytes { Ok(()) } else { Err(ManifestError::Truncated { part: "entries" }) }
}

impl Manifest {
    /// Reads a whole manifest and checks everything: version, signature, the
    /// entries' digest and order, the tree root.
    ///
    /// With `trusted` none, signatures are not asked for (`--insecure-unsigned`).
    ///
    /// # Errors
    /// When anything does not hold.
    pub fn verify<R: Read + Seek>(
        input: &mut R,
        trusted: Option<&[PublicKey]>,
    ) -> Result<Self, ManifestError> {
        let manifest = Self::read_head(input, trusted)?;
        let mut hasher = TreeHasher::new(manifest.predicate.root.algorithm());
        let mut entries = manifest.entries(input)?;
        let mut listed = ListedEntry { path: TreePath::root(), entry: Entry::empty() };
        let reserved = &manifest.predicate.reserved;
        while entries.read(&mut listed)? {
            if is_reserved(reserved, &listed.path) {
                return Err(ManifestError::ReservedEntry(listed.path));
            }
            hasher.push(&listed.path, Contribution::Entry(&listed.entry))?;
        }
        let (found, stated) = (hasher.finish(), manifest.predicate.root);
        if found == stated { Ok(manifest) } else { Err(ManifestError::Root { found, stated }) }
    }

    /// What was baked.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// Who signed it.
    pub fn signed_by(&self) -> &SignedBy {
        &self.signed_by
    }

    /// The length of the entries section in the file.
    pub fn section_bytes(&self) -> u64 {
        self.section_bytes
    }

    /// The entries, from the file that was verified. They are held to the
    /// statement once more while they are read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn entries<R: Read + Seek>(&self, mut input: R) -> Result<EntriesReader<io::Take<R>>, EntriesError> {
        input
            .seek(SeekFrom::Start(self.section_start))
            .map_err(|source| EntriesError::Read { after: TreePath::root(), source })?;
        let section = input.take(self.section_bytes);
        EntriesReader::new(section, self.predicate.root.algorithm(), self.predicate.entries.clone())
    }

    /// Checks everything before the entries, and that the file ends where it says.
    fn read_head<R: Read + Seek>(
        input: &mut R,
        trusted: Option<&[PublicKey]>,
    ) -> Result<Self, ManifestError> {
        input.rewind().map_err(ManifestError::Read)?;
        let mut head = BufReader::new(&mut *input);
        read_version(&mut head)?;
        let envelope_bytes = u32::from_le_bytes(read_array(&mut head, "envelope")?);
        if envelope_bytes > MAX_ENVELOPE_BYTES {
            return Err(ManifestError::EnvelopeTooLarge(envelope_bytes));
        }
        let mut envelope = Vec::new();
        let read = (&mut head).take(u64::from(envelope_bytes)).read_to_end(&mut envelope);
        if read.map_err(ManifestError::Read)? < envelope_bytes as usize {
            return Err(ManifestError::Truncated { part: "envelope" });
        }
        let section_bytes = u64::from_le_bytes(read_array(&mut head, "entries")?);
        let section_start = head.stream_position().map_err(ManifestError::Read)?;
        let end = input.seek(SeekFrom::End(0)).map_err(ManifestError::Read)?;
        match end.checked_sub(section_start).map(|left| (left, left.cmp(&section_bytes))) {
            None | Some((_, std::cmp::Ordering::Less)) => {
                return Err(ManifestError::Truncated { part: "entries" });
            }
            Some((left, std::cmp::Ordering::Greater)) => {
                return Err(ManifestError::TrailingBytes(left - section_bytes));
            }
            Some((_, std::cmp::Ordering::Equal)) => {}
        }
        let envelope = Envelope::from_json(&envelope)?;
        let signed_by = check_signatures(&envelope, trusted)?;
        let predicate = Statement::from_json(&envelope.payload()?)?.into_predicate();
        Ok(Self { predicate, signed_by, section_start, section_bytes })
    }
}

fn check_signatures(envelope: &Envelope, trusted: Option<&[PublicKey]>) -> Result<SignedBy, ManifestError> {
    let claimed = envelope.claimed_keys();
    let Some(trusted) = trusted else {
        return Ok(SignedBy { verified: Vec::new(), claimed });
    };
    if claimed.is_empty() {
        return Err(ManifestError::Unsigned);
    }
    let verified = envelope.signed_by(trusted)?;
    if verified.is_empty() {
        let trusted: Vec<String> = trusted.iter().map(|key| key.id().to_string()).collect();
        if let Some(key) = claimed.iter().find(|key| trusted.contains(key)) {
            return Err(ManifestError::Altered(key.clone()));
        }
        return Err(ManifestError::Untrusted { claimed, trusted });
    }
    Ok(SignedBy { verified, claimed })
}

/// Reads the magic line; versions are told apart before anything else is parsed.
fn read_version(input: &mut impl Read) -> Result<(), ManifestError> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match input.read(&mut byte).map_err(ManifestError::Read)? {
            0 if !line.is_empty() && MAGIC.as_bytes().starts_with(&line) => {
                return Err(ManifestError::Truncated { part: "first line" });
            }
            0 => return Err(ManifestError::Foreign),
            _ if byte[0] == b'\n' => break,
            _ if line.len() == MAX_MAGIC_BYTES => return Err(ManifestError::Foreign),
            _ => line.push(byte[0]),
        }
    }
    let version = std::str::from_utf8(&line).ok().and_then(|line| line.strip_prefix(MAGIC));
    match version {
        Some(version) if version == VERSION.to_string() => Ok(()),
        Some(version) if is_number(version) => {
            Err(ManifestError::FutureVersion { found: version.to_owned() })
        }
        _ => Err(ManifestError::Foreign),
    }
}

/// Whether a version is in its only form: no sign, no leading zero.
fn is_number(version: &str) -> bool {
    version.bytes().all(|b| b.is_ascii_digit()) && version.bytes().next().is_some_and(|first| first != b'0')
}

fn read_array<const N: usize>(input: &mut impl Read, part: &'static str) -> Result<[u8; N], ManifestError> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => ManifestError::Truncated { part },
        _ => ManifestError::Read(source),
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::testing::{manifest_of, sample_tree, secret_key};

    fn verify(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        Manifest::verify(&mut Cursor::new(bytes), Some(&[secret_key(1).public()]))
    }

    #[test]
    fn a_manifest_round_trips() {
        let bytes = manifest_of(&sample_tree(), &[secret_key(1), secret_key(2)]);
        let manifest = verify(&bytes).unwrap();
        assert_eq!(manifest.predicate().name, "web");
        assert_eq!(manifest.signed_by().verified, [secret_key(1).public().id()]);
        assert_eq!(manifest.signed_by().claimed.len(), 2);
        let entries: Result<Vec<_>, _> = manifest.entries(Cursor::new(&bytes)).unwrap().collect();
        assert_eq!(entries.unwrap(), sample_tree());
    }

    #[test]
    fn every_cut_and_every_altered_byte_is_refused() {
        let bytes = manifest_of(&sample_tree(), &[secret_key(1)]);
        let intact = verify(&bytes).unwrap();
        let section = bytes.len() - usize::try_from(intact.section_bytes()).unwrap();
        let signature = bytes.windows(5).position(|window| window == b"keyid").unwrap();
        for at in 0..bytes.len() {
            assert!(verify(&bytes[..at]).is_err(), "cut at {at}");
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            // Two things may differ without a difference: the hint beside a
            // signature, and the form of compression.
            if let Ok(manifest) = verify(&altered) {
                assert_eq!(manifest.predicate.root, intact.predicate.root, "byte {at}");
                assert_eq!(manifest.signed_by.verified, intact.signed_by.verified, "byte {at}");
                assert!(at > signature || at > section, "byte {at}");
            }
        }
    }

    #[test]
    fn refusals_say_why() {
        let signed = manifest_of(&sample_tree(), &[secret_key(2)]);
        let unsigned = manifest_of(&sample_tree(), &[]);
        let future = [b"congruent-manifest 2\n", &signed[21..]].concat();
        let longer = [&signed[..], b"more"].concat();
        let stranger = secret_key(2).public().id().to_string();
        for (bytes, says) in [
            (&b"#!/bin/sh\n"[..], "not a congruent manifest"),
            (b"", "not a congruent manifest"),
            (b"congruent-man", "truncated in its first line"),
            (&signed[..30], "truncated in its envelope"),
            (&signed[..signed.len() - 1], "truncated in its entries"),
            (&longer, "4 bytes after its end"),
            (&future, "format version 2"),
            (&unsigned, "not signed"),
            (&signed, &stranger),
            (b"congruent-manifest +1\n", "not a congruent manifest"),
            (b"congruent-manifest 99999999999\n", "format version 99999999999"),
        ] {
            let error = verify(bytes).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
