//! An image of one layer over nothing, and directories as an overlay keeps them.

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use congruent_protocol::contract::Contract;
use congruent_protocol::digest::Algorithm;
use congruent_protocol::manifest::{
    Baked, ImageOrigin, Manifest, ManifestKind, Origin, Predicate, write_manifest,
};
use jiff::Timestamp;
use rustix::fs::XattrFlags;
use tempfile::TempDir;

use super::list::tests::Archive;
use super::{ImageBaking, Limits, Reading};
use crate::lint::Collector;

/// The image's only layer.
pub(crate) fn archive() -> Vec<u8> {
    let owned = |mut header: tar::Header| {
        header.set_uid(rustix::process::getuid().as_raw().into());
        header.set_gid(rustix::process::getgid().as_raw().into());
        header
    };
    let directory = |name: &str| {
        let mut header = owned(Archive::header(b'5', name.as_bytes(), 0));
        header.set_mode(0o755);
        header
    };
    let file =
        |name: &str, content: &[u8]| owned(Archive::header(b'0', name.as_bytes(), content.len() as u64));
    let mut link = owned(Archive::header(b'2', b"bin/link", 0));
    link.set_link_name_literal("tool").unwrap();
    Archive::default()
        .member(directory("./"), b"")
        .member(directory("bin"), b"")
        .member(file("bin/tool", b"tool"), b"tool")
        .member(link, b"")
        .member(directory("etc"), b"")
        .member(file("etc/motd", b"hello"), b"hello")
        .member(directory("var"), b"")
        .member(file("var/x", b"x"), b"x")
        .end()
}

/// The same, as a runtime unpacks it.
pub(crate) fn unpacked() -> TempDir {
    let directory = writable();
    for (name, content) in [("bin/tool", "tool"), ("etc/motd", "hello"), ("var/x", "x")] {
        put(directory.path(), name, content);
    }
    symlink("tool", directory.path().join("bin/link")).unwrap();
    directory
}

/// A writable layer with nothing in it.
pub(crate) fn writable() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// Writes a file of mode 0644, and the directories above it.
pub(crate) fn put(directory: &Path, name: &str, content: &str) {
    let path = directory.join(name);
    make_above(&path);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
}

/// Makes a directory of mode 0755, and those above it.
pub(crate) fn make(directory: &Path, name: &str) {
    make_above(&directory.join(name).join("x"));
}

fn make_above(path: &Path) {
    let above = path.parent().unwrap();
    if !above.exists() {
        make_above(above);
        fs::create_dir(above).unwrap();
        fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Gives a path an attribute of overlay's, as where a user mounted it.
pub(crate) fn mark(directory: &Path, name: &str, attribute: &str, value: &[u8]) {
    let attribute = format!("user.overlay.{attribute}");
    rustix::fs::lsetxattr(directory.join(name), attribute, value, XattrFlags::empty()).unwrap();
}

/// The image's manifest, and its file.
pub(crate) fn manifest(contract: &Contract) -> (Manifest, Vec<u8>) {
    let reading = Reading { algorithm: Algorithm::Blake3, limits: Limits::USUAL, lint: false };
    let scratch = std::env::temp_dir();
    let mut baking = ImageBaking::new(contract, reading, Collector::new(Vec::new()), &scratch).unwrap();
    let archive = archive();
    let diff_id = Algorithm::Sha256.digest(&archive);
    let layer = baking.read(&archive[..]).unwrap();
    baking.add(diff_id, layer).unwrap();
    let baked = baking.finish(&scratch).unwrap();
    let image = ImageOrigin {
        config_digest: diff_id,
        diff_ids: vec![diff_id],
        platform: None,
        manifest_digest: None,
    };
    let who = String::new;
    let predicate = Predicate {
        name: "web".to_owned(),
        version: "1".to_owned(),
        kind: ManifestKind::Base,
        root: baked.root,
        entries: baked.entries.clone(),
        layers: baked.layers.clone(),
        contract: contract.clone(),
        reserved: Vec::new(),
        baked: Baked { at: Timestamp::UNIX_EPOCH, by: who(), on: who(), with: who() },
        expires: None,
        origin: Origin { image: Some(image), ..Origin::default() },
        packages: None,
        lint: None,
    };
    let mut bytes = Vec::new();
    write_manifest(&mut bytes, predicate, &[], baked.sections().unwrap()).unwrap();
    (Manifest::read_unchecked(&mut Cursor::new(&bytes)).unwrap(), bytes)
}
