//! Values for fuzz targets, made of arbitrary bytes: entries, trees, manifests.
//!
//! Names, owners and contents are few, so that what is made meets. Whatever is
//! made could be baked or observed; what could not is left to the targets that
//! take bytes as they are.

mod entry;
mod manifest;
mod tree;

pub use entry::{XATTRS, entry};
pub use manifest::bake;
pub use tree::{Tree, tree};
