//! Rows that change access control lists: those that hold, and those that a
//! directory hands down.

use std::fs;
use std::path::Path;

use anyhow::Result;
use congruent_tests::program::succeed;

use super::row::{Expected, Row, added, modified, nothing, row};

/// A file of mode 0644 that user 1000 may read.
const GUARDED: &str = "opt/extras/guarded";
/// A directory of mode 0755 that user 1000 may enter, and that hands more down.
const HANDED_DOWN: &str = "opt/extras/handed-down";

pub(super) fn rows() -> Vec<Row> {
    access().into_iter().chain(default()).collect()
}

fn access() -> Vec<Row> {
    vec![
        row(
            "access list set",
            |root| setfacl(root, &["-m", "u:1000:r"], "etc/passwd"),
            |_| vec![access_of("/etc/passwd")],
        ),
        row(
            "access list set that says no more than the mode",
            |root| setfacl(root, &["-m", "u::rw,g::r,o::r"], "etc/passwd"),
            nothing,
        ),
        row(
            "access list changed, its mask kept",
            |root| setfacl(root, &["-n", "-m", "u:1000:rw"], GUARDED),
            |_| vec![access_of("/opt/extras/guarded")],
        ),
        row(
            "access list's mask widened, which is the mode's group",
            |root| setfacl(root, &["-m", "m::rw"], GUARDED),
            |_| vec![modified("/opt/extras/guarded", &["mode", "xattr:system.posix_acl_access"])],
        ),
        row(
            "access list for another user",
            |root| setfacl(root, &["-x", "u:1000", "-m", "u:1001:r"], GUARDED),
            |_| vec![access_of("/opt/extras/guarded")],
        ),
        row(
            "access list for a group and not the user of that number",
            |root| setfacl(root, &["-x", "u:1000", "-m", "g:1000:r"], GUARDED),
            |_| vec![access_of("/opt/extras/guarded")],
        ),
        row(
            "access list removed",
            |root| setfacl(root, &["-b"], GUARDED),
            |_| vec![access_of("/opt/extras/guarded")],
        ),
        row(
            "access list removed and set again",
            |root| {
                setfacl(root, &["-b"], GUARDED)?;
                setfacl(root, &["-m", "u:1000:r"], GUARDED)
            },
            nothing,
        ),
    ]
}

fn default() -> Vec<Row> {
    vec![
        row(
            "default list set on a directory",
            |root| setfacl(root, &["-d", "-m", "u:1000:rwx"], "etc"),
            |_| vec![default_of("/etc")],
        ),
        row(
            "default list changed",
            |root| setfacl(root, &["-d", "-m", "u:1000:r"], HANDED_DOWN),
            |_| vec![default_of("/opt/extras/handed-down")],
        ),
        row(
            "default list removed",
            |root| setfacl(root, &["-k"], HANDED_DOWN),
            |_| vec![default_of("/opt/extras/handed-down")],
        ),
        row(
            "both lists of a directory removed",
            |root| setfacl(root, &["-b"], HANDED_DOWN),
            |_| {
                let fields = ["xattr:system.posix_acl_access", "xattr:system.posix_acl_default"];
                vec![modified("/opt/extras/handed-down", &fields)]
            },
        ),
        row(
            "a file that takes the default list on",
            |root| Ok(fs::write(root.join(HANDED_DOWN).join("new"), "")?),
            |_| vec![added("/opt/extras/handed-down/new")],
        ),
    ]
}

fn access_of(path: &str) -> Expected {
    modified(path, &["xattr:system.posix_acl_access"])
}

fn default_of(path: &str) -> Expected {
    modified(path, &["xattr:system.posix_acl_default"])
}

fn setfacl(root: &Path, arguments: &[&str], path: &str) -> Result<()> {
    let path = root.join(path);
    succeed("setfacl", arguments.iter().map(AsRef::as_ref).chain([path.as_os_str()]))?;
    Ok(())
}
