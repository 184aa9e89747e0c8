//! What a layer's archive lists, in tree order, once names are resolved.
//!
//! Names are taken as they stand: nothing is followed. Where what comes of a name
//! depends on who unpacks it, such as a name beneath a link, the layer is refused.
//! By the image specification whiteouts take away what lies below before anything
//! of their own layer is put in place, wherever they stand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::iter;

use congruent_protocol::digest::Algorithm;
use congruent_protocol::entry::{Device, Entry, Kind, Node};
use congruent_protocol::layer::{LayerEntry, LayerNode, OPAQUE_NAME, WHITEOUT_PREFIX, is_mark};
use congruent_protocol::path::{TreePath, escape};

use crate::lint::{self, Hit};

use super::member::{Limits, Member, MemberError, MemberKind, Members};

/// The longest path taken: Linux opens none that is longer.
const MAX_PATH_BYTES: usize = 4096;
/// What AUFS left in archives of its time; no runtime unpacks it.
const AUFS_NAMES: [&[u8]; 3] = [b".wh..wh.plnk", b".wh..wh.aufs", b".wh..wh.orph"];

/// About what an entry takes beside its name and attributes.
const ENTRY_BYTES: u64 = 128;

/// Why a layer is refused.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Its archive is none, or has a member that no layer can hold.
    #[error(transparent)]
    Archive(#[from] MemberError),
    /// A member's name or link is one that runtimes take in different ways, or that
    /// leads out of the image.
    #[error("the member {member} is refused: {why}")]
    Name {
        /// Its name, escaped.
        member: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What the layers below come to, as far as hard links need it.
pub trait Lower {
    /// What is at `path` there.
    fn entry(&self, path: &TreePath) -> Option<&Entry>;
}

/// What a layer's archive lists. All extended attributes are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    /// In tree order.
    pub entries: Vec<LayerEntry>,
    /// What lint finds in it, in tree order; nothing where it was not to look.
    pub(crate) hits: Vec<(TreePath, Hit)>,
}

/// How an archive is read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// What computes the digests of contents.
    pub algorithm: Algorithm,
    /// What it may come to.
    pub limits: Limits,
    /// Whether lint looks at each entry.
    pub lint: bool,
}

impl Layer {
    /// Reads an uncompressed archive.
    ///
    /// # Errors
    /// When it cannot be read, or holds what no layer may.
    pub fn read(archive: impl Read, reading: Reading, lower: &impl Lower) -> Result<Self, LayerError> {
        let mut members = Members::new(archive, reading.limits);
        let mut list = List::over(lower, reading.limits.listed_bytes);
        while let Some(member) = members.next()? {
            let refuse = |why: String| LayerError::Name { member: escape(&member.name).into_owned(), why };
            let Some(target) = list.place(&member.name).map_err(refuse)? else { continue };
            match target {
                Target::Whiteout(path) => {
                    list.room.take(&path, None)?;
                    list.gone.insert(path);
                }
                Target::Opaque(directory) => {
                    list.room.take(&directory, None)?;
                    list.opaque.insert(directory);
                }
                Target::Entry(path) if member.kind == MemberKind::HardLink => {
                    let entry = list.linked(&path, &member.link).map_err(refuse)?;
                    list.room.take(&path, Some(&entry))?;
                    list.put(path, entry, Vec::new()).map_err(refuse)?;
                }
                Target::Entry(path) => {
                    let (entry, head) = entry_of(&member, &path, reading, &mut members)?;
                    list.room.take(&path, Some(&entry))?;
                    let hits = if reading.lint { lint::of(&path, &entry, &head) } else { Vec::new() };
                    list.put(path, entry, hits).map_err(refuse)?;
                }
            }
        }
        list.finish()
    }
}

/// The entry of a member that is no hard link, and how its content begins, where lint
/// is to see it. Content is read and hashed.
fn entry_of<R: Read>(
    member: &Member,
    path: &TreePath,
    reading: Reading,
    members: &mut Members<R>,
) -> Result<(Entry, Vec<u8>), MemberError> {
    let wanted = if reading.lint { lint::head_bytes(path) } else { 0 };
    let mut head = Vec::new();
    let node = match &member.kind {
        MemberKind::File => {
            let mut hasher = reading.algorithm.hasher();
            members.read_content(|piece| {
                hasher.update(piece);
                head.extend_from_slice(&piece[..piece.len().min(wanted - head.len())]);
            })?;
            Node::File { size: member.size, content: Some(hasher.finish()) }
        }
        MemberKind::Symlink if member.link.is_empty() || member.link.len() >= MAX_PATH_BYTES => {
            let why = "it is a symbolic link, and where it points is empty or too long".to_owned();
            return Err(MemberError::Member { member: escape(&member.name).into_owned(), why });
        }
        MemberKind::Symlink => Node::Symlink { target: member.link.clone() },
        MemberKind::Fifo => Node::Fifo,
        MemberKind::CharDevice(Device { major: 0, minor: 0 }) => {
            let why =
                "it is the character device 0:0, which overlay file systems take for a whiteout".to_owned();
            return Err(MemberError::Member { member: escape(&member.name).into_owned(), why });
        }
        MemberKind::CharDevice(device) => Node::CharDevice(*device),
        MemberKind::BlockDevice(device) => Node::BlockDevice(*device),
        MemberKind::Directory | MemberKind::HardLink => Node::Directory,
    };
    // Linux knows no modes of symbolic links.
    let mode = if member.kind == MemberKind::Symlink { 0o777 } else { member.mode };
    let &Member { uid, gid, mtime, .. } = member;
    let xattrs = member.xattrs.clone();
    Ok((Entry { node, mode, uid, gid, mtime, link_group: 0, xattrs, package: 0 }, head))
}

/// What a member's name says.
enum Target {
    Entry(TreePath),
    Whiteout(TreePath),
    /// The directory that is opaque.
    Opaque(TreePath),
}

/// How much memory what is listed may still take. What is listed twice counts twice.
struct Room {
    limit: u64,
    left: u64,
}

impl Room {
    fn take(&mut self, path: &TreePath, entry: Option<&Entry>) -> Result<(), MemberError> {
        let limit = self.limit;
        self.left = self.left.checked_sub(listed_bytes(path, entry)).ok_or_else(|| MemberError::Limit {
            what: "too many bytes of names and attributes",
            limit,
            member: path.to_string(),
        })?;
        Ok(())
    }
}

/// About how much memory an entry takes, or another node.
pub(super) fn listed_bytes(path: &TreePath, entry: Option<&Entry>) -> u64 {
    let own = entry.map_or(0, |entry| {
        let link = if let Node::Symlink { target } = &entry.node { target.len() } else { 0 };
        link + entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    });
    ENTRY_BYTES + (path.as_bytes().len() + own) as u64
}

/// A layer while it is read.
struct List<'l, L> {
    lower: &'l L,
    entries: BTreeMap<TreePath, Entry>,
    gone: BTreeSet<TreePath>,
    opaque: BTreeSet<TreePath>,
    link_groups: u32,
    hits: BTreeMap<TreePath, Vec<Hit>>,
    room: Room,
}

impl<'l, L: Lower> List<'l, L> {
    fn over(lower: &'l L, limit: u64) -> Self {
        let (entries, hits, room) = (BTreeMap::new(), BTreeMap::new(), Room { limit, left: limit });
        Self { lower, entries, gone: BTreeSet::new(), opaque: BTreeSet::new(), link_groups: 0, hits, room }
    }

    /// What a name says; none of what no runtime unpacks.
    fn place(&self, name: &[u8]) -> Result<Option<Target>, String> {
        let path = resolve(name)?;
        if path.as_bytes().split(|&b| b == b'/').any(|component| AUFS_NAMES.contains(&component)) {
            return Ok(None);
        }
        let above = path.parent();
        if let Some((obstacle, kind)) = above.as_ref().and_then(|above| self.obstacle(above)) {
            // What was a directory below went with it.
            if is_mark(path.name()) && kind == Some(Kind::File) {
                return Ok(None);
            }
            let kind = kind.map_or("whiteout", Kind::name);
            return Err(format!("it lies beneath {obstacle}, which is a {kind}"));
        }
        let own = path.name();
        let Some(above) = above.filter(|_| is_mark(own)) else { return Ok(Some(Target::Entry(path))) };
        if own == OPAQUE_NAME && above.is_root() {
            return Err(
                "it makes the root opaque, which overlay file systems pass over and others do not".to_owned()
            );
        }
        if own == OPAQUE_NAME {
            return Ok(Some(Target::Opaque(above)));
        }
        let gone = &own[WHITEOUT_PREFIX.len()..];
        if is_mark(gone) {
            return Err("it is a whiteout of a name that is itself a mark".to_owned());
        }
        let gone = above.join(gone);
        gone.map(|gone| Some(Target::Whiteout(gone)))
            .map_err(|_| "it is a whiteout of a name that no entry can have".to_owned())
    }

    /// What is no directory on the way to what lies in `above`, and its kind; none of a
    /// mark. Nothing may lie beneath such: some would follow a link, some would take its
    /// place.
    fn obstacle(&self, above: &TreePath) -> Option<(TreePath, Option<Kind>)> {
        let mut above = Some(above.clone());
        while let Some(path) = above {
            if is_mark(path.name()) {
                return Some((path, None));
            }
            match self.entries.get(&path) {
                Some(entry) if entry.node.is_directory() => return None,
                Some(entry) => return Some((path, Some(entry.node.kind()))),
                None => above = path.parent(),
            }
        }
        None
    }

    /// What a hard link from `path` comes to.
    fn linked(&mut self, path: &TreePath, link: &[u8]) -> Result<Entry, String> {
        let target =
            resolve(link).map_err(|why| format!("it is a hard link, and of where it points: {why}"))?;
        if target == *path {
            return Err("it is a hard link to itself".to_owned());
        }
        let missing = || format!("it is a hard link to {target}, which neither this layer nor one below has");
        let is_gone = self.is_gone(&target) || self.obstacle(&target).is_some_and(|(at, _)| at != target);
        let entry = match self.entries.get_mut(&target) {
            Some(entry) => {
                if entry.link_group == 0 && !entry.node.is_directory() {
                    self.link_groups += 1;
                    entry.link_group = self.link_groups;
                }
                entry.clone()
            }
            None if is_gone => return Err(missing()),
            None => Entry { link_group: 0, ..self.lower.entry(&target).cloned().ok_or_else(missing)? },
        };
        if entry.node.is_directory() {
            return Err(format!("it is a hard link to {target}, which is a directory"));
        }
        Ok(entry)
    }

    fn is_gone(&self, path: &TreePath) -> bool {
        let mut at = Some(path.clone());
        while let Some(path) = at {
            at = path.parent();
            if self.gone.contains(&path) || at.as_ref().is_some_and(|above| self.opaque.contains(above)) {
                return true;
            }
        }
        false
    }

    fn put(&mut self, path: TreePath, entry: Entry, hits: Vec<Hit>) -> Result<(), String> {
        if path.is_root() && !entry.node.is_directory() {
            return Err("it is the root of the image, and no directory".to_owned());
        }
        if !entry.node.is_directory() {
            remove_beneath(&mut self.entries, &path);
            let gone = self.gone.range(path.clone()..).take_while(|gone| gone.starts_with(&path));
            for gone in gone.filter(|gone| **gone != path).cloned().collect::<Vec<_>>() {
                self.gone.remove(&gone);
            }
            let opaque = self.opaque.range(path.clone()..).take_while(|opaque| opaque.starts_with(&path));
            for opaque in opaque.cloned().collect::<Vec<_>>() {
                self.opaque.remove(&opaque);
            }
        } else if let Some(before) = self.entries.get(&path).filter(|before| !before.node.is_directory()) {
            return Err(format!(
                "it is a directory, and the layer has a {} of that name before it: what lower layers have in it \
                 is then gone for some who unpack it, and not for Docker",
                before.node.kind().name()
            ));
        }
        self.hits.insert(path.clone(), hits);
        self.entries.insert(path, entry);
        Ok(())
    }

    fn finish(self) -> Result<Layer, LayerError> {
        let Self { lower, entries, gone, mut opaque, hits, mut room, .. } = self;
        let hits = hits.into_iter().filter(|(path, _)| entries.contains_key(path));
        let hits =
            hits.flat_map(|(path, hits)| hits.into_iter().map(move |hit| (path.clone(), hit))).collect();
        let mut nodes = entries.into_iter().map(|(path, entry)| (path, LayerNode::Entry(entry))).collect();
        take_away(&mut nodes, gone, &mut opaque, lower)?;
        for directory in
            opaque.into_iter().filter(|directory| !is_taken(&nodes, directory)).collect::<Vec<_>>()
        {
            let mark = directory.join(OPAQUE_NAME).expect("the mark's name is a possible one");
            nodes.insert(mark, LayerNode::Opaque);
        }
        imply(&mut nodes, &mut room)?;
        Ok(Layer { entries: nodes.into_iter().map(|(path, node)| LayerEntry { path, node }).collect(), hits })
    }
}

/// What stands at each path.
type Nodes = BTreeMap<TreePath, LayerNode>;

/// Puts in what lower layers have and this one takes away.
fn take_away(
    nodes: &mut Nodes,
    gone: BTreeSet<TreePath>,
    opaque: &mut BTreeSet<TreePath>,
    lower: &impl Lower,
) -> Result<(), LayerError> {
    let mut taken: Option<TreePath> = None;
    for path in gone {
        // A whiteout says it of all beneath.
        if taken.as_ref().is_some_and(|taken| path.starts_with(taken)) {
            continue;
        }
        // What is made anew takes the old one's place by itself, but for a directory.
        match nodes.get(&path) {
            Some(node) if node.is_directory() => {
                let why = format!(
                    "the layer has {path} as a directory too: what lower layers have in it is then gone by the \
                     image specification, and Docker shows it; an opaque mark in the directory is clear"
                );
                return Err(LayerError::Name { member: mark_of(&path), why });
            }
            Some(_) => {}
            None if !has_beneath(nodes, &path) => {
                nodes.insert(path.clone(), LayerNode::Whiteout);
                taken = Some(path);
            }
            None if lower.entry(&path).is_some() => {
                let why = "it is taken away by a whiteout, and made anew only by what lies beneath it: what \
                           attributes it has then depends on who unpacks it"
                    .to_owned();
                return Err(LayerError::Name { member: path.to_string(), why });
            }
            None => drop(opaque.insert(path)),
        }
    }
    Ok(())
}

/// The name of the whiteout that takes away `path`.
fn mark_of(path: &TreePath) -> String {
    let above = path.parent().unwrap_or_else(TreePath::root);
    let name = [WHITEOUT_PREFIX, path.name()].concat();
    above.join(&name).map_or_else(|_| path.to_string(), |mark| mark.to_string())
}

fn has_beneath(nodes: &Nodes, path: &TreePath) -> bool {
    nodes.range(path.clone()..).next().is_some_and(|(at, _)| at.starts_with(path))
}

/// Whether a whiteout takes it away, or what holds it.
fn is_taken(nodes: &Nodes, path: &TreePath) -> bool {
    iter::successors(Some(path.clone()), TreePath::parent)
        .any(|path| matches!(nodes.get(&path), Some(LayerNode::Whiteout)))
}

/// Puts in the directories that are never listed.
fn imply(nodes: &mut Nodes, room: &mut Room) -> Result<(), MemberError> {
    for path in nodes.keys().cloned().collect::<Vec<_>>() {
        let mut above = path.parent();
        while let Some(path) = above.filter(|path| !nodes.contains_key(path)) {
            above = path.parent();
            room.take(&path, None)?;
            nodes.insert(path, LayerNode::Implied);
        }
    }
    Ok(())
}

/// The path that a name in an archive stands for, without following anything.
pub(super) fn resolve(name: &[u8]) -> Result<TreePath, String> {
    if name.starts_with(b"/") && name.iter().any(|&b| b != b'/') {
        return Err("its name is absolute".to_owned());
    }
    if name.is_empty() {
        return Err("its name is empty".to_owned());
    }
    let mut path = TreePath::root();
    for component in name.split(|&b| b == b'/').filter(|component| !matches!(*component, b"" | b".")) {
        if component == b".." {
            return Err("its name leads upwards with \"..\"".to_owned());
        }
        path.push(component)
            .map_err(|_| "a component of its name is none that a file can have".to_owned())?;
    }
    if path.len() > MAX_PATH_BYTES {
        Err(format!("its name is over {MAX_PATH_BYTES} bytes long"))
    } else {
        Ok(path)
    }
}

pub(super) fn remove_beneath<V>(entries: &mut BTreeMap<TreePath, V>, above: &TreePath) {
    let beneath = entries.range(above.clone()..).map(|(path, _)| path);
    let beneath: Vec<TreePath> =
        beneath.take_while(|path| path.starts_with(above)).filter(|path| *path != above).cloned().collect();
    for path in beneath {
        entries.remove(&path);
    }
}

#[cfg(test)]
pub(super) mod tests;
