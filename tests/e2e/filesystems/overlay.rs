//! Overlay: an image in a lower layer, changed from above.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use congruent_tests::mounts::Mounted;
use congruent_tests::sandbox::Sandbox;

use super::disk::{make_tree, mount_new};
use super::rows::{LINKED, behind_a_link, list_gone, rows, without_list};
use super::writable::CONTRACT;
use crate::mutation::check::change_and_hold;
use crate::mutation::row::{Baked, Row, modified, nothing, row};

/// What an overlay may leave of a lower file: a directory's old name, and data
/// that is not copied when metadata is.
const OPTIONS: &str = "redirect_dir=on,metacopy=on,index=off";

/// Every row gets an upper layer of its own: what a copy of the tree would be in
/// the upper layer whole, and nothing would shine through.
#[test]
fn on_overlay() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let disk = mount_new("ext4", &sandbox)?;
    let lower = disk.path().join("lower");
    fs::create_dir(&lower)?;
    make_tree(&lower)?;
    let at = sandbox.path("merged");
    let baked = {
        let merged = merge(disk.path(), 0, &at)?;
        Baked::bake(merged.path(), CONTRACT, &sandbox)?
    };
    for (index, row) in rows().iter().chain(&more_rows()).enumerate() {
        let merged = merge(disk.path(), index + 1, &at)?;
        change_and_hold(row, &baked, sandbox.folder(), merged.path()).with_context(|| row.name)?;
    }
    // All that was done lies above: the layer below is what was baked.
    change_and_hold(&row("the lower layer", |_| Ok(()), nothing), &baked, sandbox.folder(), &lower)
}

fn merge(disk: &Path, index: usize, at: &Path) -> Result<Mounted> {
    let layer = |name: &str| disk.join(format!("{name}-{index}"));
    let (lower, upper, work) = (disk.join("lower"), layer("upper"), layer("work"));
    for folder in [&upper, &work] {
        fs::create_dir(folder)?;
    }
    let options = format!(
        "{OPTIONS},lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    Mounted::new("overlay", &options, OsStr::new("overlay"), at)
}

fn more_rows() -> Vec<Row> {
    vec![
        // What is written to is copied up, and is then a file of its own.
        behind_a_link(|_| vec![modified(LINKED, &["content"])]),
        without_list(list_gone),
        row("a mode set to what it is, which copies no data up", copied_up, nothing),
        row(
            "a mode changed, which copies no data up",
            |root| Ok(fs::set_permissions(root.join("usr/bin/large"), Permissions::from_mode(0o600))?),
            |_| vec![modified("/usr/bin/large", &["mode"])],
        ),
        row("a directory renamed and back, which leaves a redirect", there_and_back, nothing),
    ]
}

fn copied_up(root: &Path) -> Result<()> {
    let path = root.join("usr/bin/large");
    Ok(fs::set_permissions(&path, fs::metadata(&path)?.permissions())?)
}

fn there_and_back(root: &Path) -> Result<()> {
    let (folder, elsewhere) = (root.join("usr/share/folder"), root.join("usr/elsewhere"));
    fs::rename(&folder, &elsewhere)?;
    Ok(fs::rename(elsewhere, folder)?)
}
