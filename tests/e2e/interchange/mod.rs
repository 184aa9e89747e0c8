//! Formats of others, both ways, by the programs that read and write them.

mod mtree_refused;
mod mtree_show;
mod mtree_verify;

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use congruent_tests::agent;
use congruent_tests::program::{self, Ended, run};
use congruent_tests::sandbox::Sandbox;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

/// Names that mean something to a reader of specs, to a shell or to nobody.
const ODD_NAMES: &[&[u8]] = &[
    b"#",
    b"*",
    b"?",
    b"[",
    b"[a]",
    b"[*]",
    b"\\*",
    b"=",
    b"\\",
    b" ",
    b"\t",
    b"a\nb",
    b".hidden",
    b"...",
    b"\xff\xfe",
    "\u{fc}".as_bytes(),
    b"\x01",
    b"\x1b[0m",
    b"\x7f",
    b"\xa0",
    b"a#b",
    b"a=b",
    b"type=dir",
    b"optional",
    b"%41",
    b"-x",
    b"a\\nb",
    b"$",
];

/// A tree of every kind, with odd names, each file of its own content.
fn odd_tree(root: &Path) -> Result<()> {
    for folder in ["etc", "d*", "empty"] {
        fs::create_dir_all(root.join(folder)).with_context(|| format!("cannot make {folder}"))?;
    }
    for name in ODD_NAMES {
        fs::write(root.join(OsStr::from_bytes(name)), name)?;
    }
    fs::write(root.join("d*/x"), "beneath")?;
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\nwww-data:x:33:\n")?;
    std::os::unix::fs::chown(root.join("etc/group"), Some(33), Some(33))?;
    fs::hard_link(root.join("etc/passwd"), root.join("linked"))?;
    symlink("a b#c\\d*\u{fc}", root.join("link"))?;
    for (name, kind, device) in [
        ("pipe", FileType::Fifo, 0),
        ("null", FileType::CharacterDevice, makedev(1, 3)),
        ("large", FileType::BlockDevice, makedev(300, 70_000)),
    ] {
        mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(0o600), device)?;
    }
    // A socket stays where it was bound when its listener is gone.
    std::os::unix::net::UnixListener::bind(root.join("socket"))?;
    // The modes that the specs in this folder have, whatever the umask.
    program::succeed("chmod", ["-R".as_ref(), "u=rwX,go=rX".as_ref(), root.as_os_str()])?;
    for (name, mode) in [("pipe", 0o600), ("null", 0o600), ("large", 0o600), ("socket", 0o755)] {
        fs::set_permissions(root.join(name), Permissions::from_mode(mode))?;
    }
    set_mtime(&root.join("empty"), SystemTime::UNIX_EPOCH - Duration::new(5, 7))
}

fn set_mtime(path: &Path, time: SystemTime) -> Result<()> {
    File::open(path)?.set_times(FileTimes::new().set_modified(time)).context("cannot set a time")
}

/// A manifest of `root`, unsigned, with digests by this algorithm.
fn bake_with(sandbox: &Sandbox, root: &Path, digest: &str) -> Result<PathBuf> {
    let manifest = sandbox.path("web.manifest");
    let ended = run(agent::bake_command(root, &manifest)?.args(["--digest", digest]))?;
    ensure!(ended.code == Some(0), "congruent bake failed: {}", ended.stderr);
    Ok(manifest)
}

/// A manifest of `root`, unsigned.
fn bake(sandbox: &Sandbox, root: &Path) -> Result<PathBuf> {
    bake_with(sandbox, root, "blake3")
}

/// `congruent show --format mtree` with the digests of `root`.
fn show(manifest: &Path, root: &Path) -> Result<Ended> {
    run(agent::command(&["show", "--format", "mtree", "--root"])?.arg(root).arg(manifest))
}

/// `mtree` over `root` with these arguments.
fn mtree(root: &Path, arguments: &[&OsStr]) -> Result<Ended> {
    run(Command::new("mtree").arg("-p").arg(root).args(arguments))
}

/// `congruent verify` of `root` against a spec, with JSON output.
fn verify(root: &Path, spec: &Path) -> Result<Ended> {
    let arguments = ["verify", "--insecure-unsigned", "--format", "json", "--root"];
    run(agent::command(&arguments)?.arg(root).arg("--manifest").arg(spec))
}

/// One change to a tree.
type Change = fn(&Path) -> Result<()>;

/// Makes `change` and leaves the root's own time as it was.
fn change_beneath(root: &Path, change: Change) -> Result<()> {
    let before = fs::metadata(root)?.modified()?;
    change(root)?;
    set_mtime(root, before)
}
