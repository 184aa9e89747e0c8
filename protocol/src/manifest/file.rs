//! The manifest file: magic line, envelope, entries section, sections of layers.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};

use jiff::Timestamp;

use crate::contract::{Class, Loosening};
use crate::digest::Digest;
use crate::entry::{Entry, Node};
use crate::key::{KeyId, PublicKey, SecretKey};
use crate::layer::{LayerEntry, LayerHasher};
use crate::manifest::{
    EntriesError, EntriesReader, Envelope, EnvelopeError, LayerReader, ListedEntry, Predicate, Rules,
    Statement, StatementError,
};
use crate::path::{TreePath, escape};
use crate::tree::{Contribution, OutOfOrder, TreeHasher};
use crate::trust::Trust;

/// The first line of every manifest, without its version.
const MAGIC: &str = "congruent-manifest ";
/// The version that this code reads and writes.
const VERSION: u32 = 2;
/// The longest first line taken.
const MAX_MAGIC_BYTES: usize = 40;
/// The largest envelope taken.
const MAX_ENVELOPE_BYTES: u32 = 16 << 20;
/// What a section's length takes before it.
const LENGTH_BYTES: u64 = 8;

/// A manifest whose signature, entries and root have been checked.
#[derive(Debug, Clone)]
pub struct Manifest {
    predicate: Predicate,
    signed_by: SignedBy,
    /// The entries', then each layer's.
    sections: Vec<Place>,
    /// The baked sizes of files that may only be appended to.
    append_only: HashMap<TreePath, u64>,
}

/// Where a section lies in the file.
#[derive(Debug, Clone, Copy)]
struct Place {
    start: u64,
    bytes: u64,
}

/// A compressed section, to be copied into a manifest.
pub struct PackedSection<R> {
    /// The section, and perhaps more after it.
    pub input: R,
    /// How long it is.
    pub bytes: u64,
}

impl<R> PackedSection<R> {
    /// The next `bytes` of `input`.
    pub fn new(input: R, bytes: u64) -> Self {
        Self { input, bytes }
    }
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
    /// It is of an earlier format version.
    #[error("the manifest is of format version {0}, which no release wrote; bake it again")]
    PastVersion(String),
    /// It ends before it is whole.
    #[error("the manifest is truncated in its {part}; copy or bake it again")]
    Truncated {
        /// Where it ends.
        part: &'static str,
    },
    /// It was to be written with another number of sections than its statement asks for.
    #[error("a manifest was given {found} sections, and its statement asks for {stated}")]
    Sections {
        /// How many there are.
        found: usize,
        /// One for the entries and one for each layer.
        stated: usize,
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
        /// Fingerprints of the keys that are trusted for its name.
        trusted: Vec<String>,
    },
    /// Nobody is trusted for its name.
    #[error("no key is trusted for manifests named {0:?}; add a [[signers]] table that matches the name")]
    NoSigners(String),
    /// Too few of the trusted keys signed it.
    #[error(
        "{} of the keys that are trusted for {name:?} signed the manifest, {threshold} must; add one with \
         `congruent sign`",
        .signed.len()
    )]
    Threshold {
        /// The manifest's name.
        name: String,
        /// How many must have signed.
        threshold: usize,
        /// Those that did.
        signed: Vec<KeyId>,
    },
    /// A signature names a trusted key, and is not that key's.
    #[error(
        "the manifest was altered after it was signed: its signature names the trusted key {0} and does not fit"
    )]
    Altered(String),
    /// It was withdrawn.
    #[error("the manifest with the root {0} is revoked")]
    Revoked(Digest),
    /// Its time is over.
    #[error("the manifest of {name} {version} expired at {at}; bake or sign a newer one")]
    Expired {
        /// The image's name.
        name: String,
        /// The image's version.
        version: String,
        /// When it expired.
        at: Timestamp,
    },
    /// Its contract loosens what operators hold fast.
    #[error(transparent)]
    Floor(#[from] Loosening),
    /// The entries are malformed or not the stated ones.
    #[error(transparent)]
    Entries(#[from] EntriesError),
    /// The entries do not hash to the stated root.
    #[error("the manifest's entries have the tree root {found}, stated is {stated}")]
    Root {
        /// As computed.
        found: Digest,
        /// As stated.
        stated: Digest,
    },
    /// A layer's entries do not hash to its stated root.
    #[error("the entries of the manifest's layer {number} have the root {found}, stated is {stated}")]
    LayerRoot {
        /// Which layer, counted from 1, the lowest.
        number: usize,
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
    let shown: Vec<_> = keys.iter().take(10).map(|key| escape(key.as_bytes())).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

/// Writes a manifest: the statement about `predicate`, signed by `keys`, and the
/// sections, which are copied: that of the entries, then those of the layers.
///
/// # Errors
/// When the statement would be refused, the sections are not as many as it needs, or
/// on a failed read or write.
pub fn write_manifest<R: Read>(
    out: &mut impl Write,
    predicate: Predicate,
    keys: &[SecretKey],
    sections: Vec<PackedSection<R>>,
) -> Result<(), ManifestError> {
    if sections.len() != 1 + predicate.layers.len() {
        return Err(ManifestError::Sections { found: sections.len(), stated: 1 + predicate.layers.len() });
    }
    let payload = Statement::new(predicate).to_json();
    Statement::from_json(&payload)?;
    let mut envelope = Envelope::new(&payload);
    for key in keys {
        envelope.sign(key)?;
    }
    write_head(out, &envelope)?;
    for PackedSection { input, bytes } in sections {
        out.write_all(&bytes.to_le_bytes()).map_err(ManifestError::Write)?;
        copy_exactly(input, bytes, out)?;
    }
    Ok(())
}

/// Writes a manifest again, with another envelope and all `sections` as they stand in
/// the file that [`Manifest::all_sections`] was given.
///
/// # Errors
/// When the envelope is too large, or on a failed read or write.
pub fn write_envelope(
    out: &mut impl Write,
    envelope: &Envelope,
    sections: PackedSection<impl Read>,
) -> Result<(), ManifestError> {
    write_head(out, envelope)?;
    copy_exactly(sections.input, sections.bytes, out)
}

fn write_head(out: &mut impl Write, envelope: &Envelope) -> Result<(), ManifestError> {
    let envelope = envelope.to_json();
    let envelope_bytes = u32::try_from(envelope.len()).unwrap_or(u32::MAX);
    if envelope_bytes > MAX_ENVELOPE_BYTES {
        return Err(ManifestError::EnvelopeTooLarge(envelope_bytes));
    }
    let mut head = format!("{MAGIC}{VERSION}\n").into_bytes();
    head.extend_from_slice(&envelope_bytes.to_le_bytes());
    head.extend_from_slice(&envelope);
    out.write_all(&head).map_err(ManifestError::Write)
}

fn copy_exactly(input: impl Read, bytes: u64, out: &mut impl Write) -> Result<(), ManifestError> {
    let copied = io::copy(&mut input.take(bytes), out).map_err(ManifestError::Write)?;
    if copied == bytes { Ok(()) } else { Err(ManifestError::Truncated { part: "entries" }) }
}

impl Manifest {
    /// Reads a whole manifest and checks everything: version, signatures and
    /// their number, revocation, expiry at `now`, the floor, the entries' digest
    /// and order, the tree root.
    ///
    /// # Errors
    /// When anything does not hold.
    pub fn verify<R: Read + Seek>(
        input: &mut R,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Self, ManifestError> {
        Self::verify_statement(input, trust, now)?.proven_by(input)
    }

    /// Checks what [`Manifest::verify`] checks but for the entries. Nothing may be
    /// concluded from such a manifest before [`Manifest::check_entries`] has held it
    /// to them.
    ///
    /// # Errors
    /// When anything does not hold.
    pub fn verify_statement<R: Read + Seek>(
        input: &mut R,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Self, ManifestError> {
        let manifest = Self::read_head(input, Some(trust))?;
        let predicate = &manifest.predicate;
        if trust.is_manifest_revoked(&predicate.root) {
            return Err(ManifestError::Revoked(predicate.root));
        }
        manifest.check_expiry(now)?;
        trust.floor().check(&predicate.contract)?;
        Ok(manifest)
    }

    /// The statement alone, as [`Manifest::verify_statement`], of whoever wrote it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_statement<R: Read + Seek>(input: &mut R) -> Result<Self, ManifestError> {
        Self::read_head(input, None)
    }

    /// The same without asking who signed it, whether it expired, or where the
    /// floor is: whoever wrote the file is believed.
    ///
    /// # Errors
    /// When it is not whole, or contradicts itself.
    pub fn read_unchecked<R: Read + Seek>(input: &mut R) -> Result<Self, ManifestError> {
        Self::read_statement(input)?.proven_by(input)
    }

    /// Whether it is still accepted at `now`.
    ///
    /// # Errors
    /// When its time is over.
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), ManifestError> {
        let Predicate { name, version, expires, .. } = &self.predicate;
        match *expires {
            Some(at) if at <= now => {
                Err(ManifestError::Expired { name: name.clone(), version: version.clone(), at })
            }
            _ => Ok(()),
        }
    }

    /// Goes through all entries once, and holds them to the statement.
    ///
    /// # Errors
    /// When they are not the ones that it states.
    pub fn check_entries<R: Read + Seek>(&self, input: &mut R) -> Result<(), ManifestError> {
        self.check(input).map(drop)
    }

    /// The same manifest, once its entries are checked as in
    /// [`Manifest::check_entries`].
    ///
    /// # Errors
    /// When they are not the ones that it states.
    pub fn proven_by<R: Read + Seek>(mut self, input: &mut R) -> Result<Self, ManifestError> {
        self.append_only = self.check(input)?;
        Ok(self)
    }

    /// The same manifest, once its tree's entries are checked, but not those of its
    /// layers: nothing may be concluded from one before [`Manifest::check_layer`] has
    /// held it to its statement, or it was found to hash to its stated root.
    ///
    /// # Errors
    /// When they are not the ones that it states.
    pub fn tree_proven_by<R: Read + Seek>(mut self, input: &mut R) -> Result<Self, ManifestError> {
        self.append_only = self.check_tree(input)?;
        Ok(self)
    }

    /// Checks all entries; gives the sizes of those that may only be appended to.
    fn check<R: Read + Seek>(&self, input: &mut R) -> Result<HashMap<TreePath, u64>, ManifestError> {
        let append_only = self.check_tree(input)?;
        (0..self.predicate.layers.len()).try_for_each(|at| self.check_layer(at, input))?;
        Ok(append_only)
    }

    fn check_tree<R: Read + Seek>(&self, input: &mut R) -> Result<HashMap<TreePath, u64>, ManifestError> {
        let mut rules = Rules::of(&self.predicate);
        let mut hasher = TreeHasher::new(self.predicate.root.algorithm());
        let mut entries = self.entries(&mut *input)?;
        let mut listed = ListedEntry { path: TreePath::root(), entry: Entry::empty() };
        let mut append_only = HashMap::new();
        while entries.read(&mut listed)? {
            let terms = rules.check(&listed)?;
            let ListedEntry { path, entry } = &listed;
            if let (Class::AppendOnly, Node::File { size, .. }) = (terms.class, &entry.node) {
                append_only.insert(path.clone(), *size);
            }
            hasher.push(path, Contribution::of(entry, terms))?;
        }
        let (found, stated) = (hasher.finish(), self.predicate.root);
        if found != stated {
            return Err(ManifestError::Root { found, stated });
        }
        Ok(append_only)
    }

    /// Goes through what the layer at `at` lists, and holds it to the statement; there
    /// must be such a layer.
    ///
    /// # Errors
    /// When it is not what is stated.
    pub fn check_layer<R: Read + Seek>(&self, at: usize, input: &mut R) -> Result<(), ManifestError> {
        let mut hasher = LayerHasher::new(self.predicate.root.algorithm());
        for listed in self.layer(at, input)? {
            let LayerEntry { path, node } = listed?;
            hasher.push(&path, &node)?;
        }
        let (found, stated) = (hasher.finish(), self.predicate.layers[at].root);
        if found == stated { Ok(()) } else { Err(ManifestError::LayerRoot { number: at + 1, found, stated }) }
    }

    /// Whether the contract has files that may only be appended to, of which the sizes are
    /// known once it is proven.
    pub fn has_append_only(&self) -> bool {
        self.predicate.contract.has(|terms| terms.class == Class::AppendOnly)
    }

    /// The baked size of a file that may only be appended to.
    pub fn append_only_size(&self, path: &TreePath) -> Option<u64> {
        self.append_only.get(path).copied()
    }

    /// What was baked.
    pub fn predicate(&self) -> &Predicate {
        &self.predicate
    }

    /// Who signed it.
    pub fn signed_by(&self) -> &SignedBy {
        &self.signed_by
    }

    /// The length of all sections in the file.
    pub fn section_bytes(&self) -> u64 {
        self.sections.iter().map(|place| place.bytes).sum()
    }

    /// The entries, from the file that was verified. They are held to the
    /// statement once more while they are read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn entries<R: Read + Seek>(&self, input: R) -> Result<EntriesReader<io::Take<R>>, EntriesError> {
        let section = section_at(self.sections[0], input)?;
        EntriesReader::new(section, self.predicate.root.algorithm(), self.predicate.entries.clone())
    }

    /// The entries likewise, each held to what the statement says of all of them: for who
    /// goes through them before they are proven. What they come to is not checked.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn checked_entries<R: Read + Seek>(
        &self,
        input: R,
    ) -> Result<impl Iterator<Item = Result<ListedEntry, EntriesError>> + use<'_, R>, EntriesError> {
        let mut rules = Rules::of(&self.predicate);
        let checked = move |listed: Result<ListedEntry, EntriesError>| {
            let listed = listed?;
            rules.check(&listed)?;
            Ok(listed)
        };
        Ok(self.entries(input)?.map(checked))
    }

    /// What the layer at `at` lists, as [`Manifest::entries`] gives the tree's; there
    /// must be such a layer.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn layer<R: Read + Seek>(
        &self,
        at: usize,
        input: R,
    ) -> Result<LayerReader<io::Take<R>>, EntriesError> {
        let section = section_at(self.sections[at + 1], input)?;
        let stated = self.predicate.layers[at].entries.clone();
        LayerReader::new(section, self.predicate.root.algorithm(), stated)
    }

    /// The envelope as it stands in the file.
    ///
    /// # Errors
    /// When the file cannot be read, or is no manifest.
    pub fn read_envelope<R: Read + Seek>(input: &mut R) -> Result<Envelope, ManifestError> {
        Ok(read_frame(input)?.envelope)
    }

    /// The compressed entries, to be copied into another manifest.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn section<R: Read + Seek>(&self, mut input: R) -> Result<PackedSection<R>, ManifestError> {
        let Place { start, bytes } = self.sections[0];
        input.seek(SeekFrom::Start(start)).map_err(ManifestError::Read)?;
        Ok(PackedSection::new(input, bytes))
    }

    /// All sections as they stand in the file, to be written with another envelope.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn all_sections<R: Read + Seek>(&self, mut input: R) -> Result<PackedSection<R>, ManifestError> {
        let start = self.sections[0].start - LENGTH_BYTES;
        let end = self.sections.last().map_or(start, |last| last.start + last.bytes);
        input.seek(SeekFrom::Start(start)).map_err(ManifestError::Read)?;
        Ok(PackedSection::new(input, end - start))
    }

    /// Checks everything before the entries. Without `trust`, who signed it is
    /// not asked.
    fn read_head<R: Read + Seek>(input: &mut R, trust: Option<&Trust>) -> Result<Self, ManifestError> {
        let Frame { envelope, sections_start } = read_frame(input)?;
        let claimed = envelope.claimed_keys();
        // A stranger's statement is not even parsed.
        if let Some(trust) = trust {
            signers_among(&trust.keys(), &envelope)?;
        }
        let predicate = Statement::from_json(&envelope.payload()?)?.into_predicate();
        let verified =
            trust.map_or(Ok(Vec::new()), |trust| check_signers(&envelope, &predicate.name, trust))?;
        let signed_by = SignedBy { verified, claimed };
        let sections = read_sections(input, sections_start, 1 + predicate.layers.len())?;
        Ok(Self { predicate, signed_by, sections, append_only: HashMap::new() })
    }
}

/// The parts of a file.
struct Frame {
    envelope: Envelope,
    sections_start: u64,
}

/// Reads what comes before the sections.
fn read_frame<R: Read + Seek>(input: &mut R) -> Result<Frame, ManifestError> {
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
    let sections_start = head.stream_position().map_err(ManifestError::Read)?;
    Ok(Frame { envelope: Envelope::from_json(&envelope)?, sections_start })
}

/// Finds `count` sections from `start` on, and sees that the file ends after them.
fn read_sections<R: Read + Seek>(
    input: &mut R,
    start: u64,
    count: usize,
) -> Result<Vec<Place>, ManifestError> {
    let end = input.seek(SeekFrom::End(0)).map_err(ManifestError::Read)?;
    let mut sections = Vec::new();
    let mut at = start;
    for index in 0..count {
        let part = if index == 0 { "entries" } else { "layers" };
        input.seek(SeekFrom::Start(at)).map_err(ManifestError::Read)?;
        let place = Place { bytes: u64::from_le_bytes(read_array(input, part)?), start: at + LENGTH_BYTES };
        if end.checked_sub(place.start).is_none_or(|left| left < place.bytes) {
            return Err(ManifestError::Truncated { part });
        }
        at = place.start + place.bytes;
        sections.push(place);
    }
    if at == end { Ok(sections) } else { Err(ManifestError::TrailingBytes(end - at)) }
}

fn section_at<R: Read + Seek>(place: Place, mut input: R) -> Result<io::Take<R>, EntriesError> {
    input
        .seek(SeekFrom::Start(place.start))
        .map_err(|source| EntriesError::Read { after: TreePath::root(), source })?;
    Ok(input.take(place.bytes))
}

/// Those of `keys` that signed; at least one.
fn signers_among(keys: &[PublicKey], envelope: &Envelope) -> Result<Vec<KeyId>, ManifestError> {
    let claimed = envelope.claimed_keys();
    if claimed.is_empty() {
        return Err(ManifestError::Unsigned);
    }
    let verified = envelope.signed_by(keys)?;
    if !verified.is_empty() {
        return Ok(verified);
    }
    let trusted: Vec<String> = keys.iter().map(|key| key.id().to_string()).collect();
    match claimed.iter().find(|key| trusted.contains(key)) {
        Some(key) => Err(ManifestError::Altered(key.clone())),
        None => Err(ManifestError::Untrusted { claimed, trusted }),
    }
}

/// As many of the keys that are trusted for this name as must have signed.
fn check_signers(envelope: &Envelope, name: &str, trust: &Trust) -> Result<Vec<KeyId>, ManifestError> {
    let signers = trust.signers_of(name).ok_or_else(|| ManifestError::NoSigners(name.to_owned()))?;
    let keys: Vec<PublicKey> =
        signers.keys.iter().filter(|key| !trust.is_key_revoked(&key.id())).cloned().collect();
    let signed = signers_among(&keys, envelope)?;
    if signed.len() < signers.threshold {
        let (name, threshold) = (name.to_owned(), signers.threshold);
        return Err(ManifestError::Threshold { name, threshold, signed });
    }
    Ok(signed)
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
        Some("1") => Err(ManifestError::PastVersion("1".to_owned())),
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
    use crate::digest::Algorithm;
    use crate::layer::LayerNode;
    use crate::testing::{self, Baking, manifest_of, sample_tree, secret_key};

    fn verify(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let trust = Trust::any_of(vec![secret_key(1).public()]);
        Manifest::verify(&mut Cursor::new(bytes), &trust, Timestamp::UNIX_EPOCH)
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
            // signature (and its name), and the form of compression.
            if let Ok(manifest) = verify(&altered) {
                assert_eq!(manifest.predicate.root, intact.predicate.root, "byte {at}");
                assert_eq!(manifest.signed_by.verified, intact.signed_by.verified, "byte {at}");
                assert!(at >= signature || at > section, "byte {at}");
            }
        }
    }

    /// What a layer of each kind of mark comes to.
    fn sample_layers() -> Vec<Vec<LayerEntry>> {
        let at = |path: &str, node| LayerEntry { path: testing::path(path), node };
        let upper = vec![
            at("/", LayerNode::Implied),
            at("/bin", LayerNode::Entry(testing::directory())),
            at("/bin/.wh..wh..opq", LayerNode::Opaque),
            at("/link", LayerNode::Whiteout),
        ];
        vec![vec![at("/", LayerNode::Entry(testing::directory()))], Vec::new(), upper]
    }

    #[test]
    fn layers_are_read_as_they_were_written() {
        let (tree, layers) = (sample_tree(), sample_layers());
        let bytes = Baking { layers: &layers, ..Baking::new(&tree) }.bake(&[secret_key(1)]);
        let manifest = verify(&bytes).unwrap();
        for (at, layer) in layers.iter().enumerate() {
            let read: Result<Vec<_>, _> = manifest.layer(at, Cursor::new(&bytes)).unwrap().collect();
            assert_eq!(read.unwrap(), *layer, "layer {at}");
        }
        let mut again = Vec::new();
        let envelope = Manifest::read_envelope(&mut Cursor::new(&bytes)).unwrap();
        write_envelope(&mut again, &envelope, manifest.all_sections(Cursor::new(&bytes)).unwrap()).unwrap();
        assert_eq!(again, bytes);
        let sections = manifest.section_bytes() as usize + 8 * 4;
        for at in bytes.len() - sections..bytes.len() {
            assert!(verify(&bytes[..at]).is_err(), "cut at {at}");
        }
        let error = verify(&[&bytes[..], b"more"].concat()).unwrap_err().to_string();
        assert!(error.contains("4 bytes after its end"), "{error}");
    }

    #[test]
    fn layers_and_image_must_agree() {
        let (tree, layers) = (sample_tree(), sample_layers());
        let bytes = Baking { layers: &layers, ..Baking::new(&tree) }.bake(&[]);
        let manifest = Manifest::read_unchecked(&mut Cursor::new(&bytes)).unwrap();
        let mut out = Vec::new();
        let mut restate = |alter: fn(&mut Predicate), sections: usize| {
            let mut predicate = manifest.predicate().clone();
            alter(&mut predicate);
            let sections = (0..sections).map(|at| {
                let place = manifest.sections[at];
                let mut input = Cursor::new(&bytes);
                input.set_position(place.start);
                PackedSection::new(input, place.bytes)
            });
            out.clear();
            let written = write_manifest(&mut out, predicate, &[], sections.collect());
            let read = written.and_then(|()| Manifest::read_unchecked(&mut Cursor::new(&out)));
            read.map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(restate(|_| {}, 4), Ok(()));
        for (alter, sections, says) in [
            ((|_| {}) as fn(&mut Predicate), 3, "was given 3 sections"),
            (|it| it.origin.image = None, 4, "not those of its image"),
            (|it| it.layers.swap(0, 2), 4, "not those of its image"),
            (|it| it.layers[2].root = it.layers[0].root, 4, "have the root"),
            (|it| it.layers[2].root = Algorithm::Sha256.digest(b""), 4, "not of the algorithm"),
        ] {
            let error = restate(alter, sections).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn refusals_say_why() {
        let signed = manifest_of(&sample_tree(), &[secret_key(2)]);
        let unsigned = manifest_of(&sample_tree(), &[]);
        let future = [b"congruent-manifest 3\n", &signed[21..]].concat();
        let past = [b"congruent-manifest 1\n", &signed[21..]].concat();
        let trusted = manifest_of(&sample_tree(), &[secret_key(1)]);
        let longer = [&trusted[..], b"more"].concat();
        let empty = manifest_of(&[], &[secret_key(1)]);
        let stranger = secret_key(2).public().id().to_string();
        for (bytes, says) in [
            (&b"#!/bin/sh\n"[..], "not a congruent manifest"),
            (b"", "not a congruent manifest"),
            (b"congruent-man", "truncated in its first line"),
            (&signed[..30], "truncated in its envelope"),
            (&trusted[..trusted.len() - 1], "truncated in its entries"),
            (&longer, "4 bytes after its end"),
            (&future, "format version 3"),
            (&past, "bake it again"),
            (&empty, "there is no entry, not even /"),
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
