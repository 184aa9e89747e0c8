//! The packages in an image, and which of its paths belong to each.
//!
//! The databases are foreign bytes: parsers are pure, have limits, and what they
//! do not understand voids the whole database rather than a part of it, since
//! half of the owners would mislead. Nothing here decides whether an image is
//! good: who cannot be told what a file belongs to still sees that it changed.

pub mod dpkg;
mod from_dpkg;
mod from_rpm;
mod in_root;
mod links;
mod owners;
mod read;
pub mod rpm;

pub(crate) use owners::Owners;
pub(crate) use read::read;

use congruent_protocol::manifest::Packages;
use congruent_protocol::path::{escape, plain};

/// The longest name, version or architecture taken, in bytes.
const MAX_WORD_BYTES: usize = 200;
/// The longest path taken, in bytes; the kernel takes no longer one.
const MAX_PATH_BYTES: usize = 4096;

/// What an image's database says.
#[derive(Default)]
pub(crate) struct Found {
    /// The packages; none where there is no database.
    pub(crate) packages: Option<Packages>,
    /// What belongs to them.
    pub(crate) owners: Owners,
}

/// A name, version or architecture, which ends up in tables and on terminals.
fn word(what: &str, bytes: &[u8]) -> Result<String, String> {
    match plain(bytes) {
        Some(word) if !word.is_empty() && word.len() <= MAX_WORD_BYTES && !word.contains([' ', '/']) => {
            Ok(word.to_owned())
        }
        _ => {
            let shown = &bytes[..bytes.len().min(MAX_WORD_BYTES)];
            Err(format!("\"{}\" is no package's {what}", escape(shown)))
        }
    }
}
