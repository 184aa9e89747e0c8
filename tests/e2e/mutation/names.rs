//! Rows that add, remove and rename, under names plain and odd.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;
use congruent_protocol::contract::Class;

use super::row::{Expected, Row, added, modified, nothing, removed, row};

/// A name as long as Linux allows.
const LONGEST: [u8; 255] = [b'x'; 255];
const ODD: [&[u8]; 8] = [
    b" ",
    b"-rf",
    b"\n",
    b"back\\slash",
    b"line\nbreak",
    b"title\x1b]0;owned\x07",
    "bidi\u{202e}gpj.exe".as_bytes(),
    b"\xff\xfe not UTF-8",
];

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("file added", |root| add(root, b"usr/bin/miner"), |_| vec![added("/usr/bin/miner")]),
        row(
            "empty directory added",
            |root| Ok(fs::create_dir(root.join("usr/new"))?),
            |_| vec![added("/usr/new")],
        ),
        row(
            "files added under odd names",
            |root| ODD.iter().try_for_each(|name| add(root, &odd(name))),
            |_| ODD.iter().map(|name| added([b"/", &odd(name)[..]].concat())).collect(),
        ),
        row("a directory added under an odd name, with a file in it", odd_folder, |_| {
            vec![added("/srv/a\nb"), added("/srv/a\nb/c")]
        }),
        row(
            "a file added under the longest name",
            |root| add(root, &odd(&LONGEST)),
            |_| vec![added([b"/", &odd(&LONGEST)[..]].concat())],
        ),
        row("files added beside their neighbours in byte order", neighbours, |_| {
            ["/etc!", "/etc-", "/etc.d", "/etc/\u{1}", "/etc0"].map(added).into()
        }),
        row(
            "a hard link added",
            |root| hard_link(root, "etc/passwd", "etc/passwd.too"),
            |_| vec![added("/etc/passwd.too")],
        ),
        row("a file made a hard link to another of its content", linked_equal, nothing),
        row("a file made a hard link to one of other content", linked_other, |_| {
            vec![modified("/opt/extras/zeros", &["content", "size"])]
        }),
        row(
            "file removed",
            |root| Ok(fs::remove_file(root.join("etc/passwd"))?),
            |_| vec![removed("/etc/passwd")],
        ),
        row(
            "file with an odd name removed",
            |root| Ok(fs::remove_file(root.join("opt/extras/odd\nname"))?),
            |_| vec![removed("/opt/extras/odd\nname")],
        ),
        row(
            "directory removed with all beneath",
            |root| Ok(fs::remove_dir_all(root.join("usr/share"))?),
            |baked| baked.all_removed("/usr/share"),
        ),
        row(
            "file renamed",
            |root| rename(root, "usr/bin/ls", "usr/bin/sl"),
            |_| vec![removed("/usr/bin/ls"), added("/usr/bin/sl")],
        ),
        row("two files swapped", swap, |_| {
            ["/usr/bin/cat", "/usr/bin/ls"].map(|path| modified(path, &["content", "size"])).into()
        }),
        row("everything removed", remove_all, |baked| {
            let is_held = |gone: &Expected| baked.class_of(&gone.path) != Class::Ephemeral;
            baked.beneath_removed("/").into_iter().filter(is_held).collect()
        }),
        row(
            "directory renamed",
            |root| rename(root, "etc/apt", "etc/tpa"),
            |baked| [baked.all_removed("/etc/apt"), baked.all_added_as("/etc/apt", "/etc/tpa")].concat(),
        ),
    ]
}

fn odd(name: &[u8]) -> Vec<u8> {
    [b"srv/", name].concat()
}

fn add(root: &Path, path: &[u8]) -> Result<()> {
    Ok(fs::write(root.join(OsStr::from_bytes(path)), "added")?)
}

fn odd_folder(root: &Path) -> Result<()> {
    fs::create_dir(root.join("srv/a\nb"))?;
    Ok(symlink("nowhere", root.join("srv/a\nb/c"))?)
}

fn remove_all(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let is_directory = entry.file_type()?.is_dir();
        if is_directory { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    Ok(())
}

/// Whole-path order and tree order differ around a directory's name.
fn neighbours(root: &Path) -> Result<()> {
    [&b"etc!"[..], b"etc-", b"etc.d", b"etc0", b"etc/\x01"].iter().try_for_each(|path| add(root, path))
}

fn rename(root: &Path, from: &str, to: &str) -> Result<()> {
    Ok(fs::rename(root.join(from), root.join(to))?)
}

fn hard_link(root: &Path, from: &str, to: &str) -> Result<()> {
    Ok(fs::hard_link(root.join(from), root.join(to))?)
}

/// `twin` has the content of `linked`; only how many inodes there are changes.
fn linked_equal(root: &Path) -> Result<()> {
    fs::remove_file(root.join("opt/extras/twin"))?;
    hard_link(root, "opt/extras/linked", "opt/extras/twin")
}

fn linked_other(root: &Path) -> Result<()> {
    fs::remove_file(root.join("opt/extras/zeros"))?;
    hard_link(root, "opt/extras/linked", "opt/extras/zeros")
}

fn swap(root: &Path) -> Result<()> {
    rename(root, "usr/bin/cat", "usr/bin/swap")?;
    rename(root, "usr/bin/ls", "usr/bin/cat")?;
    rename(root, "usr/bin/swap", "usr/bin/ls")
}
