//! Rows that mount over baked places, as named in the contract and otherwise.
//!
//! The copies lie in one file system, so that only mount ids tell a bind mount.

use std::fs;

use congruent_tests::tree;

use super::row::{Row, View, added, modified, mounted_over, nothing, removed, row};

pub(super) fn rows() -> Vec<Row> {
    unnamed().into_iter().chain(named()).collect()
}

fn unnamed() -> Vec<Row> {
    vec![
        Row {
            view: View::Mounted("mount -t tmpfs none \"$ROOT/usr/share\""),
            hidden: |baked| vec![("/usr/share", baked.count("/usr/share"))],
            ..row("tmpfs over a baked directory", |_| Ok(()), |_| vec![mounted_over("/usr/share")])
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/usr/share\" \"$ROOT/usr/share\""),
            hidden: |baked| vec![("/usr/share", baked.count("/usr/share"))],
            ..row("a directory bound over itself", |_| Ok(()), |_| vec![mounted_over("/usr/share")])
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/usr/bin/cat\" \"$ROOT/usr/bin/ls\""),
            hidden: |_| vec![("/usr/bin/ls", 1)],
            ..row("a file bound over another", |_| Ok(()), |_| vec![mounted_over("/usr/bin/ls")])
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/usr/bin/ls\" \"$ROOT/usr/bin/ls\""),
            hidden: |_| vec![("/usr/bin/ls", 1)],
            ..row("a file bound over itself", |_| Ok(()), |_| vec![mounted_over("/usr/bin/ls")])
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/usr/lib\" \"$ROOT/usr/share/doc\""),
            hidden: |baked| vec![("/usr/share/doc", baked.count("/usr/share/doc"))],
            ..row("a directory bound over another", |_| Ok(()), |_| vec![mounted_over("/usr/share/doc")])
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/../copy\" \"$ROOT/etc/apt\""),
            hidden: |baked| vec![("/etc/apt", baked.count("/etc/apt"))],
            ..row(
                "a directory bound over another of equal content, from outside the tree",
                |root| tree::copy(&root.join("etc/apt"), &root.with_file_name("copy")),
                |_| vec![mounted_over("/etc/apt")],
            )
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/dev/null\" \"$ROOT/etc/passwd\""),
            hidden: |_| vec![("/etc/passwd", 1)],
            ..row("a device bound over a file", |_| Ok(()), |_| vec![mounted_over("/etc/passwd")])
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT\" \"$ROOT/srv\""),
            hidden: |baked| vec![("/srv", baked.count("/srv"))],
            ..row("the whole tree bound into itself", |_| Ok(()), |_| vec![mounted_over("/srv")])
        },
        Row {
            view: View::Mounted("mount -t tmpfs none \"$ROOT/srv/new\""),
            ..row(
                "tmpfs over a directory that was not baked",
                |root| Ok(fs::create_dir(root.join("srv/new"))?),
                |_| vec![mounted_over("/srv/new")],
            )
        },
        Row {
            view: View::Mounted(
                "mount -t tmpfs none \"$ROOT/usr/share\"; mkdir \"$ROOT/usr/share/doc\"; \
                 mount -t tmpfs none \"$ROOT/usr/share/doc\"",
            ),
            hidden: |baked| vec![("/usr/share", baked.count("/usr/share"))],
            ..row("a mount on a mount counts once", |_| Ok(()), |_| vec![mounted_over("/usr/share")])
        },
        Row {
            view: View::Mounted("mount -t tmpfs none \"$ROOT/usr/share\""),
            hidden: |baked| vec![("/usr/share", baked.count("/usr/share"))],
            ..row(
                "changes under a mount and beside it",
                |root| {
                    fs::write(root.join("usr/share/common-licenses/BSD"), "")?;
                    Ok(fs::write(root.join("usr/share-d"), "")?)
                },
                |_| vec![mounted_over("/usr/share"), added("/usr/share-d")],
            )
        },
        Row {
            view: View::Mounted("mount -t tmpfs none \"$ROOT/proc\""),
            hidden: |baked| vec![("/proc", baked.count("/proc"))],
            ..row("a named mount of another file system", |_| Ok(()), |_| vec![mounted_over("/proc")])
        },
        Row {
            view: View::Mounted("mount -t tmpfs none \"$ROOT/tmp/deep\""),
            ..row(
                "a mount where the contract lets anything be",
                |root| Ok(fs::create_dir(root.join("tmp/deep"))?),
                |_| vec![mounted_over("/tmp/deep")],
            )
        },
    ]
}

fn named() -> Vec<Row> {
    vec![
        Row {
            view: View::Mounted("mount -t proc none \"$ROOT/proc\""),
            hidden: |baked| vec![("/proc", baked.count("/proc"))],
            ..row("a mount that the contract hides", |_| Ok(()), nothing)
        },
        Row {
            view: View::Mounted(
                "mount -t tmpfs none \"$ROOT/run\"; mount -t proc none \"$ROOT/proc\"; \
                 mount -t tmpfs none \"$ROOT/dev\"; echo >\"$ROOT/dev/new\"",
            ),
            hidden: |baked| ["/dev", "/proc", "/run"].map(|path| (path, baked.count(path))).into(),
            ..row("three that it hides, as on a running host", |_| Ok(()), nothing)
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/opt/extras\" \"$ROOT/opt/extras\""),
            ..row("a mount with baked content, intact", |_| Ok(()), nothing)
        },
        Row {
            view: View::Mounted(
                "mount --bind \"$ROOT/opt/extras\" \"$ROOT/opt/extras\"; \
                 mount -t tmpfs none \"$ROOT/opt/extras/scratch/folder\"",
            ),
            hidden: |baked| {
                let folder = "/opt/extras/scratch/folder";
                vec![(folder, baked.count(folder))]
            },
            ..row(
                "an unnamed mount in a named one",
                |_| Ok(()),
                |_| vec![mounted_over("/opt/extras/scratch/folder")],
            )
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/opt/extras/linked\" \"$ROOT/opt/extras/twin\""),
            ..row("a file of baked content bound where the contract says", |_| Ok(()), nothing)
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/opt/extras/zeros\" \"$ROOT/opt/extras/twin\""),
            ..row(
                "a file of other content bound where the contract says",
                |_| Ok(()),
                |_| vec![modified("/opt/extras/twin", &["content", "size"])],
            )
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/../copy\" \"$ROOT/opt/extras\""),
            ..row(
                "a directory of nearly the baked content bound where the contract says",
                |root| {
                    let copy = root.with_file_name("copy");
                    tree::copy(&root.join("opt/extras"), &copy)?;
                    Ok(fs::rename(copy.join("zeros"), copy.join("zeroes"))?)
                },
                |_| vec![added("/opt/extras/zeroes"), removed("/opt/extras/zeros")],
            )
        },
        Row {
            view: View::Mounted("mount --bind \"$ROOT/opt/extras\" \"$ROOT/opt/extras\""),
            ..row(
                "a mount with baked content, changed",
                |root| Ok(fs::write(root.join("opt/extras/twin"), "nothing")?),
                |_| vec![modified("/opt/extras/twin", &["content", "size"])],
            )
        },
    ]
}
