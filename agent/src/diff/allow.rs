//! What was declared beforehand, and what changed besides.
//!
//! A declared package covers its own entries; an entry that changed outside its
//! package's version, or that belongs to none, is covered by its path alone. Words
//! of the origin differ from build to build and are not asked for.

use congruent_protocol::contract::{MAX_GLOB_BYTES, MAX_NESTING, glob, nesting};
use congruent_protocol::strict_toml::{self, TomlError};
use globset::{Candidate, Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use serde::Deserialize;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use toml::Spanned;

use super::{Belongs, Diff, PackageChange};

/// The longest text taken, in bytes.
const MAX_ALLOW_BYTES: usize = 1 << 20;
/// The most declarations taken.
const MAX_DECLARATIONS: usize = 10_000;

/// What was declared.
#[derive(Debug)]
pub(crate) struct Allow {
    contract: bool,
    packages: Vec<DeclaredPackage>,
    paths: Vec<String>,
    globs: GlobSet,
}

#[derive(Debug)]
struct DeclaredPackage {
    name: GlobMatcher,
    from: Option<GlobMatcher>,
    to: Option<GlobMatcher>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    contract: bool,
    #[serde(default)]
    package: Vec<FilePackage>,
    #[serde(default)]
    path: Vec<FilePath>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePackage {
    name: Spanned<String>,
    from: Option<Spanned<String>>,
    to: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePath {
    glob: Spanned<String>,
}

/// What changed and was not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Undeclared {
    /// A package: its place among the changes.
    Package(usize),
    /// An entry that no changed package explains: its place among the changes.
    Entry(usize),
    /// The contract, a mount or a reserved place.
    Contract,
}

/// How a diff compares with what was declared.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) undeclared: Vec<Undeclared>,
    /// The declarations that nothing was found for, as they are written.
    pub(crate) unused: Vec<String>,
}

impl Allow {
    /// Reads declarations in TOML.
    ///
    /// # Errors
    /// With line and column, when it is not TOML of this shape or a glob is bad.
    pub(crate) fn from_toml(text: &str) -> Result<Self, TomlError> {
        let refuse = |why: String| TomlError::at(text, 0..0, why);
        if text.len() > MAX_ALLOW_BYTES {
            return Err(refuse(format!("the declarations are over {MAX_ALLOW_BYTES} bytes long")));
        }
        let file: File = strict_toml::from_str(text)?;
        if file.package.len() + file.path.len() > MAX_DECLARATIONS {
            return Err(refuse(format!("there are over {MAX_DECLARATIONS} declarations")));
        }
        let matcher =
            |pattern: &Spanned<String>| compile(text, pattern, word_glob).map(|g| g.compile_matcher());
        let mut packages = Vec::with_capacity(file.package.len());
        for FilePackage { name, from, to } in &file.package {
            packages.push(DeclaredPackage {
                name: matcher(name)?,
                from: from.as_ref().map(matcher).transpose()?,
                to: to.as_ref().map(matcher).transpose()?,
            });
        }
        let mut globs = GlobSetBuilder::new();
        for path in &file.path {
            globs.add(compile(text, &path.glob, glob)?);
        }
        let globs =
            globs.build().map_err(|error| refuse(format!("the globs cannot be used together: {error}")))?;
        let paths = file.path.into_iter().map(|path| path.glob.into_inner()).collect();
        Ok(Self { contract: file.contract, packages, paths, globs })
    }

    /// Holds `diff` to what was declared.
    pub(crate) fn judge(&self, diff: &Diff) -> Judgement {
        let mut judgement = Judgement::default();
        let mut used = vec![false; self.packages.len()];
        for (index, change) in diff.packages.iter().flat_map(|packages| &packages.changes).enumerate() {
            if !self.declares_package(change, &mut used) {
                judgement.undeclared.push(Undeclared::Package(index));
            }
        }
        let mut used_paths = vec![false; self.paths.len()];
        for (index, changed) in diff.changes.iter().enumerate() {
            if matches!(changed.belongs, Belongs::Package(_)) {
                continue;
            }
            let candidate = Candidate::new(OsStr::from_bytes(changed.path.as_bytes()));
            let matches = self.globs.matches_candidate(&candidate);
            matches.iter().for_each(|&at| used_paths[at] = true);
            if matches.is_empty() {
                judgement.undeclared.push(Undeclared::Entry(index));
            }
        }
        if !diff.contract.is_empty() && !self.contract {
            judgement.undeclared.push(Undeclared::Contract);
        }
        judgement.unused = self.unused(&used, &used_paths, !diff.contract.is_empty());
        judgement
    }

    fn declares_package(&self, change: &PackageChange, used: &mut [bool]) -> bool {
        let fits = |wanted: &Option<GlobMatcher>, version: &Option<String>| {
            wanted.as_ref().is_none_or(|glob| version.as_ref().is_some_and(|version| glob.is_match(version)))
        };
        let mut is_declared = false;
        for (declared, used) in self.packages.iter().zip(used) {
            let DeclaredPackage { name, from, to } = declared;
            if name.is_match(&change.name) && fits(from, &change.from) && fits(to, &change.to) {
                (*used, is_declared) = (true, true);
            }
        }
        is_declared
    }

    fn unused(&self, packages: &[bool], paths: &[bool], contract: bool) -> Vec<String> {
        let packages = self.packages.iter().zip(packages).filter(|(_, used)| !**used);
        let paths = self.paths.iter().zip(paths).filter(|(_, used)| !**used);
        packages
            .map(|(declared, _)| declared.to_string())
            .chain(paths.map(|(path, _)| format!("path {path}")))
            .chain((self.contract && !contract).then(|| "contract".to_owned()))
            .collect()
    }
}

impl std::fmt::Display for DeclaredPackage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "package {}", self.name.glob())?;
        for (word, version) in [("from", &self.from), ("to", &self.to)] {
            if let Some(version) = version {
                write!(f, " {word} {}", version.glob())?;
            }
        }
        Ok(())
    }
}

fn compile(
    text: &str,
    pattern: &Spanned<String>,
    compile: impl Fn(&str) -> Result<Glob, String>,
) -> Result<Glob, TomlError> {
    compile(pattern.get_ref()).map_err(|why| TomlError::at(text, pattern.span(), why))
}

/// A glob over names and versions, which hold no separator.
fn word_glob(pattern: &str) -> Result<Glob, String> {
    if pattern.len() > MAX_GLOB_BYTES || nesting(pattern) > MAX_NESTING {
        return Err("the glob is too long, or nested too deep".to_owned());
    }
    let glob = GlobBuilder::new(pattern).backslash_escape(true).build();
    glob.map_err(|error| format!("`{}` is not a glob: {}", pattern.escape_debug(), error.kind()))
}
