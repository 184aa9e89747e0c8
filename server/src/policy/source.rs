//! A policy's sources: `.rego` files and `data.json`, read from a folder within limits.
//!
//! Tests (`*_test.rego`), hidden files and everything else in the folder are
//! no part of the policy.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use congruent_protocol::digest::{Algorithm, Digest};
use congruent_protocol::path::escape;

use super::error::PolicyError;

/// The most bytes of one file.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most sources.
pub(super) const MAX_FILES: usize = 1000;
/// The most entries looked at, sources or not: a folder given by mistake, such
/// as `/`, ends soon and with a sentence.
const MAX_ENTRIES: usize = 20_000;
/// The most folders within each other; a link that leads round ends here.
const MAX_DEPTH: usize = 16;

/// One file of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// From the policy's folder, with `/` between components.
    pub(super) path: String,
    /// Its content.
    pub(super) text: String,
}

impl Source {
    /// Whether this is data and not rules.
    pub(super) fn is_data(&self) -> bool {
        self.path.rsplit('/').next() == Some("data.json")
    }
}

/// All sources in `folder` and beneath, sorted by path.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<Source>, PolicyError> {
    let mut reading = Reading { root: folder, sources: Vec::new(), entries: 0 };
    reading.folder(folder, "", 0)?;
    let mut sources = reading.sources;
    if !sources.iter().any(|source| !source.is_data()) {
        return Err(PolicyError::Empty { path: folder.to_owned() });
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

/// The digest of sources that are sorted by path: over path and text of each,
/// each preceded by its length, so that no two policies share an encoding.
pub(super) fn digest(sources: &[Source]) -> Digest {
    let mut hasher = Algorithm::Blake3.hasher();
    hasher.update(b"congruent policy 1\0");
    for part in sources.iter().flat_map(|source| [&source.path, &source.text]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finish()
}

struct Reading<'a> {
    root: &'a Path,
    sources: Vec<Source>,
    entries: usize,
}

impl Reading<'_> {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), PolicyError> {
        let list_error = |source| PolicyError::ListFolder { path: folder.to_owned(), source };
        if depth > MAX_DEPTH {
            return Err(self.too_much(format!("folders over {MAX_DEPTH} deep")));
        }
        for entry in fs::read_dir(folder).map_err(list_error)? {
            let entry = entry.map_err(list_error)?;
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(self.too_much(format!("over {MAX_ENTRIES} files")));
            }
            let name = entry.file_name();
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            // Links are followed: a mounted ConfigMap consists of them.
            let kind = fs::metadata(&path)
                .map_err(|source| PolicyError::ReadFile { path: path.clone(), source })?
                .file_type();
            let relative = format!("{prefix}{}", escape(name.as_bytes()));
            if kind.is_dir() {
                self.folder(&path, &format!("{relative}/"), depth + 1)?;
            } else if kind.is_file() && is_source(name.as_bytes()) {
                self.file(&path, relative, name.to_str().is_some())?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, relative: String, plain: bool) -> Result<(), PolicyError> {
        if self.sources.len() == MAX_FILES {
            return Err(self.too_much(format!("over {MAX_FILES} policy files")));
        }
        let read_error = |source| PolicyError::ReadFile { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        // Not the size that the file system tells: what counts is what is read.
        let file = File::open(path).map_err(read_error)?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(read_error)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(PolicyError::FileTooLarge { file: relative, limit: MAX_FILE_BYTES });
        }
        match String::from_utf8(bytes) {
            Ok(text) if plain => self.sources.push(Source { path: relative, text }),
            _ => return Err(PolicyError::NotText { file: relative }),
        }
        Ok(())
    }

    fn too_much(&self, limit: String) -> PolicyError {
        PolicyError::TooMuch { path: self.root.to_owned(), limit }
    }
}

fn is_source(name: &[u8]) -> bool {
    name == b"data.json" || (name.ends_with(b".rego") && !name.ends_with(b"_test.rego"))
}
