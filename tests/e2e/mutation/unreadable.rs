//! Rows in which a user without rights looks: what cannot be read is a gap in
//! coverage, never a finding.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use congruent_protocol::path::TreePath;

use super::row::{Baked, Expected, Row, View, modified, nothing, row};

/// What nobody can read in a minimal Debian root.
const CLOSED: &[&str] = &[
    "/etc/.pwd.lock",
    "/etc/gshadow",
    "/etc/passwd-",
    "/etc/security/opasswd",
    "/etc/shadow",
    "/root",
    "/var/cache/apt/archives/lock",
    "/var/cache/apt/archives/partial",
    "/var/cache/debconf/passwords.dat",
    "/var/cache/ldconfig",
    "/var/lib/apt/lists/lock",
    "/var/lib/apt/lists/partial",
    "/var/lib/dpkg/lock",
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/triggers/Lock",
    "/var/log/btmp",
];

/// A directory with files and directories in it, that anyone could read when it
/// was baked.
const SHUT: &str = "/etc/apt";

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row {
            view: View::Nobody,
            unreadable: closed,
            ..row("the tree as nobody can see it", |_| Ok(()), nothing)
        },
        Row {
            view: View::Nobody,
            unreadable: closed,
            ..row(
                "a change that nobody can see",
                |root| Ok(fs::write(root.join("etc/shadow"), "")?),
                |_| vec![modified("/etc/shadow", &["size"])],
            )
        },
        Row {
            view: View::Nobody,
            unreadable: closed,
            ..row("a finding beside gaps", opened_wide, |_| vec![modified("/usr/bin/ls", &["mode"])])
        },
        Row {
            view: View::Nobody,
            unreadable: |baked| closed_and(baked, [SHUT.to_owned()]),
            ..row("a directory that nobody can enter or list", |root| shut(root, 0o700), of_shut_mode)
        },
        Row {
            view: View::Nobody,
            unreadable: |baked| closed_and(baked, [SHUT.to_owned()]),
            ..row("a directory that nobody can list", |root| shut(root, 0o711), of_shut_mode)
        },
        Row {
            view: View::Nobody,
            unreadable: |baked| closed_and(baked, children(baked, SHUT)),
            ..row("a directory that nobody can enter", |root| shut(root, 0o744), of_shut_mode)
        },
        Row {
            view: View::Nobody,
            unreadable: |baked| closed_and(baked, [SHUT.to_owned()]),
            ..row("changes beneath a directory that nobody can enter", shut_over_changes, of_shut_mode)
        },
    ]
}

fn closed(_: &Baked) -> Vec<String> {
    CLOSED.iter().map(ToString::to_string).collect()
}

fn closed_and(baked: &Baked, more: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut paths: Vec<String> = closed(baked).into_iter().chain(more).collect();
    paths.sort_by_key(|path| TreePath::new(path.as_str()).unwrap());
    paths
}

/// What was baked directly in a directory: with what may not be looked at itself,
/// what lies beneath it is unreadable.
fn children(baked: &Baked, path: &str) -> Vec<String> {
    let depth = path.matches('/').count() + 1;
    let all = baked.beneath(path).map(|listed| listed.path.to_string());
    all.filter(|beneath| beneath.matches('/').count() == depth).collect()
}

fn of_shut_mode(_: &Baked) -> Vec<Expected> {
    vec![modified(SHUT, &["mode"])]
}

fn shut(root: &Path, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(root.join(&SHUT[1..]), Permissions::from_mode(mode))?)
}

fn shut_over_changes(root: &Path) -> Result<()> {
    let folder = root.join(&SHUT[1..]);
    fs::write(folder.join("added"), "")?;
    fs::remove_dir_all(folder.join("sources.list.d"))?;
    shut(root, 0o700)
}

fn opened_wide(root: &Path) -> Result<()> {
    Ok(fs::set_permissions(root.join("usr/bin/ls"), Permissions::from_mode(0o777))?)
}
