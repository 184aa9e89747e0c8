//! Rows that change who owns what, who may do what, and extended attributes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown};
use std::path::Path;

use anyhow::Result;
use congruent_tests::program::succeed;
use rustix::fs::{XattrFlags, removexattr, setxattr};

use super::row::{Row, modified, nothing, row};

pub(super) fn rows() -> Vec<Row> {
    modes().into_iter().chain(owners()).chain(xattrs()).collect()
}

fn modes() -> Vec<Row> {
    vec![
        row("mode", |root| mode(root, "etc/shadow", 0o644), |_| vec![modified("/etc/shadow", &["mode"])]),
        row(
            "setuid set",
            |root| mode(root, "usr/bin/ls", 0o4755),
            |_| vec![modified("/usr/bin/ls", &["mode"])],
        ),
        row(
            "setgid set",
            |root| mode(root, "usr/bin/ls", 0o2755),
            |_| vec![modified("/usr/bin/ls", &["mode"])],
        ),
        row(
            "setuid removed",
            |root| mode(root, "usr/bin/su", 0o755),
            |_| vec![modified("/usr/bin/su", &["mode"])],
        ),
        row("sticky removed", |root| mode(root, "tmp", 0o777), |_| vec![modified("/tmp", &["mode"])]),
        row(
            "a directory's mode",
            |root| mode(root, "usr/share", 0o777),
            |_| vec![modified("/usr/share", &["mode"])],
        ),
        row("the root directory's mode", |root| mode(root, "", 0o700), |_| vec![modified("/", &["mode"])]),
    ]
}

fn owners() -> Vec<Row> {
    vec![
        row(
            "uid",
            |root| Ok(chown(root.join("etc/passwd"), Some(1000), None)?),
            |_| vec![modified("/etc/passwd", &["uid"])],
        ),
        row(
            "gid",
            |root| Ok(chown(root.join("etc/passwd"), None, Some(1000))?),
            |_| vec![modified("/etc/passwd", &["gid"])],
        ),
        row(
            "owner and group of a setuid file, which loses the bit",
            |root| Ok(chown(root.join("usr/bin/su"), Some(4_000_000_000), Some(7))?),
            |_| vec![modified("/usr/bin/su", &["mode", "uid", "gid"])],
        ),
        row(
            "a directory's owner",
            |root| Ok(chown(root.join("etc"), Some(33), Some(33))?),
            |_| vec![modified("/etc", &["uid", "gid"])],
        ),
        row(
            "the root directory's owner",
            |root| Ok(chown(root, Some(33), None)?),
            |_| vec![modified("/", &["uid"])],
        ),
        row(
            "a link's owner",
            |root| Ok(lchown(root.join("opt/extras/link"), Some(33), None)?),
            |_| vec![modified("/opt/extras/link", &["uid"])],
        ),
    ]
}

fn xattrs() -> Vec<Row> {
    vec![
        row(
            "user xattr set",
            |root| set(root, "etc/passwd", "user.note", b"x"),
            |_| vec![modified("/etc/passwd", &["xattr:user.note"])],
        ),
        row(
            "user xattr changed",
            |root| set(root, "opt/extras/labelled", "user.note", b"BAKED"),
            |_| vec![modified("/opt/extras/labelled", &["xattr:user.note"])],
        ),
        row(
            "user xattr emptied",
            |root| set(root, "opt/extras/labelled", "user.note", b""),
            |_| vec![modified("/opt/extras/labelled", &["xattr:user.note"])],
        ),
        row(
            "user xattr removed",
            |root| Ok(removexattr(root.join("opt/extras/labelled"), "user.note")?),
            |_| vec![modified("/opt/extras/labelled", &["xattr:user.note"])],
        ),
        row("user xattr renamed", renamed_xattr, |_| {
            vec![modified("/opt/extras/labelled", &["xattr:user.name", "xattr:user.note"])]
        }),
        row(
            "user xattr on a directory",
            |root| set(root, "etc", "user.note", b"x"),
            |_| vec![modified("/etc", &["xattr:user.note"])],
        ),
        row("an xattr with an odd name", set_odd, |_| {
            vec![modified("/etc/passwd", &[r"xattr:user.a\x0ab\xff"])]
        }),
        row("more xattrs than a short list holds", set_many, |_| {
            let fields: Vec<String> = (0..MANY).map(many).map(|name| format!("xattr:{name}")).collect();
            vec![modified("/etc/passwd", &fields.iter().map(String::as_str).collect::<Vec<_>>())]
        }),
        row(
            "user xattr on the root directory",
            |root| set(root, "", "user.note", b"x"),
            |_| vec![modified("/", &["xattr:user.note"])],
        ),
        row("an xattr that is out of scope", |root| set(root, "etc/passwd", "trusted.note", b"x"), nothing),
        row(
            "file capability set",
            |root| run(root, "setcap", &["cap_net_admin+ep"], "usr/bin/ls"),
            |_| vec![modified("/usr/bin/ls", &["xattr:security.capability"])],
        ),
        row(
            "file capability changed",
            |root| run(root, "setcap", &["cap_sys_admin+ep"], "opt/extras/capable"),
            |_| vec![modified("/opt/extras/capable", &["xattr:security.capability"])],
        ),
        row(
            "file capability removed",
            |root| run(root, "setcap", &["-r"], "opt/extras/capable"),
            |_| vec![modified("/opt/extras/capable", &["xattr:security.capability"])],
        ),
    ]
}

fn mode(root: &Path, path: &str, mode: u32) -> Result<()> {
    Ok(fs::set_permissions(root.join(path), Permissions::from_mode(mode))?)
}

fn set(root: &Path, path: &str, name: &str, value: &[u8]) -> Result<()> {
    Ok(setxattr(root.join(path), name, value, XattrFlags::empty())?)
}

fn set_odd(root: &Path) -> Result<()> {
    Ok(setxattr(root.join("etc/passwd"), &b"user.a\nb\xff"[..], b"x", XattrFlags::empty())?)
}

/// How many extended attributes [`set_many`] sets.
const MANY: usize = 60;

fn many(index: usize) -> String {
    format!("user.one-of-many-{index:03}")
}

fn set_many(root: &Path) -> Result<()> {
    (0..MANY).try_for_each(|index| set(root, "etc/passwd", &many(index), b"x"))
}

fn renamed_xattr(root: &Path) -> Result<()> {
    set(root, "opt/extras/labelled", "user.name", b"baked")?;
    Ok(removexattr(root.join("opt/extras/labelled"), "user.note")?)
}

fn run(root: &Path, program: &str, arguments: &[&str], path: &str) -> Result<()> {
    let path = root.join(path);
    succeed(program, arguments.iter().map(AsRef::as_ref).chain([path.as_os_str()]))?;
    Ok(())
}
