//! Which numbers stand for owners in a layer's directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::container::Container;
use crate::layer::{IdMaps, IdRange, Notes};

/// Where overlay notes things in a container's layers. A user without rights mounts it in
/// a namespace of its own, in which it is alone as root.
pub(super) fn notes_of(container: &Container) -> Notes {
    let is_users_own =
        container.uid_map.iter().any(|range| range.inside == 0 && range.outside != 0 && range.count == 1);
    if is_users_own { Notes::User } else { Notes::Trusted }
}

/// The maps by which owners in `directory` are brought back to the image's. Runtimes
/// either shift what they unpack, or leave it and map it when it is mounted: the owner
/// of the top directory, which is root's in every image, tells which. None where
/// neither can be.
pub(super) fn maps_for(directory: &Path, container: &Container) -> io::Result<Option<IdMaps>> {
    let owner = fs::symlink_metadata(directory)?.uid();
    let maps = IdMaps { uids: container.uid_map.clone(), gids: container.gid_map.clone() };
    let is_known = !container.uid_map.is_empty();
    // Who is root in the container may have given the directory away.
    if owner == 0 || (is_known && maps.is_identity()) {
        return Ok(Some(IdMaps::default()));
    }
    let covers =
        |range: &IdRange| owner.checked_sub(range.outside).is_some_and(|offset| offset < range.count);
    Ok(maps.uids.iter().any(covers).then_some(maps))
}
