//! The one check that every row goes through.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_protocol::contract::Class;
use congruent_protocol::drift::{Field, Finding};
use congruent_protocol::ledger::Ledger;
use congruent_protocol::path::plain;
use congruent_protocol::recompute::recompute;
use congruent_protocol::verification::{Coverage, State, SweepMode, Verification};
use congruent_tests::program::{self, Ended};
use congruent_tests::{agent, binaries, mounts, tree};
use serde_json::Value;

use super::row::{Baked, Expected, Row, View};

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// Changes a copy in `folder`, verifies it, and holds the outcome to the row.
pub(crate) fn check(row: &Row, baked: &Baked, folder: &Path) -> Result<()> {
    fs::create_dir(folder)?;
    let root = folder.join("root");
    tree::copy(&baked.tree, &root)?;
    let outcome = change_and_hold(row, baked, folder, &root);
    // Deeper than the standard library may go, which keeps each level open.
    program::succeed("rm", ["-rf".as_ref(), folder.as_os_str()])?;
    outcome
}

/// Changes the tree at `root` itself, verifies it, and holds the outcome to the
/// row. What the look needs beside the tree is put into `folder`.
pub(crate) fn change_and_hold(row: &Row, baked: &Baked, folder: &Path, root: &Path) -> Result<()> {
    (row.mutate)(root).context("the mutation itself failed")?;
    let ended = look(row.view, baked, folder, root)?;
    let verification = agent::verification(&ended)?;
    check_findings(row, baked, &verification)?;
    check_verdict(row, baked, &ended, &verification)?;
    check_coverage(row, baked, &verification, root)?;
    check_root(baked, &verification)?;
    check_json(&ended, &verification)
}

fn look(view: View, baked: &Baked, folder: &Path, root: &Path) -> Result<Ended> {
    let program = binaries::path("congruent")?;
    let arguments = agent::verify_arguments(&baked.manifest_file, &baked.public_key, root);
    match view {
        View::Plain => program::run(Command::new(program).args(arguments)),
        View::Mounted(commands) => program::run(mounts::command(commands, root, &program).args(arguments)),
        View::Nobody => as_nobody(&program, baked, folder, root),
        View::FewDescriptors(limit) => {
            let limit = format!("--nofile={limit}");
            program::run(Command::new("prlimit").arg(limit).arg(program).args(arguments))
        }
    }
}

/// Puts all that the look needs where nobody can reach it.
fn as_nobody(program: &Path, baked: &Baked, folder: &Path, root: &Path) -> Result<Ended> {
    let here = |name: &str| folder.join(name);
    let (mine, manifest, key) = (here("congruent"), here("web.manifest"), here("key.pub.pem"));
    for (from, to) in [(program, &mine), (&baked.manifest_file, &manifest), (&baked.public_key, &key)] {
        fs::copy(from, to)?;
        chown(to, Some(NOBODY), Some(NOBODY))?;
    }
    let above = folder.parent().context("the folder is at the top")?;
    for folder in [folder, above] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711))?;
    }
    let arguments = agent::verify_arguments(&manifest, &key, root);
    program::run(Command::new(mine).args(arguments).uid(NOBODY).gid(NOBODY).current_dir("/"))
}

fn check_findings(row: &Row, baked: &Baked, verification: &Verification) -> Result<()> {
    let mut expected = (row.expect)(baked);
    expected.sort_by(|a, b| a.path.cmp(&b.path));
    let found: Vec<Expected> = verification.findings.iter().map(Expected::from).collect();
    ensure!(found == expected, "expected {}\n    but found {}", list(&expected), list(&found));
    for finding in &verification.findings {
        let class = baked.class_of(&finding.path);
        ensure!(finding.class == class, "{} is of class {}, not {class}", finding.path, finding.class);
        let baked_kind = baked.node(&finding.path).map(congruent_protocol::entry::Node::kind);
        let expected_kind = finding.expected.as_ref().map(|attributes| attributes.kind);
        ensure!(expected_kind == baked_kind, "{}: expected is not what was baked", finding.path);
    }
    Ok(())
}

fn check_verdict(row: &Row, baked: &Baked, ended: &Ended, verification: &Verification) -> Result<()> {
    let is_whole = (row.unreadable)(baked).is_empty();
    let (state, code) = match (verification.findings.is_empty(), is_whole) {
        (false, _) => (State::Divergent, 1),
        (true, true) => (State::Congruent, 0),
        (true, false) => (State::Incomplete, 3),
    };
    ensure!(verification.state == state, "the state is {:?}", verification.state);
    ensure!(ended.code == Some(code), "the exit code is {:?}: {}", ended.code, ended.stderr);
    ensure!(verification.conditional != is_whole, "conditional is wrong");
    Ok(())
}

fn check_coverage(row: &Row, baked: &Baked, verification: &Verification, root: &Path) -> Result<()> {
    let coverage = &verification.coverage;
    ensure!(coverage.mode == SweepMode::Full && coverage.unstable.is_empty(), "the sweep is not full");
    let unreadable: Vec<String> = coverage.unreadable.iter().map(|gap| gap.path.to_string()).collect();
    ensure!(unreadable == (row.unreadable)(baked), "unreadable are {unreadable:?}");
    let hidden: Vec<_> =
        coverage.hidden.iter().map(|hidden| (hidden.path.to_string(), hidden.entries)).collect();
    let expected: Vec<_> = (row.hidden)(baked).into_iter().map(|(path, n)| (path.to_owned(), n)).collect();
    ensure!(hidden == expected, "hidden are {hidden:?}, expected {expected:?}");
    ensure!(coverage.entries_expected == baked.entries.len() as u64, "entries_expected is wrong");
    if unreadable.is_empty() {
        let beneath_mounts: u64 = hidden.iter().map(|(_, entries)| entries - 1).sum();
        let reserved = check_reserved(baked, coverage, root)?;
        let there = count(root)? - beneath_mounts - reserved;
        ensure!(coverage.entries_seen == there, "saw {} of {there} entries", coverage.entries_seen);
    }
    ensure!(coverage.started_at <= coverage.finished_at, "it ended before it began");
    Ok(())
}

/// Holds the reserved places to what is there; gives how many entries they hold.
fn check_reserved(baked: &Baked, coverage: &Coverage, root: &Path) -> Result<u64> {
    let mut there = Vec::new();
    for place in &baked.manifest.predicate().reserved {
        let place = place.to_string();
        match count(&root.join(&place[1..]))? {
            0 => {}
            entries => there.push((entries, place)),
        }
    }
    let listed: Vec<_> =
        coverage.reserved.iter().map(|reserved| (reserved.entries, reserved.path.to_string())).collect();
    ensure!(listed == there, "reserved are {listed:?}, there are {there:?}");
    Ok(listed.iter().map(|(entries, _)| entries).sum())
}

/// How many entries are at `top` and beneath it; `find` goes as deep as there is.
fn count(top: &Path) -> Result<u64> {
    if !top.try_exists()? {
        return Ok(0);
    }
    Ok(program::succeed("find", [top.as_os_str(), "-printf".as_ref(), ".".as_ref()])?.stdout.len() as u64)
}

/// The collector's own way to the root must lead to the same place.
pub(crate) fn check_root(baked: &Baked, verification: &Verification) -> Result<()> {
    let predicate = baked.manifest.predicate();
    let entries = baked.manifest.entries(File::open(&baked.manifest_file)?)?;
    let findings = &verification.findings;
    let algorithm = predicate.root.algorithm();
    let ledger = Ledger::empty(predicate.root);
    let root = recompute(entries, algorithm, &predicate.contract, &predicate.reserved, &ledger, findings)?;
    ensure!(
        root == verification.observed_root,
        "recomputed is {root}, observed {}",
        verification.observed_root
    );
    ensure!(
        (root != predicate.root) == findings.iter().any(shows_in_root),
        "the root does not tell drift from none"
    );
    ensure!(verification.manifest.root == predicate.root, "the manifest's root is wrong");
    let signers: Vec<String> = baked.manifest.signed_by().verified.iter().map(ToString::to_string).collect();
    ensure!(verification.manifest.signed_by == signers, "the signers are wrong");
    Ok(())
}

/// Reserved places lie outside the tree, and sizes are no part of the root: where
/// content cannot be read, a size may be all that is known to differ.
fn shows_in_root(finding: &Finding) -> bool {
    finding.class != Class::Reserved && finding.fields != [Field::Size]
}

/// The JSON is exactly what the types say, and names are given in bytes only
/// where they are not plain.
fn check_json(ended: &Ended, verification: &Verification) -> Result<()> {
    let printed: Value = serde_json::from_slice(&ended.stdout)?;
    ensure!(printed == serde_json::to_value(verification)?, "the JSON has more or less than its type");
    let findings = printed["findings"].as_array().context("findings are no array")?;
    for (json, finding) in findings.iter().zip(&verification.findings) {
        let is_plain = plain(finding.path.as_bytes()).is_some();
        ensure!(json.get("path_bytes").is_none() == is_plain, "path_bytes is wrong at {}", finding.path);
    }
    let controls = ended.stdout.iter().filter(|byte| byte.is_ascii_control()).collect::<BTreeSet<_>>();
    ensure!(controls.iter().all(|&&byte| byte == b'\n'), "control characters in the output");
    Ok(())
}

fn list(findings: &[Expected]) -> String {
    const SHOWN: usize = 8;
    let mut lines: Vec<String> = findings
        .iter()
        .take(SHOWN)
        .map(|finding| format!("{} {} {:?}", finding.change.name(), finding.path, finding.fields))
        .collect();
    if findings.len() > SHOWN {
        lines.push(format!("and {} more", findings.len() - SHOWN));
    }
    if lines.is_empty() { "nothing".to_owned() } else { lines.join(", ") }
}
