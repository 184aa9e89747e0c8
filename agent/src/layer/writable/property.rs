//! Whatever a container writes, and whatever its contract says of it: the collector comes
//! to the same root from the findings alone.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use congruent_protocol::contract::Class;
use proptest::prelude::*;
use proptest::sample::select;
use rustix::fs::XattrFlags;

use super::super::{IdMaps, Notes};
use super::tests::look;

const PATHS: [&str; 12] = [
    ".", "bin", "bin/tool", "bin/link", "bin/new", "etc", "etc/motd", "etc/id", "var", "var/x", "var/d/e",
    "new/a",
];

/// A change to a layer's directory; what is not possible where it comes does nothing.
#[derive(Debug, Clone)]
enum Change {
    File(&'static str),
    Directory,
    Link,
    Mode(u32),
    Xattr(&'static str, &'static str),
}

fn change() -> impl Strategy<Value = (&'static str, Change)> {
    let marks = [
        ("user.overlay.whiteout", ""),
        ("user.overlay.opaque", "y"),
        ("user.overlay.metacopy", ""),
        ("user.overlay.redirect", "/bin"),
        ("user.a", "1"),
        ("security.capability", "\u{1}\0\0\u{2}\0\u{4}\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
    ];
    let change = prop_oneof![
        3 => select(vec!["", "tool", "hello", "hello, world"]).prop_map(Change::File),
        1 => Just(Change::Directory),
        1 => Just(Change::Link),
        1 => select(vec![0o600, 0o644, 0o755, 0o4755]).prop_map(Change::Mode),
        2 => select(marks.to_vec()).prop_map(|(name, value)| Change::Xattr(name, value)),
    ];
    (select(PATHS.to_vec()), change)
}

fn apply(layer: &Path, path: &str, change: &Change) -> io::Result<()> {
    let path = layer.join(path);
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    match change {
        Change::File(content) => fs::write(path, content),
        Change::Directory => fs::create_dir_all(path),
        Change::Link => symlink("tool", path),
        Change::Mode(mode) => fs::set_permissions(path, Permissions::from_mode(*mode)),
        Change::Xattr(name, value) => {
            Ok(rustix::fs::lsetxattr(path, *name, value.as_bytes(), XattrFlags::empty())?)
        }
    }
}

fn contract() -> impl Strategy<Value = String> {
    let globs = ["/", "/bin/**", "/etc/*", "/etc/motd", "/var/**", "/new/**", "/**"];
    let classes: Vec<_> = Class::RULED.iter().map(|class| class.name()).collect();
    let forbid = select(vec!["", "'exec'", "'exec', 'setuid', 'device'"]);
    let more = select(vec!["", "mtime = true\n", "ignore-xattrs = ['user.*']\n", "sensitive = true\n"]);
    let rule =
        (select(globs.to_vec()), select(classes), forbid, more).prop_map(|(glob, class, forbid, more)| {
            let forbid = if class == "immutable" { "" } else { forbid };
            format!("[[rule]]\npath = '{glob}'\nclass = '{class}'\nforbid = [{forbid}]\n{more}")
        });
    prop::collection::vec(rule, 0..4).prop_map(|rules| format!("base = 'none'\n{}", rules.concat()))
}

proptest! {
    #[test]
    fn the_collector_comes_to_the_same_root(
        contract in contract(),
        changes in prop::collection::vec(change(), 0..8),
        mounted in prop::collection::vec(select(vec!["/etc/id", "/new", "/new/a"]), 0..2),
        notes in select(vec![Notes::User, Notes::Trusted]),
    ) {
        look(&contract, notes, &IdMaps::default(), &mounted, |layer| {
            for (path, change) in &changes {
                let _ = apply(layer, path, change);
            }
        });
    }
}
