//! The second reader: `tests/peers/second_reader/`, written from FORMAT.md alone,
//! and PyPI's readers of envelope and statement. All of them must agree with us.

mod classes;
mod envelope;
mod images;
mod manifests;
mod random;
mod stacks;

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use congruent_protocol::contract::{Class, Forbidden};
use congruent_protocol::digest::Digest;
use congruent_protocol::drift::{Attributes, Change, Field, Finding, HeldTo};
use congruent_protocol::entry::Entry;
use congruent_protocol::ledger::FirstValue;
use congruent_protocol::path::TreePath;
use congruent_protocol::verification::Verification;
use congruent_tests::{peer, program};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What the second reader tells of a tree.
#[derive(Deserialize)]
struct Held {
    baked_root: Digest,
    observed_root: Digest,
    findings: Vec<Finding>,
    first_values: Vec<FirstValue>,
}

/// A finding as it is meant, however it is written.
type Meant = (TreePath, Change, Vec<Field>, Class, Vec<Forbidden>, HeldTo, Option<Entry>, Option<Entry>);

/// Asks the second reader; gives the JSON that it prints.
fn ask<T: DeserializeOwned>(arguments: &[&OsStr]) -> Result<T> {
    let ended = program::run(peer::module("second_reader")?.args(arguments))?;
    ensure!(ended.code == Some(0), "the second reader: {}", ended.stderr);
    serde_json::from_slice(&ended.stdout).with_context(|| ended.text())
}

/// Holds what `congruent verify` said of `root` to the second reader's own look
/// and to its way from findings to the root. `given` is as for `verify`.
fn agree(verification: &Verification, manifest: &Path, root: &Path, given: &[&OsStr]) -> Result<()> {
    let held: Held = ask(&[&["hold".as_ref(), manifest.as_os_str(), root.as_os_str()], given].concat())?;
    let (ours, theirs) = (meant(&verification.findings)?, meant(&held.findings)?);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        ensure!(ours == theirs, "a finding differs:\n  ours   {ours:?}\n  theirs {theirs:?}");
    }
    ensure!(ours.len() == theirs.len(), "there are {} findings, not {}", ours.len(), theirs.len());
    let (ours, theirs) = (values(&verification.coverage.first_seen)?, values(&held.first_values)?);
    ensure!(ours == theirs, "first values differ:\n  ours   {ours:?}\n  theirs {theirs:?}");
    ensure!(held.baked_root == verification.baked_root, "the baked roots differ");
    ensure!(held.observed_root == verification.observed_root, "the observed roots differ");
    Ok(())
}

fn meant(findings: &[Finding]) -> Result<Vec<Meant>> {
    let entry = |attributes: &Option<Attributes>| attributes.as_ref().map(Attributes::to_entry).transpose();
    findings
        .iter()
        .map(|finding| {
            let Finding { path, change, fields, class, forbidden, held_to, expected, observed } = finding;
            let (expected, observed) = (entry(expected)?, entry(observed)?);
            Ok((
                path.clone(),
                *change,
                fields.clone(),
                *class,
                forbidden.clone(),
                *held_to,
                expected,
                observed,
            ))
        })
        .collect()
}

fn values(first: &[FirstValue]) -> Result<Vec<(TreePath, Entry)>> {
    first.iter().map(|value| Ok((value.path.clone(), value.attributes.to_entry()?))).collect()
}
