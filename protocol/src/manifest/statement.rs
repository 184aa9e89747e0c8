//! The in-toto statement inside a manifest: what is promised, by whom.
//!
//! Format: <https://github.com/in-toto/attestation/tree/main/spec/v1>.

use std::fmt;

use jiff::Timestamp;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lint::LintReport;
use crate::contract::Contract;
use crate::digest::Digest;
use crate::path::{PathError, TreePath};
use crate::strict_json::{present, present_time, time};

/// The predicate of format version 2. Another version has another type.
pub const PREDICATE_TYPE: &str = "urn:congruent:manifest:v2";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const MAX_NAME_CHARS: usize = 200;
/// The longest word of an origin, and of who baked what, in characters.
const MAX_WORD_CHARS: usize = 1000;
/// The most diff_ids and packages taken.
const MAX_DIFF_IDS: usize = 1000;
const MAX_PACKAGES: usize = 100_000;
/// Those whose databases are read.
const PACKAGE_MANAGERS: [&str; 2] = ["dpkg", "rpm"];
/// Where manifests are installed in their images.
const MANIFESTS_DIRECTORY: &str = "/etc/congruent";
/// Where agents keep their state; outside every tree.
pub const STATE_DIRECTORY: &str = "/var/lib/congruent";

/// An in-toto statement with our predicate.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: DigestSet,
}

/// An in-toto digest set, member by member, so that one that stands twice shows.
#[derive(Debug, Clone, PartialEq)]
struct DigestSet(Vec<(String, String)>);

impl Serialize for DigestSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(algorithm, hex)| (algorithm, hex)))
    }
}

impl<'de> Deserialize<'de> for DigestSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = DigestSet;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of digests")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DigestSet, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(DigestSet(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// What was baked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicate {
    /// The image's name.
    pub name: String,
    /// The image's version.
    pub version: String,
    /// What part of a stack it is.
    pub kind: ManifestKind,
    /// The tree root.
    pub root: Digest,
    /// What the entries section holds.
    pub entries: EntriesSummary,
    /// The layers of a container image, lowest first, each with a section of its own;
    /// the tree is what they come to. None where what was baked is no image.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "some_layers")]
    pub layers: Vec<ImageLayer>,
    /// What may change, and which mounts are expected.
    pub contract: Contract,
    /// Places outside the tree: where the manifest is put, and the agent's state.
    pub reserved: Vec<TreePath>,
    /// Who and what baked it.
    pub baked: Baked,
    /// When it is accepted no longer; none where it does not expire.
    #[serde(default, deserialize_with = "present_time", skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Where the image comes from.
    #[serde(default, skip_serializing_if = "Origin::is_empty")]
    pub origin: Origin,
    /// The packages in the image, where its database could be read.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub packages: Option<Packages>,
    /// What lint found; none where it was turned off.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub lint: Option<LintReport>,
}

/// What part of a stack a manifest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ManifestKind {
    /// A whole image, with the contract.
    Base,
    /// What may lie where a base's contract says `add-on`. Its contract is empty.
    AddOn,
}

/// Where an image comes from, as its pipeline tells it. All of it is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The source revision that it was built from.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub source_revision: Option<String>,
    /// The pipeline run that built it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub pipeline_run: Option<String>,
    /// What built it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    /// The ticket or change that asked for it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Who approved it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub approver: Option<String>,
    /// Whom findings concern.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Of a container image.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageOrigin>,
}

impl Origin {
    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Its words, by their names.
    pub fn words(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("source_revision", &self.source_revision),
            ("pipeline_run", &self.pipeline_run),
            ("builder", &self.builder),
            ("ticket", &self.ticket),
            ("approver", &self.approver),
            ("owner", &self.owner),
        ]
        .into_iter()
        .filter_map(|(name, word)| Some((name, word.as_deref()?)))
    }
}

/// The digests by which registries and runtimes know a container image, as in
/// the OCI image specification: `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageOrigin {
    /// The digest of the image's configuration.
    pub config_digest: Digest,
    /// The digests of its uncompressed layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// What it runs on, as `linux/arm64/v8`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The digest of the image's own manifest, where it was read from a registry or a
    /// layout. A hint: the same image has others elsewhere.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub manifest_digest: Option<Digest>,
}

impl ImageOrigin {
    /// Whether any of its digests is keyed, as only reports have them.
    fn is_keyed(&self) -> bool {
        let digests = self.diff_ids.iter().chain([&self.config_digest]).chain(&self.manifest_digest);
        digests.into_iter().any(Digest::is_keyed)
    }
}

/// One layer of a container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageLayer {
    /// The digest of its archive, uncompressed.
    pub diff_id: Digest,
    /// Its own root: of what its archive lists, with whiteouts and opaque directories.
    pub root: Digest,
    /// What its section holds.
    pub entries: EntriesSummary,
}

/// The packages in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Whose database they stand in: `dpkg` or `rpm`.
    pub manager: String,
    /// Each package. Entries refer to them by place, counted from 1.
    pub list: Vec<Package>,
}

/// One installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, as its database has it.
    pub version: String,
    /// The architecture that it was built for.
    pub architecture: String,
}

/// What binds the entries section to the statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntriesSummary {
    /// `entries_digest`: the digest of all records before compression.
    pub digest: Digest,
    /// How many entries there are.
    pub count: u64,
    /// The length of all records before compression.
    pub section_bytes: u64,
    /// The sum of all files' sizes.
    pub content_bytes: u64,
}

/// Who and what baked a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baked {
    /// When the walk ended.
    #[serde(deserialize_with = "time")]
    pub at: Timestamp,
    /// The person or account.
    pub by: String,
    /// The machine's host name.
    pub on: String,
    /// The program and its version.
    pub with: String,
}

/// Why a payload is not a statement of ours.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not JSON of this shape.
    #[error("the manifest's statement is malformed")]
    Json(#[source] serde_json::Error),
    /// Another predicate, most likely a later version's.
    #[error("the manifest's predicate is {0:?}; this version of congruent reads {PREDICATE_TYPE:?}")]
    PredicateType(String),
    /// The statement contradicts itself or breaks a rule.
    #[error("the manifest's statement is not acceptable: {0}")]
    Unacceptable(String),
}

impl Statement {
    /// The statement that makes `predicate` a claim about a subject.
    pub fn new(predicate: Predicate) -> Self {
        Self {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![predicate.subject()],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate,
        }
    }

    /// The statement's bytes, as they are signed.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a statement always serialises")
    }

    /// Reads a payload, its type first.
    ///
    /// # Errors
    /// When it is of another type, malformed, or contradicts itself.
    pub fn from_json(json: &[u8]) -> Result<Self, StatementError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            predicate_type: String,
        }
        let head: Head = serde_json::from_slice(json).map_err(StatementError::Json)?;
        if head.predicate_type != PREDICATE_TYPE {
            return Err(StatementError::PredicateType(head.predicate_type));
        }
        let statement: Self = serde_json::from_slice(json).map_err(StatementError::Json)?;
        statement.check()?;
        Ok(statement)
    }

    /// What is claimed.
    pub fn into_predicate(self) -> Predicate {
        self.predicate
    }

    fn check(&self) -> Result<(), StatementError> {
        let refuse = |why: String| Err(StatementError::Unacceptable(why));
        if self.statement_type != STATEMENT_TYPE {
            return refuse(format!("its type is {:?}, expected {STATEMENT_TYPE:?}", self.statement_type));
        }
        self.predicate.check()?;
        if self.subject != [self.predicate.subject()] {
            return refuse("its subject is not the name and root of its predicate".to_owned());
        }
        Ok(())
    }
}

impl Predicate {
    /// The subject that it is a claim about.
    fn subject(&self) -> Subject {
        let digest = DigestSet(vec![(self.root.algorithm().name().to_owned(), self.root.to_hex())]);
        Subject { name: self.name.clone(), digest }
    }

    /// The two places outside the tree of an image of this name: where its
    /// manifest is put, and the agent's state.
    ///
    /// # Errors
    /// When the name cannot be part of a file's.
    pub fn reserved_for(name: &str) -> Result<[TreePath; 2], PathError> {
        let installed = TreePath::new(format!("{MANIFESTS_DIRECTORY}/{name}.manifest"))?;
        Ok([installed, TreePath::new(STATE_DIRECTORY)?])
    }

    fn check(&self) -> Result<(), StatementError> {
        let refuse = |why: String| Err(StatementError::Unacceptable(why));
        check_name("name", &self.name)?;
        check_name("version", &self.version)?;
        if self.root.is_keyed() || self.entries.digest.is_keyed() {
            return refuse("its digests are keyed".to_owned());
        }
        if self.entries.digest.algorithm() != self.root.algorithm() {
            return refuse("its digests are of two algorithms".to_owned());
        }
        // A place outside the tree is one where nobody looks for changes.
        let known = Self::reserved_for(&self.name)
            .map_err(|error| StatementError::Unacceptable(format!("its name cannot be a file's: {error}")))?;
        if let Some(place) = self.reserved.iter().find(|place| !known.contains(place)) {
            return refuse(format!("it reserves {place}; only {} and {} can be", known[0], known[1]));
        }
        if self.kind == ManifestKind::AddOn
            && !(self.contract.rules().is_empty() && self.contract.mounts().is_empty())
        {
            return refuse("an add-on has a contract; the base's says what may change".to_owned());
        }
        let baked = [("by", &self.baked.by), ("on", &self.baked.on), ("with", &self.baked.with)];
        let platform = self.origin.image.as_ref().and_then(|image| image.platform.as_deref());
        let baked = baked.into_iter().map(|(name, word)| (name, word.as_str()));
        let baked = baked.chain(platform.map(|word| ("platform", word)));
        if let Some((name, _)) =
            baked.chain(self.origin.words()).find(|(_, word)| word.chars().count() > MAX_WORD_CHARS)
        {
            return refuse(format!("{name} is over {MAX_WORD_CHARS} characters long"));
        }
        if self.origin.image.as_ref().is_some_and(|image| image.diff_ids.len() > MAX_DIFF_IDS) {
            return refuse(format!("it has over {MAX_DIFF_IDS} diff_ids"));
        }
        if self.origin.image.as_ref().is_some_and(ImageOrigin::is_keyed) {
            return refuse("the digests of its image are keyed".to_owned());
        }
        self.check_layers()?;
        match &self.packages {
            Some(packages) if packages.list.len() > MAX_PACKAGES => {
                refuse(format!("it has over {MAX_PACKAGES} packages"))
            }
            Some(Packages { manager, .. }) if !PACKAGE_MANAGERS.contains(&manager.as_str()) => {
                refuse(format!("its packages are of {manager:?}, expected one of {PACKAGE_MANAGERS:?}"))
            }
            _ => Ok(()),
        }
    }
}

/// Where layers are told of, there is one.
fn some_layers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ImageLayer>, D::Error> {
    let layers = Vec::deserialize(deserializer)?;
    if layers.is_empty() { Err(D::Error::custom("layers is an empty list")) } else { Ok(layers) }
}

impl Predicate {
    fn check_layers(&self) -> Result<(), StatementError> {
        let refuse = |why: &str| Err(StatementError::Unacceptable(why.to_owned()));
        if self.layers.is_empty() {
            return Ok(());
        }
        let named = self.origin.image.as_ref().map(|image| image.diff_ids.as_slice()).unwrap_or_default();
        if !self.layers.iter().map(|layer| &layer.diff_id).eq(named) {
            return refuse("its layers are not those of its image, diff_id by diff_id");
        }
        let is_of_tree = |digest: &Digest| !digest.is_keyed() && digest.algorithm() == self.root.algorithm();
        if !self.layers.iter().all(|layer| is_of_tree(&layer.root) && is_of_tree(&layer.entries.digest)) {
            return refuse("the digests of its layers are keyed, or not of the algorithm of its root");
        }
        Ok(())
    }
}

/// Holds a name or version, called `what`, to what a file name, a log line and a
/// table cell bear.
///
/// # Errors
/// When it is empty, too long, holds `/` or what is not printable.
pub fn check_name(what: &str, name: &str) -> Result<(), StatementError> {
    if matches!(name, "" | "." | "..")
        || name.chars().count() > MAX_NAME_CHARS
        || !name.chars().all(|c| matches!(c, ' '..='~') && c != '/')
    {
        let shown: String = name.chars().take(MAX_NAME_CHARS).collect();
        return Err(StatementError::Unacceptable(format!(
            "{what} {shown:?} must be 1 to {MAX_NAME_CHARS} printable characters of ASCII without \"/\""
        )));
    }
    Ok(())
}
