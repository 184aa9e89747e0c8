//! Which numbers stand for owners in a layer's directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::container::Container;
use crate::layer::IdMaps;

/// The maps by which owners in `directory` are brought back to the image's. Runtimes
/// either shift what they unpack, or leave it and map it when it is mounted: the owner
/// of the top directory, which is root's in every image, tells which. None where
/// neither can be.
pub(super) fn maps_for(directory: &Path, container: &Container) -> io::Result<Option<IdMaps>> {
    let owner = fs::symlink_metadata(directory)?.uid();
    if owner == 0 {
        return Ok(Some(IdMaps::default()));
    }
    let maps = IdMaps { uids: container.uid_map.clone(), gids: container.gid_map.clone() };
    let is_mapped = maps.uids.iter().any(|range| range.inside == 0 && range.outside == owner);
    Ok(is_mapped.then_some(maps))
}
