//! Rows about what the contract lets change, and what it does not.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use anyhow::Result;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::row::{Row, added, modified, nothing, removed, replaced, row};

const SCRATCH: &str = "opt/extras/scratch";

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("ephemeral content, owner and mode changed", change_scratch, nothing),
        row("ephemeral entries added", add_scratch, nothing),
        row(
            "a baked ephemeral entry removed",
            |root| Ok(fs::remove_file(root.join(SCRATCH).join("note"))?),
            nothing,
        ),
        row("a baked ephemeral entry of another kind", replace_scratch, nothing),
        row(
            "the directory that holds ephemeral entries",
            |root| Ok(fs::set_permissions(root.join(SCRATCH), Permissions::from_mode(0o700))?),
            |_| vec![modified("/opt/extras/scratch", &["mode"])],
        ),
        row(
            "the last rule wins",
            |root| Ok(fs::write(root.join(SCRATCH).join("folder/keep"), "kept")?),
            |_| vec![modified("/opt/extras/scratch/folder/keep", &["content"])],
        ),
        row(
            "an immutable entry gone with its ephemeral directory",
            |root| Ok(fs::remove_dir_all(root.join(SCRATCH).join("folder"))?),
            |_| vec![removed("/opt/extras/scratch/folder/keep")],
        ),
        row("an immutable entry gone as its ephemeral directory became a file", file_for_folder, |_| {
            vec![removed("/opt/extras/scratch/folder/keep")]
        }),
        row("an immutable entry added deep beneath ephemeral ones", add_keep, |_| {
            vec![added("/opt/extras/scratch/a/b/keep")]
        }),
        row("all of an ephemeral place gone, with the place", whole, |_| {
            vec![replaced("/opt/extras/scratch"), removed("/opt/extras/scratch/folder/keep")]
        }),
        row("the default contract's /tmp, /run and /var/tmp", host_scratch, nothing),
        row("what looks like /tmp and is not", not_scratch, |_| {
            ["/tmpfile", "/usr/tmp", "/var/tmp2"].map(added).into()
        }),
        row("plain files in the reserved places", |root| reserve(root, 0o600), nothing),
        row(
            "programs in the reserved places",
            |root| reserve(root, 0o4755),
            |_| ["/etc/congruent/web.manifest", "/var/lib/congruent/spool"].map(added).into(),
        ),
        row("devices and programs deep in a reserved place", reserve_deep, |_| {
            ["/var/lib/congruent/deep/device", "/var/lib/congruent/deep/program"].map(added).into()
        }),
    ]
}

fn change_scratch(root: &Path) -> Result<()> {
    let note = root.join(SCRATCH).join("note");
    fs::write(&note, "changed and longer")?;
    fs::set_permissions(&note, Permissions::from_mode(0o6777))?;
    Ok(chown(&note, Some(1), Some(2))?)
}

fn add_scratch(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join(SCRATCH).join("new/deep"))?;
    Ok(fs::write(root.join(SCRATCH).join("new/deep/file"), "")?)
}

fn replace_scratch(root: &Path) -> Result<()> {
    fs::remove_file(root.join(SCRATCH).join("note"))?;
    fs::create_dir(root.join(SCRATCH).join("note"))?;
    Ok(fs::write(root.join(SCRATCH).join("note/beneath"), "")?)
}

fn file_for_folder(root: &Path) -> Result<()> {
    fs::remove_dir_all(root.join(SCRATCH).join("folder"))?;
    Ok(fs::write(root.join(SCRATCH).join("folder"), "")?)
}

fn add_keep(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join(SCRATCH).join("a/b"))?;
    Ok(fs::write(root.join(SCRATCH).join("a/b/keep"), "")?)
}

fn whole(root: &Path) -> Result<()> {
    fs::remove_dir_all(root.join(SCRATCH))?;
    Ok(fs::write(root.join(SCRATCH), "")?)
}

fn host_scratch(root: &Path) -> Result<()> {
    for path in ["tmp/a", "run/b", "var/tmp/c"] {
        fs::write(root.join(path), "")?;
    }
    Ok(fs::remove_dir_all(root.join("run/lock"))?)
}

fn not_scratch(root: &Path) -> Result<()> {
    ["tmpfile", "usr/tmp", "var/tmp2"].iter().try_for_each(|path| Ok(fs::write(root.join(path), "")?))
}

fn reserve(root: &Path, mode: u32) -> Result<()> {
    fs::create_dir(root.join("var/lib/congruent"))?;
    for path in ["etc/congruent/web.manifest", "var/lib/congruent/spool"] {
        fs::write(root.join(path), "")?;
        fs::set_permissions(root.join(path), Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn reserve_deep(root: &Path) -> Result<()> {
    let deep = root.join("var/lib/congruent/deep");
    fs::create_dir_all(&deep)?;
    symlink("/usr/bin/su", deep.join("link"))?;
    fs::write(deep.join("program"), "")?;
    fs::set_permissions(deep.join("program"), Permissions::from_mode(0o700))?;
    Ok(mknodat(CWD, deep.join("device"), FileType::BlockDevice, Mode::RUSR, makedev(7, 0))?)
}
