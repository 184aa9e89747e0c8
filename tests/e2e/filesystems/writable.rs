//! File systems that are written to: each change on each of them.

use std::fs;

use anyhow::{Context, Result};
use congruent_tests::sandbox::Sandbox;

use super::disk::{make_tree, mount_new};
use super::rows::{LINKED, behind_a_link, list_gone, rows, without_list};
use crate::mutation::check::check;
use crate::mutation::row::{Baked, Expected, Row, modified, nothing, row};

/// Of what only root sees, all but overlay's own, wherever it lies.
pub(super) const CONTRACT: &str = r#"
    [[rule]]
    path = "/usr/**"
    class = "immutable"
    xattrs = ["trusted.*"]
"#;

#[test]
fn on_ext4() -> Result<()> {
    check_all("ext4", list_gone)
}

#[test]
fn on_xfs() -> Result<()> {
    // It shows lists once more to who may see what is trusted, as it keeps them.
    check_all("xfs", |_| {
        let fields = ["xattr:system.posix_acl_access", "xattr:trusted.SGI_ACL_FILE"];
        vec![modified("/usr/share/guarded", &fields)]
    })
}

#[test]
fn on_btrfs() -> Result<()> {
    check_all("btrfs", list_gone)
}

#[test]
fn on_tmpfs() -> Result<()> {
    check_all("tmpfs", list_gone)
}

/// Bakes a tree on a disk of this kind, and tries each change on a copy beside it.
fn check_all(filesystem: &str, without_lists: fn(&Baked) -> Vec<Expected>) -> Result<()> {
    let sandbox = Sandbox::new()?;
    let disk = mount_new(filesystem, &sandbox)?;
    let tree = disk.path().join("baked");
    fs::create_dir(&tree)?;
    make_tree(&tree)?;
    let baked = Baked::bake(&tree, CONTRACT, &sandbox)?;
    for row in rows().into_iter().chain(more_rows()).chain([without_list(without_lists)]) {
        check(&row, &baked, &disk.path().join("tried")).with_context(|| row.name)?;
    }
    Ok(())
}

fn more_rows() -> Vec<Row> {
    vec![
        behind_a_link(|_| [LINKED, "/usr/share/linked-too"].map(|path| modified(path, &["content"])).into()),
        row(
            "what overlay notes on a layer",
            |root| {
                let folder = root.join("usr/share/folder");
                for (name, value) in [("trusted.overlay.opaque", "y"), ("trusted.overlay.redirect", "/x")] {
                    rustix::fs::setxattr(&folder, name, value.as_bytes(), rustix::fs::XattrFlags::empty())?;
                }
                Ok(())
            },
            nothing,
        ),
    ]
}
