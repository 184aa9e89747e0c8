//! The ledger: first values that a class allows to be made after the bake, held
//! to from then on.
//!
//! Recorded by the collector, or by a person from the outcome of a verify; never
//! by the node that made them. A first value is recorded once: what is there
//! already is never replaced.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::contract::{Class, Contract};
use crate::digest::Digest;
use crate::drift::{Attributes, AttributesError};
use crate::entry::Entry;
use crate::normalise::is_reserved;
use crate::path::TreePath;

/// The version of the ledger's JSON.
pub const LEDGER_SCHEMA: u32 = 1;
/// The largest ledger taken, in bytes.
pub const MAX_LEDGER_BYTES: usize = 256 << 20;

/// A value that appeared after the bake.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FirstValue {
    /// Where.
    #[serde(flatten)]
    pub path: TreePath,
    /// What was there first.
    #[serde(flatten)]
    pub attributes: Attributes,
}

/// The first values of one instance of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    root: Digest,
    values: BTreeMap<TreePath, Entry>,
    recorded: BTreeMap<TreePath, Timestamp>,
}

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Not JSON of this shape.
    #[error("the ledger is malformed")]
    Json(#[source] serde_json::Error),
    /// Of another version.
    #[error("the ledger is of schema version {0}; this version of congruent reads version {LEDGER_SCHEMA}")]
    Version(u64),
    /// Larger than any is.
    #[error("the ledger has {0} bytes, the limit is {MAX_LEDGER_BYTES}")]
    TooLarge(usize),
    /// A value is not an entry's attributes.
    #[error("the ledger's value at {path} is not usable")]
    Value {
        /// Where.
        path: TreePath,
        /// What is wrong with it.
        #[source]
        source: AttributesError,
    },
    /// Values do not stand in tree order, or one twice.
    #[error("the ledger's values are not in tree order at {0}, or one stands twice")]
    Order(TreePath),
    /// It belongs to another image.
    #[error(
        "the ledger is of an instance of {found}, not of {wanted}; a ledger serves one instance of one image"
    )]
    OtherImage {
        /// The baked root that it names.
        found: Digest,
        /// That of what is looked at.
        wanted: Digest,
    },
    /// The contract admits no first value there.
    #[error("the ledger has a first value at {path}, which the contract calls {class}: it admits none there")]
    NotAdmitted {
        /// Where.
        path: TreePath,
        /// What the contract says.
        class: Class,
    },
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct WireLedger {
    schema_version: u32,
    root: Digest,
    first_values: Vec<WireValue>,
}

#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub(crate) struct WireValue {
    #[serde(flatten)]
    value: FirstValue,
    recorded_at: Timestamp,
}

impl Ledger {
    /// A ledger without values, for an instance of the stack with this root.
    pub fn empty(root: Digest) -> Self {
        Self { root, values: BTreeMap::new(), recorded: BTreeMap::new() }
    }

    /// Reads a ledger's JSON.
    ///
    /// # Errors
    /// When it is not one.
    pub fn from_json(json: &[u8]) -> Result<Self, LedgerError> {
        #[derive(Deserialize)]
        struct Head {
            schema_version: u64,
        }
        if json.len() > MAX_LEDGER_BYTES {
            return Err(LedgerError::TooLarge(json.len()));
        }
        let head: Head = serde_json::from_slice(json).map_err(LedgerError::Json)?;
        if head.schema_version != u64::from(LEDGER_SCHEMA) {
            return Err(LedgerError::Version(head.schema_version));
        }
        let wire: WireLedger = serde_json::from_slice(json).map_err(LedgerError::Json)?;
        let mut ledger = Self::empty(wire.root);
        for WireValue { value: FirstValue { path, attributes }, recorded_at } in wire.first_values {
            if ledger.values.last_key_value().is_some_and(|(last, _)| *last >= path) {
                return Err(LedgerError::Order(path));
            }
            let entry = to_entry(&path, &attributes)?;
            ledger.values.insert(path.clone(), entry);
            ledger.recorded.insert(path, recorded_at);
        }
        Ok(ledger)
    }

    /// The ledger as JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let values = self.values.iter().zip(self.recorded.values()).map(|((path, entry), &recorded_at)| {
            WireValue { value: FirstValue { path: path.clone(), attributes: entry.into() }, recorded_at }
        });
        let wire =
            WireLedger { schema_version: LEDGER_SCHEMA, root: self.root, first_values: values.collect() };
        serde_json::to_vec_pretty(&wire).expect("a ledger always serialises")
    }

    /// Holds the ledger to the stack that it is used with.
    ///
    /// # Errors
    /// When it belongs to another, or the contract does not admit a value.
    pub fn check(&self, root: Digest, contract: &Contract, reserved: &[TreePath]) -> Result<(), LedgerError> {
        self.check_root(root)?;
        if let Some(path) = self.values.keys().find(|path| is_reserved(reserved, path)) {
            return Err(LedgerError::NotAdmitted { path: path.clone(), class: Class::Reserved });
        }
        let refused = self.values.keys().map(|path| (path, contract.class_of(path)));
        match refused.into_iter().find(|(_, class)| !class.admits_first_values()) {
            Some((path, class)) => Err(LedgerError::NotAdmitted { path: path.clone(), class }),
            None => Ok(()),
        }
    }

    /// Holds the ledger to the stack's root alone.
    ///
    /// # Errors
    /// When it belongs to another.
    pub fn check_root(&self, root: Digest) -> Result<(), LedgerError> {
        if self.root == root {
            return Ok(());
        }
        Err(LedgerError::OtherImage { found: self.root, wanted: root })
    }

    /// Records the values whose paths are not known yet; gives how many were.
    ///
    /// # Errors
    /// When a value is not an entry's attributes; then nothing is recorded.
    pub fn record(&mut self, values: &[FirstValue], at: Timestamp) -> Result<usize, LedgerError> {
        let mut new = BTreeMap::new();
        for FirstValue { path, attributes } in values {
            let entry = to_entry(path, attributes)?;
            if !self.values.contains_key(path) {
                // Of two values of one path the first counts.
                new.entry(path.clone()).or_insert(entry);
            }
        }
        let before = self.values.len();
        self.recorded.extend(new.keys().map(|path| (path.clone(), at)));
        self.values.append(&mut new);
        Ok(self.values.len() - before)
    }

    /// The baked root of the stack that it belongs to.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Whether a value in it can be held to only under the key of its node.
    pub fn needs_content_key(&self) -> bool {
        self.values.values().any(|entry| entry.content().is_some_and(Digest::is_keyed))
    }

    /// The first values, in tree order.
    pub fn first_values(&self) -> &BTreeMap<TreePath, Entry> {
        &self.values
    }
}

fn to_entry(path: &TreePath, attributes: &Attributes) -> Result<Entry, LedgerError> {
    attributes.to_entry().map_err(|source| LedgerError::Value { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use crate::testing::{file, path};

    fn ledger() -> Ledger {
        let mut ledger = Ledger::empty(Algorithm::Blake3.digest(b"root"));
        let value = |at: &str| FirstValue { path: path(at), attributes: (&file(at.as_bytes())).into() };
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(
            ledger.record(&[value("/etc/machine-id"), value("/etc/a-b"), value("/etc/a/b")], at).unwrap(),
            3
        );
        ledger
    }

    #[test]
    fn json_keeps_every_value() {
        let ledger = ledger();
        assert_eq!(Ledger::from_json(&ledger.to_json()).unwrap(), ledger);
    }

    #[test]
    fn a_first_value_is_recorded_once() {
        let mut ledger = ledger();
        let other = FirstValue { path: path("/etc/machine-id"), attributes: (&file(b"other")).into() };
        assert_eq!(ledger.record(&[other], Timestamp::UNIX_EPOCH).unwrap(), 0);
        assert_eq!(ledger, self::ledger());
    }

    #[test]
    fn ledgers_that_do_not_fit_are_refused() {
        let json = String::from_utf8(ledger().to_json()).unwrap();
        let contract =
            Contract::from_toml("rule = [{ path = '/etc/machine-id', class = 'pinned' }]").unwrap();
        let check = |ledger: Result<Ledger, LedgerError>, root: &[u8], says: &str| {
            let error =
                ledger.and_then(|l| l.check(Algorithm::Blake3.digest(root), &contract, &[])).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(says), "{text}");
        };
        check(Ok(ledger()), b"other", "a ledger serves one instance");
        check(Ok(ledger()), b"root", "/etc/a/b, which the contract calls immutable");
        check(Ledger::from_json(b"{"), b"root", "malformed");
        check(
            Ledger::from_json(json.replace("\"schema_version\": 1", "\"schema_version\": 2").as_bytes()),
            b"root",
            "version 2",
        );
        check(Ledger::from_json(json.replace("/etc/a-b", "/etc/z").as_bytes()), b"root", "not in tree order");
        check(Ledger::from_json(json.replace("\"mode\": \"0644\",", "").as_bytes()), b"root", "not usable");
    }
}
