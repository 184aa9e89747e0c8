//! mtree(5): the specs of NetBSD's mtree and of go-mtree, both ways.
//!
//! [`parse()`] reads a spec, [`SpecWriter`] writes one, and `verify` holds a root
//! to one. Reading and writing are pure; what is read is foreign, and limited.

mod accounts;
mod claims;
mod export;
mod hold;
mod keyword;
mod lines;
mod parse;
mod pattern;
mod verify;
pub mod vis;

#[cfg(test)]
mod tests;

pub use claims::{Claims, Mtime, Reason, Sha2};
pub use export::{SpecWriter, Survey};
pub use keyword::KeywordError;
pub use parse::{MAX_DEPTH, MAX_ENTRIES, Mistake, ParseError, SIGNATURE, Spec, SpecEntry, parse};
pub(crate) use verify::verify;
