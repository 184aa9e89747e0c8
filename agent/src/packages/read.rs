//! Finding the database of an image's package manager, and reading it.

use std::io;
use std::os::fd::OwnedFd;

use congruent_protocol::manifest::{Package, Packages};

use super::dpkg::DpkgError;
use super::links::Links;
use super::rpm::RpmError;
use super::{Found, Owners, from_dpkg, from_rpm, in_root};

/// The most paths taken that belong to packages.
const MAX_PATHS: usize = 8_000_000;
/// The most bytes of names and versions taken: the statement must hold them.
const MAX_WORDS_BYTES: usize = 4 << 20;

/// Why an image's packages cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackagesError {
    #[error("cannot read /{path}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("dpkg's database has the malformed file /{path}")]
    Dpkg {
        path: String,
        #[source]
        source: DpkgError,
    },
    #[error("the image has rpm's database /{0}, and the program rpm, which reads it, is not on this machine")]
    NoRpm(String),
    #[error("cannot copy rpm's database /{path}")]
    Copy {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot run rpm over rpm's database /{path}")]
    Run {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("rpm cannot read rpm's database /{path}: {said}")]
    Failed { path: String, said: String },
    #[error("rpm reads rpm's database /{path}, and its answer is not understood")]
    Rpm {
        path: String,
        #[source]
        source: RpmError,
    },
    #[error("the database has over {MAX_PATHS} paths, or over {MAX_WORDS_BYTES} bytes of names and versions")]
    TooLarge,
}

/// A package before it has its place, and what it lists.
pub(super) type Listing = (Package, Vec<Vec<u8>>);

/// Reads the packages of the image beneath `root`: dpkg's, or where it has none
/// rpm's. Nothing beneath it is written.
///
/// # Errors
/// When there is a database and it cannot be read.
pub(crate) fn read(root: &OwnedFd) -> Result<Found, PackagesError> {
    let listings = from_dpkg::read(root)?;
    if !listings.is_empty() {
        return number("dpkg", listings, root);
    }
    let listings = from_rpm::read(root)?;
    if listings.is_empty() { Ok(Found::default()) } else { number("rpm", listings, root) }
}

/// Gives each package its place, and each path its owner.
fn number(manager: &str, mut listings: Vec<Listing>, root: &OwnedFd) -> Result<Found, PackagesError> {
    let bytes = listings
        .iter()
        .map(|(package, _)| package.name.len() + package.version.len() + package.architecture.len());
    if bytes.sum::<usize>() > MAX_WORDS_BYTES {
        return Err(PackagesError::TooLarge);
    }
    // The same image must give the same manifest, in whatever order its database is.
    listings.sort();
    let mut links = Links::new(|path: &_| in_root::read_link(root, path));
    let mut owners = Owners::default();
    let mut list = Vec::with_capacity(listings.len());
    for (package, paths) in listings {
        list.push(package);
        owners.claim(list.len() as u32, paths, &mut links);
        if owners.len() > MAX_PATHS {
            return Err(PackagesError::TooLarge);
        }
    }
    Ok(Found { packages: Some(Packages { manager: manager.to_owned(), list }), owners })
}
