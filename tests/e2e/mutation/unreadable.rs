//! Rows in which a user without rights looks: what cannot be read is a gap in
//! coverage, never a finding.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;

use super::row::{Row, View, modified, nothing, row};

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

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row {
            view: View::Nobody,
            unreadable: CLOSED,
            ..row("the tree as nobody can see it", |_| Ok(()), nothing)
        },
        Row {
            view: View::Nobody,
            unreadable: CLOSED,
            ..row(
                "a change that nobody can see",
                |root| Ok(fs::write(root.join("etc/shadow"), "")?),
                |_| vec![modified("/etc/shadow", &["size"])],
            )
        },
        Row {
            view: View::Nobody,
            unreadable: CLOSED,
            ..row("a finding beside gaps", opened_wide, |_| vec![modified("/usr/bin/ls", &["mode"])])
        },
    ]
}

fn opened_wide(root: &Path) -> Result<()> {
    Ok(fs::set_permissions(root.join("usr/bin/ls"), Permissions::from_mode(0o777))?)
}
