//! Rows that make one kind of entry into another, retarget links, renumber devices.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Result;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::row::{Row, added, modified, nothing, removed, replaced, row};

const LINK: &str = "opt/extras/link";
const FILE: &str = "etc/passwd";
const FOLDER: &str = "usr/share/doc/bash";

pub(super) fn rows() -> Vec<Row> {
    links().into_iter().chain(files()).chain(specials()).collect()
}

fn links() -> Vec<Row> {
    vec![
        row(
            "link retargeted",
            |root| relink(root, "capable"),
            |_| vec![modified("/opt/extras/link", &["link"])],
        ),
        row(
            "link retargeted to a target with odd bytes",
            |root| relink(root, "a\nb\u{1b}]0;x\u{7}"),
            |_| vec![modified("/opt/extras/link", &["link"])],
        ),
        row("link made anew as it was", |root| relink(root, "labelled"), nothing),
        row("link to file", link_to_file, |_| vec![replaced("/opt/extras/link")]),
        row("file to link", file_to_link, |_| vec![replaced("/etc/passwd")]),
        row(
            "link to file and back",
            |root| {
                link_to_file(root)?;
                relink(root, "labelled")
            },
            nothing,
        ),
        row("link to directory", link_to_directory, |_| vec![replaced("/bin"), added("/bin/sh")]),
    ]
}

fn files() -> Vec<Row> {
    vec![
        row("file to directory", file_to_directory, |_| {
            vec![replaced("/etc/passwd"), added("/etc/passwd/passwd")]
        }),
        row("directory to file", directory_to_file, |baked| {
            [vec![replaced("/usr/share/doc/bash")], baked.beneath_removed("/usr/share/doc/bash")].concat()
        }),
        row("directory to a link to itself", directory_to_link, |baked| {
            let moved = baked.all_added_as("/usr/share/doc/bash", "/usr/share/doc/bash.real");
            [vec![replaced("/usr/share/doc/bash")], baked.beneath_removed("/usr/share/doc/bash"), moved]
                .concat()
        }),
        row("a whole top directory gone, and a link in its place", top_to_link, |baked| {
            [vec![replaced("/srv")], baked.beneath_removed("/srv")].concat()
        }),
    ]
}

fn specials() -> Vec<Row> {
    vec![
        row("file to fifo", |root| remake(root, FILE, FileType::Fifo, 0), |_| vec![replaced("/etc/passwd")]),
        row("file to socket", file_to_socket, |_| vec![replaced("/etc/passwd")]),
        row(
            "file to device",
            |root| remake(root, FILE, FileType::CharacterDevice, makedev(1, 5)),
            |_| vec![replaced("/etc/passwd")],
        ),
        row("fifo to file", |root| to_file(root, "opt/extras/pipe"), |_| vec![replaced("/opt/extras/pipe")]),
        row(
            "socket to fifo",
            |root| remake(root, "opt/extras/socket", FileType::Fifo, 0),
            |_| vec![replaced("/opt/extras/socket")],
        ),
        row("device to file", |root| to_file(root, "dev/null"), |_| vec![replaced("/dev/null")]),
        row(
            "device number, minor",
            |root| remake(root, "dev/null", FileType::CharacterDevice, makedev(1, 5)),
            |_| vec![modified("/dev/null", &["device"])],
        ),
        row(
            "device number, major",
            |root| remake(root, "dev/null", FileType::CharacterDevice, makedev(5, 3)),
            |_| vec![modified("/dev/null", &["device"])],
        ),
        row(
            "character to block device",
            |root| remake(root, "dev/null", FileType::BlockDevice, makedev(1, 3)),
            |_| vec![replaced("/dev/null")],
        ),
        row("one of each added", add_each, |_| {
            ["block", "char", "fifo", "file", "folder", "folder/in-it", "link", "socket"]
                .map(|name| added(format!("/srv/{name}")))
                .into()
        }),
        row("a socket and a fifo removed", remove_specials, |_| {
            vec![removed("/opt/extras/pipe"), removed("/opt/extras/socket")]
        }),
    ]
}

fn relink(root: &Path, target: &str) -> Result<()> {
    fs::remove_file(root.join(LINK))?;
    Ok(symlink(target, root.join(LINK))?)
}

/// The file has what the link led to, so that a look through it sees no change.
fn link_to_file(root: &Path) -> Result<()> {
    to_file(root, LINK)?;
    fs::copy(root.join("opt/extras/labelled"), root.join(LINK))?;
    Ok(())
}

fn file_to_link(root: &Path) -> Result<()> {
    fs::remove_file(root.join(FILE))?;
    Ok(symlink("passwd-", root.join(FILE))?)
}

fn link_to_directory(root: &Path) -> Result<()> {
    fs::remove_file(root.join("bin"))?;
    fs::create_dir(root.join("bin"))?;
    Ok(symlink("/usr/bin/dash", root.join("bin/sh"))?)
}

fn file_to_directory(root: &Path) -> Result<()> {
    fs::remove_file(root.join(FILE))?;
    fs::create_dir(root.join(FILE))?;
    Ok(fs::write(root.join(FILE).join("passwd"), "")?)
}

fn directory_to_file(root: &Path) -> Result<()> {
    fs::remove_dir_all(root.join(FOLDER))?;
    Ok(fs::write(root.join(FOLDER), "")?)
}

/// Every path still leads to what it led to; none of it is where it was baked.
fn directory_to_link(root: &Path) -> Result<()> {
    let moved = root.join(format!("{FOLDER}.real"));
    fs::rename(root.join(FOLDER), moved)?;
    Ok(symlink("bash.real", root.join(FOLDER))?)
}

fn top_to_link(root: &Path) -> Result<()> {
    fs::remove_dir_all(root.join("srv"))?;
    Ok(symlink("/usr", root.join("srv"))?)
}

fn to_file(root: &Path, path: &str) -> Result<()> {
    fs::remove_file(root.join(path))?;
    Ok(fs::write(root.join(path), "")?)
}

fn file_to_socket(root: &Path) -> Result<()> {
    fs::remove_file(root.join(FILE))?;
    bind(root, FILE)
}

/// A socket's path may not be long, so it is bound beside the tree and moved in.
fn bind(root: &Path, path: &str) -> Result<()> {
    let short = root.with_file_name("s");
    drop(UnixListener::bind(&short)?);
    Ok(fs::rename(short, root.join(path))?)
}

/// Makes a special file anew with the mode that it had.
fn remake(root: &Path, path: &str, kind: FileType, device: u64) -> Result<()> {
    let path = root.join(path);
    let mode = fs::symlink_metadata(&path)?.permissions();
    fs::remove_file(&path)?;
    mknodat(CWD, &path, kind, Mode::empty(), device)?;
    Ok(fs::set_permissions(&path, mode)?)
}

fn add_each(root: &Path) -> Result<()> {
    let at = root.join("srv");
    fs::write(at.join("file"), "")?;
    fs::create_dir(at.join("folder"))?;
    fs::write(at.join("folder/in-it"), "")?;
    symlink("file", at.join("link"))?;
    bind(root, "srv/socket")?;
    for (name, kind, device) in [
        ("block", FileType::BlockDevice, makedev(7, 0)),
        ("char", FileType::CharacterDevice, makedev(1, 3)),
        ("fifo", FileType::Fifo, 0),
    ] {
        mknodat(CWD, at.join(name), kind, Mode::RUSR, device)?;
    }
    Ok(())
}

fn remove_specials(root: &Path) -> Result<()> {
    fs::remove_file(root.join("opt/extras/pipe"))?;
    Ok(fs::remove_file(root.join("opt/extras/socket"))?)
}
