//! A violation of every class that the shipped contracts use, on a machine that has
//! been running.
//!
//! All are done to one copy, at places of their own, and one verify has to find
//! each of them and nothing else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use congruent_protocol::contract::Forbidden;
use congruent_protocol::drift::{Finding, HeldTo};
use congruent_tests::stock::{Baked, Instance};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// Files with content that are only ever appended to, which a stock image has none
/// of; after the shipped contracts.
pub(super) const CONTRACT: &str = r#"
    [[rule]]
    path = "/etc/{issue,issue.net,motd,shells}"
    class = "append-only"
"#;

/// What, where, how, and the finding in short.
type Row = (&'static str, &'static str, fn(&Path) -> Result<()>, Option<&'static str>);

const ROWS: [Row; 26] = [
    ("append-only: rewritten at its start", "/etc/motd", rewrite_start, Some("modified content")),
    ("append-only: cut", "/etc/issue", |path| write(path, ""), Some("modified content size")),
    ("append-only: another of the same length", "/etc/shells", rewrite_start, Some("modified content")),
    ("append-only: grown", "/etc/issue.net", grow, None),
    ("append-only: its mode", "/var/log/wtmp", |path| mode(path, 0o666), Some("modified mode")),
    ("append-only: gone", "/var/log/lastlog", remove, Some("removed")),
    (
        "pinned: another value than the first",
        "/etc/machine-id",
        rewrite_start,
        Some("modified content ledger"),
    ),
    (
        "pinned: a key's mode",
        "/etc/ssh/ssh_host_rsa_key",
        |path| mode(path, 0o644),
        Some("modified mode ledger"),
    ),
    ("pinned: a link instead", "/etc/hostname", replace_by_link, Some("replaced")),
    ("pinned: gone", "/etc/ssh/ssh_host_rsa_key.pub", remove, Some("removed ledger")),
    ("pinned: an account more", "/etc/passwd", grow, Some("modified content size ledger")),
    ("pinned: a key that no rule names", "/etc/ssh/ssh_host_other_key", touch, Some("added")),
    (
        "rotating: its owner",
        "/var/cache/debconf/config.dat",
        |path| Ok(chown(path, Some(1000), None)?),
        Some("modified uid"),
    ),
    ("rotating: content", "/var/cache/debconf/templates.dat", rewrite_start, None),
    ("rotating: a new one", "/var/cache/debconf/other.dat", touch, Some("added")),
    ("create-only: changed", "/home/debian/.bashrc", grow, Some("modified content size ledger")),
    ("create-only: gone", "/var/lib/systemd/timers/stamp-man-db.timer", remove, Some("removed ledger")),
    ("ephemeral: a program", "/var/log/program.log", |path| program(path, 0o755), Some("added !exec")),
    ("ephemeral: a log made a program", "/var/log/syslog", |path| mode(path, 0o750), Some("added !exec")),
    ("ephemeral: setuid in /tmp", "/tmp/su", |path| program(path, 0o4755), Some("added !setuid")),
    ("ephemeral: a program in /tmp", "/tmp/program", |path| program(path, 0o755), None),
    ("ephemeral: a device", "/var/backups/dpkg.device", device, Some("added !device")),
    ("immutable: a cron job", "/etc/cron.d/job", touch, Some("added")),
    (
        "immutable: a script for each boot",
        "/var/lib/cloud/scripts/per-boot/job",
        |path| program(path, 0o755),
        Some("added"),
    ),
    ("immutable: a shell's history", "/home/debian/.bash_history", touch, Some("added")),
    ("immutable: a program", "/usr/bin/ls", grow, Some("modified content size")),
];

/// Does all of them to a copy of `instance`, and holds the findings to the rows.
pub(super) fn check(baked: &Baked, instance: &Instance, ledger: &Path) -> Result<()> {
    let root = baked.copy_of(instance)?;
    let mut expected = Vec::new();
    for (name, path, violate, found) in ROWS {
        violate(&root.join(&path[1..])).with_context(|| format!("cannot do `{name}`"))?;
        expected.extend(found.map(|found| format!("{path} {found}")));
    }
    let (ended, verification) = baked.look(&root, Some(ledger))?;
    let mut found: Vec<_> = verification.findings.iter().map(in_short).collect();
    expected.sort();
    found.sort();
    ensure!(found == expected, "found {found:#?}\nexpected {expected:#?}");
    ensure!(ended.code == Some(1), "the exit code is {:?}", ended.code);
    Ok(())
}

fn in_short(finding: &Finding) -> String {
    let fields = finding.fields.iter().map(ToString::to_string);
    let forbidden = finding.forbidden.iter().map(|what: &Forbidden| format!("!{what}"));
    let ledger = (finding.held_to == HeldTo::Ledger).then(|| "ledger".to_owned());
    let words = [finding.path.to_string(), finding.change.name().to_owned()];
    words.into_iter().chain(fields).chain(forbidden).chain(ledger).collect::<Vec<_>>().join(" ")
}

fn write(path: &Path, content: &str) -> Result<()> {
    Ok(fs::write(path, content)?)
}

fn touch(path: &Path) -> Result<()> {
    write(path, "")
}

fn grow(path: &Path) -> Result<()> {
    let mut content = fs::read(path)?;
    content.extend_from_slice(b"more\n");
    Ok(fs::write(path, content)?)
}

fn rewrite_start(path: &Path) -> Result<()> {
    Ok(fs::OpenOptions::new().write(true).open(path)?.write_all_at(b"\x01", 0)?)
}

fn remove(path: &Path) -> Result<()> {
    Ok(fs::remove_file(path)?)
}

fn replace_by_link(path: &Path) -> Result<()> {
    remove(path)?;
    Ok(symlink("/tmp/elsewhere", path)?)
}

fn mode(path: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(path, Permissions::from_mode(mode))?)
}

fn program(path: &Path, bits: u32) -> Result<()> {
    write(path, "#!/bin/sh\n")?;
    mode(path, bits)
}

fn device(path: &Path) -> Result<()> {
    Ok(mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, makedev(1, 5))?)
}
