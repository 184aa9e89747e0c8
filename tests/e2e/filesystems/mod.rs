//! Each file system that an image can lie on, in loop mounts: what was baked there
//! is congruent there, and what is changed there is found.

mod disk;
mod overlay;
mod read_only;
mod rows;
mod subvolumes;
mod underneath;
mod writable;
