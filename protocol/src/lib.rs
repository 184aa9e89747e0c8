//! What Congruent's agent and collector must agree on.
//!
//! Paths, entries, the tree root, the manifest, the contract, drift, reports,
//! decisions and actions; their encodings and signatures. Pure: this crate
//! opens no files or sockets, and knows no clock, environment or async.

pub mod action;
pub mod contract;
pub mod decision;
pub mod digest;
pub mod drift;
pub mod dsse;
pub mod enrolment;
pub mod entry;
pub mod key;
pub mod layer;
pub mod ledger;
pub mod manifest;
pub mod normalise;
#[cfg(feature = "openapi")]
mod openapi;
pub mod path;
pub mod promise;
pub mod recompute;
pub mod report;
pub mod seal;
pub mod stack;
mod strict_json;
pub mod strict_toml;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod trust;
pub mod verification;
