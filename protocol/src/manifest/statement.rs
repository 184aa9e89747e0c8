//! The in-toto statement inside a manifest: what is promised, by whom.
//!
//! Format: <https://github.com/in-toto/attestation/tree/main/spec/v1>.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::lint::LintReport;
use crate::contract::Contract;
use crate::digest::Digest;
use crate::path::{TreePath, plain};

/// Version 1 of the predicate. Another version has another type.
pub const PREDICATE_TYPE: &str = "urn:congruent:manifest:v1";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const MAX_NAME_CHARS: usize = 200;

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

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

/// What was baked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicate {
    /// The image's name.
    pub name: String,
    /// The image's version.
    pub version: String,
    /// The tree root.
    pub root: Digest,
    /// What the entries section holds.
    pub entries: EntriesSummary,
    /// What may change, and which mounts are expected.
    pub contract: Contract,
    /// Places outside the tree: where the manifest is put, and the agent's state.
    pub reserved: Vec<TreePath>,
    /// Who and what baked it.
    pub baked: Baked,
    /// What lint found; none where it was turned off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lint: Option<LintReport>,
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
        let root = &predicate.root;
        let digest = BTreeMap::from([(root.algorithm().name().to_owned(), root.to_hex())]);
        Self {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { name: predicate.name.clone(), digest }],
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
        check_name("name", &self.predicate.name)?;
        check_name("version", &self.predicate.version)?;
        let root = &self.predicate.root;
        let agrees = |subject: &Subject| {
            subject.name == self.predicate.name
                && subject.digest.get(root.algorithm().name()).is_some_and(|hex| *hex == root.to_hex())
        };
        match &self.subject[..] {
            [subject] if agrees(subject) => Ok(()),
            _ => refuse("its subject is not the name and root of its predicate".to_owned()),
        }
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
        || plain(name.as_bytes()).is_none()
        || name.contains('/')
    {
        let shown: String = name.chars().take(MAX_NAME_CHARS).collect();
        return Err(StatementError::Unacceptable(format!(
            "{what} {shown:?} must be 1 to {MAX_NAME_CHARS} printable characters without \"/\""
        )));
    }
    Ok(())
}
