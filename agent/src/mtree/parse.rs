//! Reading a spec: lines into paths and what is said of each.
//!
//! Reads what NetBSD's mtree writes with `-c`, `-C` and `-D`, and what go-mtree
//! writes: relative names with `..`, full paths, `/set` and `/unset`. Names are
//! taken as they stand: `*`, `?` and `[` are no patterns, since `mtree -c` does
//! not quote them. Only our own specs say that they are quoted ([`SIGNATURE`]).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use congruent_protocol::entry::Kind;
use congruent_protocol::path::{PathError, TreePath};

use super::claims::Claims;
use super::keyword::{self, KeywordError, shorten};
use super::lines::{Lines, MAX_LINE_BYTES, is_blank};
use super::pattern;
use super::vis::{VisError, decode};

/// The first line of specs in which names with `*`, `?` or `[` are patterns, as
/// NetBSD's mtree takes them, each of which matches one name.
pub const SIGNATURE: &str = "#mtree congruent-1";
/// The most entries taken.
pub const MAX_ENTRIES: usize = 2_000_000;
/// The deepest path taken.
pub const MAX_DEPTH: usize = 1_024;
/// The most bytes that all paths and values together may have. A short line can
/// stand for a long path, and for all that `/set` says.
const MAX_HELD_BYTES: usize = 1 << 30;

/// A spec: every path that it names, in tree order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// The entries, the root's first.
    pub entries: Vec<SpecEntry>,
}

/// One path of a spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecEntry {
    /// Where, from the root that the spec is about.
    pub path: TreePath,
    /// What is said of it.
    pub claims: Claims,
}

/// Why a spec is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}")]
pub struct ParseError {
    /// The line, counted from 1; a continued line's first.
    pub line: u64,
    /// What is wrong there.
    #[source]
    pub mistake: Mistake,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// It is longer than any line is.
    #[error("it is over {MAX_LINE_BYTES} bytes long")]
    LineTooLong,
    /// A `/word` that is no command.
    #[error("there is no command `{0}`; a spec has /set and /unset")]
    Command(String),
    /// A `..` too many, or an entry after it.
    #[error("this leaves the root: there are more `..` than directories")]
    AboveRoot,
    /// A word that names no path.
    #[error("cannot decode the name `{name}`")]
    Escape {
        /// As it stands.
        name: String,
        /// What is wrong with it.
        #[source]
        source: VisError,
    },
    /// A name that no directory entry can have.
    #[error("the name cannot be used")]
    Path(#[source] PathError),
    /// A keyword that cannot be read.
    #[error("the keywords cannot be used")]
    Keyword(#[source] KeywordError),
    /// A path beneath something that is no directory.
    #[error("{path} lies beneath {parent}, which line {line} says is no directory")]
    NotADirectory {
        /// The path.
        path: TreePath,
        /// What holds it.
        parent: TreePath,
        /// Where that was said.
        line: u64,
    },
    /// A path twice, as two kinds of thing.
    #[error("{path} is of another type in line {line}")]
    TwoTypes {
        /// The path.
        path: TreePath,
        /// Where it stood before.
        line: u64,
    },
    /// A path below the deepest that is taken.
    #[error("the path is over {MAX_DEPTH} directories deep")]
    TooDeep,
    /// More entries than are taken.
    #[error("there are over {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// Paths and values that together are longer than is taken.
    #[error("the paths and values together are over {0} bytes long")]
    TooLong(usize),
    /// The end came, and there was nothing.
    #[error("the spec ends and has named no path")]
    Empty,
}

/// Reads a spec.
///
/// # Errors
/// With the line, when it is malformed, contradicts itself or is absurdly large.
pub fn parse(spec: &[u8]) -> Result<Spec, ParseError> {
    parse_within(spec, MAX_HELD_BYTES)
}

/// The same with another limit on what paths and values together may take.
pub(super) fn parse_within(spec: &[u8], max_held_bytes: usize) -> Result<Spec, ParseError> {
    let names_are_quoted = spec.split(|&b| b == b'\n').next() == Some(SIGNATURE.as_bytes());
    let mut parser = Parser::new(names_are_quoted, max_held_bytes);
    let mut last = 1;
    for line in Lines::new(spec) {
        let line = line.map_err(|long| ParseError { line: long.number, mistake: Mistake::LineTooLong })?;
        last = line.number;
        parser.take(&line.bytes, line.number).map_err(|mistake| ParseError { line: last, mistake })?;
    }
    if parser.places.is_empty() {
        return Err(ParseError { line: last, mistake: Mistake::Empty });
    }
    let entries = parser.places.into_iter().map(|(path, place)| SpecEntry { path, claims: place.claims });
    Ok(Spec { entries: entries.collect() })
}

/// What was said of a path, and where.
struct Place {
    claims: Claims,
    line: u64,
}

struct Parser {
    places: BTreeMap<TreePath, Place>,
    held_bytes: usize,
    max_held_bytes: usize,
    /// What `/set` says of every entry.
    defaults: Claims,
    /// Where relative names are.
    directory: TreePath,
    /// The root's own `..` was seen.
    is_closed: bool,
    /// Whether paths stand at the ends of lines, as `mtree -D` writes them. The
    /// first entry shows it, since that is the root's.
    path_is_last: Option<bool>,
    names_are_quoted: bool,
}

impl Parser {
    fn new(names_are_quoted: bool, max_held_bytes: usize) -> Self {
        Self {
            places: BTreeMap::new(),
            held_bytes: 0,
            max_held_bytes,
            defaults: Claims::default(),
            directory: TreePath::root(),
            is_closed: false,
            path_is_last: None,
            names_are_quoted,
        }
    }

    fn take(&mut self, line: &[u8], number: u64) -> Result<(), Mistake> {
        let mut words = line.split(|&b| is_blank(b)).filter(|word| !word.is_empty());
        let Some(first) = words.next() else { return Ok(()) };
        match first {
            b"/set" => take_all(&mut self.defaults, words),
            b"/unset" => {
                words.for_each(|keyword| self.defaults.unset(&String::from_utf8_lossy(keyword)));
                Ok(())
            }
            [b'/', ..] => Err(Mistake::Command(shorten(first))),
            b".." => self.ascend(),
            _ => {
                let rest: Vec<&[u8]> = words.collect();
                let is_last = rest.last() == Some(&&b"."[..]) && first != b".";
                match (*self.path_is_last.get_or_insert(is_last), rest.split_last()) {
                    (true, Some((name, rest))) => {
                        self.take_entry(name, std::iter::once(first).chain(rest.iter().copied()), number)
                    }
                    _ => self.take_entry(first, rest.iter().copied(), number),
                }
            }
        }
    }

    fn ascend(&mut self) -> Result<(), Mistake> {
        match self.directory.parent() {
            Some(parent) => self.directory = parent,
            None if self.is_closed => return Err(Mistake::AboveRoot),
            None => self.is_closed = true,
        }
        Ok(())
    }

    fn take_entry<'w>(
        &mut self,
        word: &[u8],
        words: impl Iterator<Item = &'w [u8]>,
        line: u64,
    ) -> Result<(), Mistake> {
        let words: Vec<&[u8]> = words.collect();
        let mut claims = self.defaults.clone();
        // A name and a number say the same thing: one's own word, not that of /set.
        let says = |keyword: &[u8]| words.iter().any(|word| word.starts_with(keyword));
        for (name, number) in [("uname", "uid"), ("gname", "gid")] {
            if says(name.as_bytes()) {
                claims.unset(number);
            } else if says(number.as_bytes()) {
                claims.unset(name);
            }
        }
        take_all(&mut claims, words.into_iter())?;
        let mut name = decode(word).map_err(|source| Mistake::Escape { name: shorten(word), source })?;
        if self.names_are_quoted {
            name = pattern::unquote(&name);
        }
        let path = self.locate(&name)?;
        if claims.kind == Some(Kind::Directory) {
            self.directory.clone_from(&path);
        } else if name.contains(&b'/') {
            self.directory = path.parent().unwrap_or_else(TreePath::root);
        }
        self.imply_ancestors(&path, line)?;
        self.put(path, claims, line)
    }

    /// Where a name is: relative, or full where it has a separator.
    fn locate(&self, name: &[u8]) -> Result<TreePath, Mistake> {
        if name == b"." {
            return Ok(TreePath::root());
        }
        if !name.contains(&b'/') {
            if self.is_closed {
                return Err(Mistake::AboveRoot);
            }
            if self.directory.depth() >= MAX_DEPTH {
                return Err(Mistake::TooDeep);
            }
            return self.directory.join(name).map_err(Mistake::Path);
        }
        let mut path = TreePath::root();
        let components = name.split(|&b| b == b'/').filter(|component| !matches!(*component, b"" | b"."));
        for (depth, component) in components.enumerate() {
            if depth == MAX_DEPTH {
                return Err(Mistake::TooDeep);
            }
            path.push(component).map_err(Mistake::Path)?;
        }
        Ok(path)
    }

    /// Sees to it that everything above `path` is there and a directory.
    fn imply_ancestors(&mut self, path: &TreePath, line: u64) -> Result<(), Mistake> {
        let mut above = path.parent();
        while let Some(ancestor) = above {
            match self.places.get(&ancestor) {
                Some(place) => match place.claims.implied_kind() {
                    None | Some(Kind::Directory) => return Ok(()),
                    Some(_) => {
                        let (path, line) = (path.clone(), place.line);
                        return Err(Mistake::NotADirectory { path, parent: ancestor, line });
                    }
                },
                None => {
                    above = ancestor.parent();
                    let claims = Claims { kind: Some(Kind::Directory), ..Claims::default() };
                    self.insert(ancestor, Place { claims, line })?;
                }
            }
        }
        Ok(())
    }

    /// Puts an entry in its place. Of two, the later counts, as in NetBSD.
    fn put(&mut self, path: TreePath, claims: Claims, line: u64) -> Result<(), Mistake> {
        let place = Place { claims, line };
        self.held_bytes += place.claims.held_bytes();
        match self.places.entry(path) {
            Entry::Vacant(vacant) => {
                let path = vacant.into_key();
                self.insert(path, place)
            }
            Entry::Occupied(mut known) => {
                if known.get().claims.implied_kind() != place.claims.implied_kind() {
                    return Err(Mistake::TwoTypes { path: known.key().clone(), line: known.get().line });
                }
                known.insert(place);
                Ok(())
            }
        }
    }

    fn insert(&mut self, path: TreePath, place: Place) -> Result<(), Mistake> {
        self.held_bytes += path.as_bytes().len();
        if self.held_bytes > self.max_held_bytes {
            return Err(Mistake::TooLong(self.max_held_bytes));
        }
        if self.places.len() == MAX_ENTRIES {
            return Err(Mistake::TooManyEntries);
        }
        self.places.insert(path, place);
        Ok(())
    }
}

fn take_all<'w>(claims: &mut Claims, mut words: impl Iterator<Item = &'w [u8]>) -> Result<(), Mistake> {
    words.try_for_each(|word| keyword::take(claims, word)).map_err(Mistake::Keyword)
}
