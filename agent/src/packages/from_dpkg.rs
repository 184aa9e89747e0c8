//! Reading dpkg's database beneath a root.

use std::collections::HashSet;
use std::os::fd::OwnedFd;

use congruent_protocol::manifest::Package;

use super::dpkg::{Diversions, DpkgError, MAX_PACKAGES, parse_checksums, parse_list, parse_status};
use super::in_root;
use super::read::{Listing, PackagesError};

const DATABASE: &str = "var/lib/dpkg";
/// Where distroless images have a stanza for each package in a file of its own.
const STANZAS: &str = "var/lib/dpkg/status.d";
const SUMS: &str = ".md5sums";
/// The longest file taken.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// The most bytes of lists taken together.
const MAX_LISTS_BYTES: usize = 1 << 30;

/// The packages and their paths; empty where there is no database.
pub(super) fn read(root: &OwnedFd) -> Result<Vec<Listing>, PackagesError> {
    let mut database = Database { root, left: MAX_LISTS_BYTES };
    let mut listings = database.read_status()?;
    listings.extend(database.read_stanzas()?);
    Ok(listings)
}

struct Database<'a> {
    root: &'a OwnedFd,
    /// How many bytes of lists may still come.
    left: usize,
}

impl Database<'_> {
    fn read_status(&mut self) -> Result<Vec<Listing>, PackagesError> {
        let path = format!("{DATABASE}/status");
        let packages = self.parse(&path, parse_status)?.unwrap_or_default();
        if packages.is_empty() {
            return Ok(Vec::new());
        }
        let diversions =
            self.parse(&format!("{DATABASE}/diversions"), Diversions::parse)?.unwrap_or_default();
        let info = format!("{DATABASE}/info");
        let known = in_root::names(self.root, &info, 20 * MAX_PACKAGES)
            .map_err(|source| PackagesError::Read { path: info.clone(), source })?;
        let known: HashSet<String> = known.into_iter().collect();
        let mut listings = Vec::with_capacity(packages.len());
        for package in packages {
            let paths = self.list(&info, &known, &package)?;
            let lies = |path: Vec<u8>| diversions.apply(&package.name, &path).to_vec();
            let paths = paths.into_iter().map(lies).collect();
            listings.push((package, paths));
        }
        Ok(listings)
    }

    /// What a package lists. Files of packages that can be there for several
    /// architectures are named by theirs.
    fn list(
        &mut self,
        info: &str,
        known: &HashSet<String>,
        package: &Package,
    ) -> Result<Vec<Vec<u8>>, PackagesError> {
        let Package { name, architecture, .. } = package;
        for stem in [format!("{name}:{architecture}"), name.clone()] {
            let (list, sums) = (format!("{stem}.list"), format!("{stem}{SUMS}"));
            if known.contains(&list) {
                return Ok(self.parse(&format!("{info}/{list}"), parse_list)?.unwrap_or_default());
            }
            if known.contains(&sums) {
                return Ok(self.parse(&format!("{info}/{sums}"), parse_checksums)?.unwrap_or_default());
            }
        }
        Ok(Vec::new())
    }

    fn read_stanzas(&mut self) -> Result<Vec<Listing>, PackagesError> {
        let names = in_root::names(self.root, STANZAS, 2 * MAX_PACKAGES)
            .map_err(|source| PackagesError::Read { path: STANZAS.to_owned(), source })?;
        let mut listings = Vec::new();
        for name in names.iter().filter(|name| !name.ends_with(SUMS)) {
            let packages = self.parse(&format!("{STANZAS}/{name}"), parse_status)?.unwrap_or_default();
            let sums = self.parse(&format!("{STANZAS}/{name}{SUMS}"), parse_checksums)?;
            let mut paths = sums.unwrap_or_default();
            // With several stanzas in one file, there is no telling whose paths they are.
            if packages.len() > 1 {
                paths.clear();
            }
            listings.extend(packages.into_iter().map(|package| (package, std::mem::take(&mut paths))));
        }
        Ok(listings)
    }

    /// Reads and parses one file; none where it is not there.
    fn parse<T>(
        &mut self,
        path: &str,
        parse: impl Fn(&[u8]) -> Result<T, DpkgError>,
    ) -> Result<Option<T>, PackagesError> {
        let bytes = in_root::read(self.root, path, MAX_FILE_BYTES)
            .map_err(|source| PackagesError::Read { path: path.to_owned(), source })?;
        let Some(bytes) = bytes else { return Ok(None) };
        self.left = self.left.checked_sub(bytes.len()).ok_or(PackagesError::TooLarge)?;
        let parsed = parse(&bytes).map_err(|source| PackagesError::Dpkg { path: path.to_owned(), source })?;
        Ok(Some(parsed))
    }
}
