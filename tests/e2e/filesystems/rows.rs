//! The changes that every file system is tried with.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::path::Path;

use anyhow::Result;
use congruent_tests::program::succeed;
use rustix::fs::{FallocateFlags, XattrFlags, fallocate, removexattr, setxattr};

use crate::mutation::row::{Baked, Expected, Row, added, modified, nothing, removed, replaced, row};

/// A file that has a second name.
pub(crate) const LINKED: &str = "/usr/share/linked";

pub(crate) fn rows() -> Vec<Row> {
    contents().into_iter().chain(names()).chain(attributes()).collect()
}

fn contents() -> Vec<Row> {
    vec![
        row("nothing", |_| Ok(()), nothing),
        row("content of the same size, times restored", same_size, |_| {
            vec![modified("/usr/bin/large", &["content"])]
        }),
        row(
            "content of a file that may lie in its inode",
            |root| Ok(fs::write(root.join("usr/share/folder/file"), "FILE")?),
            |_| vec![modified("/usr/share/folder/file", &["content"])],
        ),
        row("a hole where content was", punch, |_| vec![modified("/usr/bin/large", &["content"])]),
        row(
            "rewritten with equal content",
            |root| Ok(fs::write(root.join("etc/passwd"), fs::read(root.join("etc/passwd"))?)?),
            nothing,
        ),
    ]
}

fn names() -> Vec<Row> {
    vec![
        row(
            "a file added",
            |root| Ok(fs::write(root.join("usr/share/new"), "new")?),
            |_| vec![added("/usr/share/new")],
        ),
        row(
            "a file removed",
            |root| Ok(fs::remove_file(root.join("usr/share/removed"))?),
            |_| vec![removed("/usr/share/removed")],
        ),
        row(
            "a directory removed",
            |root| Ok(fs::remove_dir_all(root.join("usr/share/folder"))?),
            |_| ["/usr/share/folder", "/usr/share/folder/file"].map(removed).into(),
        ),
        row("a directory removed and made anew, empty", remade, |_| vec![removed("/usr/share/folder/file")]),
        row("a directory renamed", renamed, |_| {
            let (old, new) =
                (["/usr/share/folder", "/usr/share/folder/file"], ["/usr/share/old", "/usr/share/old/file"]);
            old.map(removed).into_iter().chain(new.map(added)).collect()
        }),
        row(
            "a hard link added",
            |root| Ok(fs::hard_link(root.join("etc/passwd"), root.join("etc/shadow"))?),
            |_| vec![added("/etc/shadow")],
        ),
        row("a file made a link to a copy of it", linked_away, |_| {
            vec![replaced("/usr/bin/web"), added("/usr/bin/web.real")]
        }),
    ]
}

fn attributes() -> Vec<Row> {
    vec![
        row(
            "mode",
            |root| Ok(fs::set_permissions(root.join("usr/bin/web"), Permissions::from_mode(0o4755))?),
            |_| vec![modified("/usr/bin/web", &["mode"])],
        ),
        row("owner, to the same", |root| Ok(chown(root.join("usr/bin/large"), Some(0), Some(0))?), nothing),
        row(
            "user xattr changed",
            |root| set(root, "labelled", "user.note"),
            |_| vec![modified("/usr/share/labelled", &["xattr:user.note"])],
        ),
        row(
            "user xattr removed",
            |root| Ok(removexattr(root.join("usr/share/labelled"), "user.note")?),
            |_| vec![modified("/usr/share/labelled", &["xattr:user.note"])],
        ),
        row("a large xattr set", set_large, |_| vec![modified("/usr/share/labelled", &["xattr:user.large"])]),
        row(
            "capability removed",
            |root| run(root, "setcap", "-r", "capable"),
            |_| vec![modified("/usr/share/capable", &["xattr:security.capability"])],
        ),
        row(
            "a trusted xattr, which the contract asks for",
            |root| set(root, "removed", "trusted.note"),
            |_| vec![modified("/usr/share/removed", &["xattr:trusted.note"])],
        ),
    ]
}

/// A write behind one of two names of a file; what is found depends on whether the
/// file system keeps them one.
pub(super) fn behind_a_link(expect: fn(&Baked) -> Vec<Expected>) -> Row {
    row(
        "content behind one of two hard links",
        |root| Ok(fs::write(root.join(&LINKED[1..]), "LINKED")?),
        expect,
    )
}

/// An access control list removed; what is found depends on how the file system
/// keeps them.
pub(super) fn without_list(expect: fn(&Baked) -> Vec<Expected>) -> Row {
    row("access control list removed", |root| run(root, "setfacl", "-b", "guarded"), expect)
}

pub(super) fn list_gone(_: &Baked) -> Vec<Expected> {
    vec![modified("/usr/share/guarded", &["xattr:system.posix_acl_access"])]
}

/// Changes one byte, and nothing else that a user could see.
fn same_size(root: &Path) -> Result<()> {
    let path = root.join("usr/bin/large");
    let about = fs::metadata(&path)?;
    let file = File::options().write(true).open(&path)?;
    file.write_all_at(b"x", about.len() - 1)?;
    Ok(file.set_times(FileTimes::new().set_modified(about.modified()?).set_accessed(about.accessed()?))?)
}

fn punch(root: &Path) -> Result<()> {
    let file = File::options().write(true).open(root.join("usr/bin/large"))?;
    Ok(fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 8192, 8192)?)
}

fn remade(root: &Path) -> Result<()> {
    fs::remove_dir_all(root.join("usr/share/folder"))?;
    Ok(fs::create_dir(root.join("usr/share/folder"))?)
}

fn renamed(root: &Path) -> Result<()> {
    Ok(fs::rename(root.join("usr/share/folder"), root.join("usr/share/old"))?)
}

fn linked_away(root: &Path) -> Result<()> {
    fs::rename(root.join("usr/bin/web"), root.join("usr/bin/web.real"))?;
    Ok(symlink("web.real", root.join("usr/bin/web"))?)
}

fn set(root: &Path, file: &str, name: &str) -> Result<()> {
    Ok(setxattr(root.join("usr/share").join(file), name, b"changed", XattrFlags::empty())?)
}

/// More than an inode holds beside all else, and less than the least that a file
/// system allows.
fn set_large(root: &Path) -> Result<()> {
    let path = root.join("usr/share/labelled");
    Ok(setxattr(path, "user.large", &[b'x'; 2000], XattrFlags::empty())?)
}

fn run(root: &Path, program: &str, option: &str, file: &str) -> Result<()> {
    succeed(program, [option.as_ref(), root.join("usr/share").join(file).as_os_str()])?;
    Ok(())
}
