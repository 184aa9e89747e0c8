//! Rows with paths longer than the kernel takes in one call, and with more levels
//! than files may be open.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::Result;
use congruent_tests::sandbox::Sandbox;
use congruent_tests::tree;
use rustix::fs::{AtFlags, Mode, OFlags, linkat, mkdirat, open, openat, unlinkat};
use rustix::io::write;

use super::check::change_and_hold;
use super::row::{Baked, Row, View, added, modified, nothing, removed, row};

/// The place that all of it is made in.
const TOP: &str = "/srv";
const NAME_BYTES: usize = 200;
/// As long as a path can be that one call takes, with the tree's own before it.
const LONG_BYTES: usize = 4000;
const LONG_LEVELS: usize = 19;
/// Twice what PATH_MAX lets any call take.
const BEYOND_LEVELS: usize = 40;
/// Levels, and how few of them can be open at once.
const MANY_LEVELS: usize = 3000;
const FEW_DESCRIPTORS: u32 = 64;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "a file added at a path of 4,000 bytes",
            |root| make(&dig(root, &name(), LONG_LEVELS)?, &last_of_long()),
            |_| {
                let file = format!("{}/{}", chain(&name(), LONG_LEVELS), last_of_long());
                assert_eq!(file.len(), LONG_BYTES);
                levels(&name(), LONG_LEVELS).chain([file]).map(added).collect()
            },
        ),
        row(
            "a file added at a path of 8,000 bytes",
            |root| make(&dig(root, &name(), BEYOND_LEVELS)?, "file"),
            |_| {
                let file = format!("{}/file", chain(&name(), BEYOND_LEVELS));
                levels(&name(), BEYOND_LEVELS).chain([file]).map(added).collect()
            },
        ),
        Row {
            view: View::FewDescriptors(FEW_DESCRIPTORS),
            ..row(
                "more levels than files may be open",
                |root| make(&dig(root, "d", MANY_LEVELS)?, "file"),
                |_| {
                    let file = format!("{}/file", chain("d", MANY_LEVELS));
                    levels("d", MANY_LEVELS).chain([file]).map(added).collect()
                },
            )
        },
        Row {
            view: View::FewDescriptors(FEW_DESCRIPTORS),
            ..row(
                "the same with a file that is met on the way up from each",
                |root| {
                    let dig = |above: &OwnedFd| mkdirat(above, "d", Mode::RWXU).map_err(Into::into);
                    descend(root, "d", MANY_LEVELS, |above| dig(above).and_then(|()| make(above, "z")))
                        .map(drop)
                },
                |_| {
                    let files = (0..MANY_LEVELS).map(|level| format!("{}/z", chain("d", level)));
                    levels("d", MANY_LEVELS).chain(files).map(added).collect()
                },
            )
        },
        Row {
            view: View::FewDescriptors(FEW_DESCRIPTORS),
            ..row("a tree of few levels, where few files may be open", |_| Ok(()), nothing)
        },
    ]
}

/// No program copies a tree that deep, so these change it where it is, one after
/// another.
#[test]
fn what_was_baked_deep_is_held_to() -> Result<()> {
    let sandbox = Sandbox::for_trees()?;
    let root = sandbox.path("root");
    tree::small(&root)?;
    fs::create_dir(root.join("srv"))?;
    let bottom = dig(&root, &name(), BEYOND_LEVELS)?;
    make(&bottom, "file")?;
    linkat(&bottom, "file", &bottom, "linked", AtFlags::empty())?;
    make(&bottom, "other")?;
    let baked = Baked::bake(&root, "", &sandbox)?;
    let mut rows = vec![
        row("nothing, deep down", |_| Ok(()), nothing),
        row(
            "content of a file deep down, which has a second name",
            |root| overwrite(&bottom_of(root)?, "file", b"ADDED"),
            |_| ["file", "linked"].map(|name| modified(&deep(name), &["content"])).into(),
        ),
        row(
            "the content back, and a file removed",
            |root| {
                let bottom = bottom_of(root)?;
                overwrite(&bottom, "file", b"added")?;
                Ok(unlinkat(&bottom, "other", AtFlags::empty())?)
            },
            |_| vec![removed(deep("other"))],
        ),
    ];
    for row in &mut rows {
        change_and_hold(row, &baked, sandbox.folder(), &root).map_err(|error| error.context(row.name))?;
        row.view = View::FewDescriptors(FEW_DESCRIPTORS);
        row.mutate = |_| Ok(());
        change_and_hold(row, &baked, sandbox.folder(), &root).map_err(|error| error.context(row.name))?;
    }
    Ok(())
}

fn name() -> String {
    "n".repeat(NAME_BYTES)
}

fn last_of_long() -> String {
    "f".repeat(LONG_BYTES - chain(&name(), LONG_LEVELS).len() - 1)
}

/// The path of so many levels of one name.
fn chain(name: &str, levels: usize) -> String {
    format!("{TOP}{}", format!("/{name}").repeat(levels))
}

fn levels(name: &str, levels: usize) -> impl Iterator<Item = String> {
    (1..=levels).map(move |level| chain(name, level))
}

fn deep(file: &str) -> String {
    format!("{}/{file}", chain(&name(), BEYOND_LEVELS))
}

/// Makes directories beneath one another, each from the one above.
fn dig(root: &Path, name: &str, levels: usize) -> Result<OwnedFd> {
    descend(root, name, levels, |above| Ok(mkdirat(above, name, Mode::RWXU | Mode::RGRP | Mode::XGRP)?))
}

fn bottom_of(root: &Path) -> Result<OwnedFd> {
    descend(root, &name(), BEYOND_LEVELS, |_| Ok(()))
}

fn descend(
    root: &Path,
    name: &str,
    levels: usize,
    before: impl Fn(&OwnedFd) -> Result<()>,
) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut above = open(root.join(&TOP[1..]), flags, Mode::empty())?;
    for _ in 0..levels {
        before(&above)?;
        above = openat(&above, name, flags, Mode::empty())?;
    }
    Ok(above)
}

fn make(directory: &OwnedFd, name: &str) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    write(openat(directory, name, flags, Mode::RUSR)?, b"added")?;
    Ok(())
}

fn overwrite(directory: &OwnedFd, name: &str, content: &[u8]) -> Result<()> {
    write(openat(directory, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?, content)?;
    Ok(())
}
