//! The layers of a container image: from their archives to what they list, and from
//! what they list to the tree that they come to.
//!
//! Nothing is extracted. An archive is read once, from a stream, member by member;
//! what it lists is kept in memory, and contents only as digests. Archives are from
//! strangers: whatever runtimes might read in two ways is refused.

mod check;
mod ids;
mod list;
mod member;
mod merge;
mod on_disk;
mod pack;
mod pax;
mod recorded;
mod sparse;
mod tar_split;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod writable;

pub(crate) use check::{CheckError, CheckedLayer, Expected, check};
pub(crate) use ids::{IdMaps, IdRange};
pub use list::{Layer, LayerError, Lower, Reading};
pub use member::{Limits, MemberError};
pub use merge::{MergeError, MergedTree};
pub(crate) use on_disk::{Looking, Notes};
pub(crate) use pack::{BakedImage, ImageBaking};
pub(crate) use recorded::{Recorded, RecordedError, check_recorded};
pub use tar_split::{Contents, Reassembly};
