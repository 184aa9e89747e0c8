//! Writing a manifest's entries as a spec that NetBSD's mtree accepts.
//!
//! Relative names, since full paths cost mtree a search from the root for each.
//! Only keywords that it knows: extended attributes have none, and are left out
//! and counted. Two passes over the entries: the first is a [`Survey`].

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};

use congruent_protocol::entry::{Entry, Kind, Node};
use congruent_protocol::path::TreePath;
use data_encoding::HEXLOWER;

use super::parse::SIGNATURE;
use super::pattern;
use super::vis::encode;

/// What has to be known of all entries before the first is written.
#[derive(Debug, Default)]
pub struct Survey {
    /// How many names each inode with several has.
    links: HashMap<u32, u32>,
    /// The paths whose names mtree would take for patterns.
    patterns: BTreeSet<TreePath>,
    /// How many extended attributes a spec cannot hold.
    xattrs: u64,
}

impl Survey {
    /// Looks at one entry.
    pub fn take(&mut self, path: &TreePath, entry: &Entry) {
        if entry.link_group != 0 {
            *self.links.entry(entry.link_group).or_default() += 1;
        }
        if pattern::is_pattern(path.name()) {
            self.patterns.insert(path.clone());
        }
        self.xattrs += entry.xattrs.len() as u64;
    }

    /// How many extended attributes a spec of these entries leaves out.
    pub fn xattrs_left_out(&self) -> u64 {
        self.xattrs
    }

    /// The inode's number of names. None where others lie outside of the tree,
    /// so that nobody knows.
    fn links_of(&self, entry: &Entry) -> Option<u32> {
        match entry.link_group {
            0 => Some(1),
            group => self.links.get(&group).copied().filter(|&count| count > 1),
        }
    }
}

/// Writes entries in tree order.
pub struct SpecWriter<'a, W: Write> {
    out: W,
    survey: &'a Survey,
    /// How many directories beneath the root are open.
    open: usize,
}

impl<'a, W: Write> SpecWriter<'a, W> {
    /// A writer of no entries yet. `about` is one line for people.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(mut out: W, survey: &'a Survey, about: &str) -> io::Result<Self> {
        writeln!(out, "{SIGNATURE}\n# {about}")?;
        Ok(Self { out, survey, open: 0 })
    }

    /// Adds an entry, the root's first, with the SHA-256 of its content where
    /// that is known.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push(&mut self, path: &TreePath, entry: &Entry, sha256: Option<[u8; 32]>) -> io::Result<()> {
        let depth = path.depth();
        while self.open > depth.saturating_sub(1) {
            writeln!(self.out, "..")?;
            self.open -= 1;
        }
        let name = match depth {
            0 => ".".to_owned(),
            _ => encode(&pattern::quote(path, &self.survey.patterns)),
        };
        let indent = if entry.node.is_directory() { "" } else { "    " };
        write!(self.out, "{indent}{name} type={}", type_of(&entry.node))?;
        write!(self.out, " mode={:04o} uid={} gid={}", entry.mode, entry.uid, entry.gid)?;
        match &entry.node {
            Node::File { size, .. } => write!(self.out, " size={size}")?,
            Node::Symlink { target } => write!(self.out, " link={}", encode(target))?,
            Node::CharDevice(device) | Node::BlockDevice(device) => {
                write!(self.out, " device=native,{},{}", device.major, device.minor)?;
            }
            Node::Directory => self.open = depth,
            Node::Fifo | Node::Socket => {}
        }
        if let Some(links) = self.survey.links_of(entry).filter(|_| !entry.node.is_directory()) {
            write!(self.out, " nlink={links}")?;
        }
        write!(self.out, " time={}.{:09}", entry.mtime.seconds, entry.mtime.nanoseconds)?;
        if let Some(digest) = sha256.filter(|_| entry.node.kind() == Kind::File) {
            write!(self.out, " sha256digest={}", HEXLOWER.encode(&digest))?;
        }
        writeln!(self.out)
    }

    /// Ends the spec and gives its sink back.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        for _ in 0..self.open {
            writeln!(self.out, "..")?;
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

fn type_of(node: &Node) -> &'static str {
    match node {
        Node::File { .. } => "file",
        Node::Directory => "dir",
        Node::Symlink { .. } => "link",
        Node::Fifo => "fifo",
        Node::Socket => "socket",
        Node::CharDevice(_) => "char",
        Node::BlockDevice(_) => "block",
    }
}
