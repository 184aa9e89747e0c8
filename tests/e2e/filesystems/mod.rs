//! Each file system that an image can lie on, in loop mounts: what was baked there
//! is congruent there, and what is changed there is found.

pub(crate) mod disk;
mod overlay;
mod read_only;
pub(crate) mod rows;
mod subvolumes;
mod underneath;
mod writable;
