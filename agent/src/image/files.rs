//! The files that an image is made of: in a directory, or in a tar file that is
//! never extracted. Names are of the image's own making, so they are looked up
//! and never followed out.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use congruent_protocol::path::TreePath;
use rustix::fs::{Mode, OFlags};
use tar::EntryType;

use super::error::ImageError;
use super::media::Packing;
use crate::{beneath, regular};

/// The most members of a tar file that are looked at.
const MAX_MEMBERS: usize = 100_000;
/// The most links that lead from one to the next.
const MAX_LINKS: usize = 8;
/// The longest name of a member, and of what a link names.
const MAX_NAME_BYTES: usize = 4096;

/// What stands under a name.
pub(super) trait Files: Send + Sync {
    /// Opens the file `name`, whose components `/` separates; none where there is none.
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>>;

    /// Reads the file `name` whole, up to `limit` bytes.
    fn document(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ImageError> {
        let Some(file) = self.open(name).map_err(ImageError::read(name))? else { return Ok(None) };
        read_whole(file, name, limit).map(Some)
    }
}

/// Reads what is called `what` to its end, up to `limit` bytes.
pub(super) fn read_whole(from: impl Read, what: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    from.take(limit + 1).read_to_end(&mut bytes).map_err(ImageError::read(what))?;
    if bytes.len() as u64 > limit {
        return Err(ImageError::TooLong { what: what.to_owned(), limit });
    }
    Ok(bytes)
}

/// Files beneath a directory. No link is followed on the way.
pub(super) struct Directory(File);

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, ImageError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        let opened = opened.map_err(|error| ImageError::read(path.display().to_string())(error.into()))?;
        Ok(Self(File::from(opened)))
    }
}

impl Files for Directory {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        let path = TreePath::new(format!("/{name}")).map_err(io::Error::other)?;
        match beneath::open(&self.0, &path) {
            Ok(file) => Ok(Some(Box::new(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Files in a tar file, whose members are listed once.
pub(super) struct Archive {
    file: Arc<File>,
    members: HashMap<String, Member>,
}

enum Member {
    /// Where its bytes lie.
    File { start: u64, bytes: u64 },
    /// The member that it is another name of.
    Link(String),
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Self, ImageError> {
        let what = path.display().to_string();
        let mut file = regular::open(path).map_err(ImageError::read(&what))?;
        refuse_packed(&mut file, &what)?;
        let members = list(&file).map_err(ImageError::read(&what))?;
        Ok(Self { file: Arc::new(file), members })
    }

    fn find(&self, name: &str) -> io::Result<Option<(u64, u64)>> {
        let mut name = name;
        for _ in 0..=MAX_LINKS {
            match self.members.get(name) {
                None => return Ok(None),
                Some(Member::File { start, bytes }) => return Ok(Some((*start, *bytes))),
                Some(Member::Link(target)) => name = target,
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "links lead from one to the next without an end"))
    }
}

impl Files for Archive {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        let Some(name) = normal("", name) else { return Ok(None) };
        let found = self.find(&name)?;
        Ok(found.map(|(start, bytes)| {
            let section = Section { file: Arc::clone(&self.file), at: start, left: bytes };
            Box::new(section) as Box<dyn Read + Send>
        }))
    }
}

/// A tar file that is packed as a whole cannot be read from the middle.
fn refuse_packed(file: &mut File, what: &str) -> Result<(), ImageError> {
    let mut first = [0; 4];
    let count = file.read_at(&mut first, 0).map_err(ImageError::read(what))?;
    match Packing::by_magic(&first[..count]) {
        Packing::Plain => Ok(()),
        packing => Err(ImageError::Refused {
            what: what.to_owned(),
            why: format!("it is packed with {} as a whole; unpack it first", packing.name()),
        }),
    }
}

/// Where each member's bytes lie. Of members with one name the last counts, as for
/// whoever extracts.
fn list(mut file: &File) -> io::Result<HashMap<String, Member>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut archive = tar::Archive::new(file);
    let mut members = HashMap::new();
    for (count, entry) in archive.entries_with_seek()?.enumerate() {
        let entry = entry?;
        if count >= MAX_MEMBERS {
            return Err(io::Error::other(format!("it has over {MAX_MEMBERS} members")));
        }
        let Some(name) = name_of(&entry.path_bytes()) else { continue };
        let kind = entry.header().entry_type();
        let member = match kind {
            EntryType::Regular | EntryType::Continuous => {
                let (start, bytes) = (entry.raw_file_position(), entry.size());
                if start.checked_add(bytes).is_none_or(|end| end > length) {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("it ends within {name:?}"),
                    ));
                }
                Member::File { start, bytes }
            }
            EntryType::Symlink | EntryType::Link => {
                // A hard link names a member from the top, a symbolic one from where it stands.
                let base = if kind == EntryType::Link {
                    ""
                } else {
                    name.rsplit_once('/').map_or("", |(above, _)| above)
                };
                let target = entry.link_name_bytes();
                let target = target.as_deref().and_then(|target| std::str::from_utf8(target).ok());
                match target.and_then(|target| normal(base, target)) {
                    Some(target) => Member::Link(target),
                    None => continue,
                }
            }
            _ => continue,
        };
        members.insert(name, member);
    }
    Ok(members)
}

fn name_of(bytes: &[u8]) -> Option<String> {
    normal("", std::str::from_utf8(bytes).ok()?)
}

/// A name in its shortest form, taken from `base`; none where it leads out of the top.
fn normal(base: &str, name: &str) -> Option<String> {
    if name.len() > MAX_NAME_BYTES {
        return None;
    }
    let mut parts: Vec<&str> = if name.starts_with('/') { Vec::new() } else { base.split('/').collect() };
    parts.retain(|part| !part.is_empty());
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// A part of a file, read without moving where others read.
struct Section {
    file: Arc<File>,
    at: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn names_stay_within() {
        for (base, name, expected) in [
            ("", "./a/b", Some("a/b")),
            ("", "a//b/", Some("a/b")),
            ("a", "../b/layer.tar", Some("b/layer.tar")),
            ("a", "/b", Some("b")),
            ("a", "../../b", None),
            ("", "..", None),
            ("", ".", None),
        ] {
            assert_eq!(normal(base, name).as_deref(), expected, "{name} in {base}");
        }
    }

    fn archive(write: impl FnOnce(&mut tar::Builder<&mut File>)) -> (tempfile::NamedTempFile, Archive) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let mut builder = tar::Builder::new(file.as_file_mut());
        write(&mut builder);
        builder.into_inner().expect("an end").flush().expect("written");
        let archive = Archive::open(file.path()).expect("an archive");
        (file, archive)
    }

    fn add(builder: &mut tar::Builder<&mut File>, kind: EntryType, name: &str, target: &str, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        if target.is_empty() {
            builder.append_data(&mut header, name, content).expect("appended");
        } else {
            builder.append_link(&mut header, name, target).expect("appended");
        }
    }

    #[test]
    fn members_are_found_by_any_of_their_names() {
        let long = format!("{}/layer.tar", "d".repeat(150));
        let (_file, archive) = archive(|builder| {
            add(builder, EntryType::Regular, "a/layer.tar", "", b"first");
            add(builder, EntryType::Regular, "a/layer.tar", "", b"last");
            add(builder, EntryType::Symlink, "b/layer.tar", "../a/layer.tar", b"");
            add(builder, EntryType::Link, "c/layer.tar", "b/layer.tar", b"");
            add(builder, EntryType::Symlink, "round", "round", b"");
            add(builder, EntryType::Symlink, "out", "../out", b"");
            add(builder, EntryType::Directory, "a", "", b"");
            add(builder, EntryType::Regular, &long, "", b"long");
        });
        let check = |name: &str, expected: Option<&[u8]>| {
            let found = archive.document(name, 100).expect(name);
            assert_eq!(found.as_deref(), expected, "{name}");
        };
        check("a/layer.tar", Some(b"last"));
        check("./a/layer.tar", Some(b"last"));
        check("b/layer.tar", Some(b"last"));
        check("c/layer.tar", Some(b"last"));
        check(&long, Some(b"long"));
        check("out", None);
        check("a", None);
        check("../a/layer.tar", None);
        assert!(archive.open("round").is_err());
        assert!(matches!(archive.document("a/layer.tar", 3), Err(ImageError::TooLong { limit: 3, .. })));
    }

    #[test]
    fn an_archive_that_is_cut_or_packed_is_refused() {
        let (file, _) = archive(|builder| add(builder, EntryType::Regular, "a", "", &[7; 5000]));
        let refused = || Archive::open(file.path()).err().expect("refused");
        file.as_file().set_len(2000).expect("cut");
        assert!(matches!(refused(), ImageError::Read { .. }));
        file.as_file().set_len(0).expect("cut");
        file.as_file().write_all_at(&[0x1f, 0x8b, 8, 0], 0).expect("written");
        assert!(matches!(refused(), ImageError::Refused { .. }));
    }

    #[test]
    fn links_are_not_followed_out_of_a_directory() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("in")).expect("made");
        std::fs::write(folder.path().join("secret"), "s").expect("written");
        std::fs::write(folder.path().join("in/blob"), "b").expect("written");
        std::os::unix::fs::symlink("../secret", folder.path().join("in/link")).expect("linked");
        let directory = Directory::open(&folder.path().join("in")).expect("a directory");
        assert!(directory.open("blob").expect("opened").is_some());
        assert!(directory.open("nothing").expect("looked").is_none());
        for out in ["link", "../secret"] {
            assert!(directory.open(out).is_err(), "{out}");
        }
    }
}
