//! The stack: one base manifest and any number of add-on manifests, as one tree.
//!
//! An add-on holds only what the base's contract calls `add-on`. Directories on
//! the way there are part of its tree but not of the stack's. Each manifest was
//! verified on its own before it comes here.

use std::io::{self, Read, Seek};
use std::iter::Peekable;

use crate::contract::{Class, Contract, Forbidden, Terms};
use crate::digest::Digest;
use crate::entry::{Entry, Node};
use crate::manifest::{EntriesError, EntriesReader, ListedEntry, Manifest, ManifestKind, Predicate, Rules};
use crate::normalise::is_reserved;
use crate::path::{TreePath, escape};
use crate::tree::{Contribution, OutOfOrder, TreeHasher};

/// The most add-ons taken.
pub const MAX_ADD_ONS: usize = 100;

/// What a node is held to.
#[derive(Debug, Clone)]
pub struct Stack {
    base: Manifest,
    add_ons: Vec<Manifest>,
    reserved: Vec<TreePath>,
    root: Digest,
    entries: u64,
    content_bytes: u64,
}

/// Why manifests are no stack.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// One of them cannot be read.
    #[error(transparent)]
    Entries(#[from] EntriesError),
    /// Never for entries that are read in order.
    #[error(transparent)]
    Order(#[from] OutOfOrder),
    /// A manifest stands where one of another kind belongs.
    #[error(
        "the manifest of {name} is {is}, and is given as {given}; `congruent bake --add-on` makes add-ons"
    )]
    Kind {
        /// Its name.
        name: String,
        /// What it is.
        is: &'static str,
        /// What it is given as.
        given: &'static str,
    },
    /// Two manifests have one name.
    #[error("the stack has two manifests named {0:?}; one of each name can be held to")]
    Twice(String),
    /// They were not computed alike.
    #[error("the manifests of {base} and {add_on} use different digests; bake both with the same --digest")]
    Algorithm {
        /// The base's name.
        base: String,
        /// The add-on's name.
        add_on: String,
    },
    /// Too many add-ons.
    #[error("the stack has {0} add-ons, the limit is {MAX_ADD_ONS}")]
    TooMany(usize),
    /// An add-on holds what is not its own.
    #[error(
        "the add-on {add_on} holds {path}, which the contract of {base} calls {class}: an add-on holds only what \
         is of class add-on, and the directories on the way there"
    )]
    Outside {
        /// The add-on's name.
        add_on: String,
        /// The base's name.
        base: String,
        /// The entry.
        path: TreePath,
        /// What the base says of it.
        class: Class,
    },
    /// Two manifests hold one path, and not the same directory.
    #[error("{one} and {other} both hold {path}; only a directory that is alike in both can be shared")]
    Claimed {
        /// One manifest's name.
        one: String,
        /// The other's.
        other: String,
        /// The path.
        path: TreePath,
    },
    /// An entry lies where another manifest of the stack has its reserved place.
    #[error("{name} holds {path}, which another manifest of the stack reserves; bake it without")]
    Reserved {
        /// The manifest's name.
        name: String,
        /// The entry.
        path: TreePath,
    },
    /// An add-on holds what its place forbids.
    #[error(
        "the add-on {add_on} holds {path}, which is {forbidden}: the contract of {base} forbids it there"
    )]
    Forbidden {
        /// The add-on's name.
        add_on: String,
        /// The base's name.
        base: String,
        /// The entry.
        path: TreePath,
        /// What is forbidden of it.
        forbidden: Forbidden,
    },
    /// An add-on's entry has an attribute that is not compared there.
    #[error("the add-on {add_on} holds {path} with the xattr {name:?}, which the contract puts out of scope")]
    XattrOutOfScope {
        /// The add-on's name.
        add_on: String,
        /// The entry.
        path: TreePath,
        /// The attribute's name, escaped.
        name: String,
    },
}

impl Stack {
    /// The stack of these verified manifests; `inputs` are their files, the
    /// base's first.
    ///
    /// # Errors
    /// When they do not go together.
    pub fn assemble<R: Read + Seek>(
        base: Manifest,
        add_ons: Vec<Manifest>,
        inputs: Vec<R>,
    ) -> Result<Self, StackError> {
        check_kinds(&base, &add_ons)?;
        let mut reserved = base.predicate().reserved.clone();
        reserved.extend(add_ons.iter().flat_map(|add_on| add_on.predicate().reserved.iter().cloned()));
        reserved.sort();
        reserved.dedup();
        let Predicate { root, entries, .. } = base.predicate();
        let (root, entries, content_bytes) = (*root, entries.count, entries.content_bytes);
        let mut stack = Self { base, add_ons, reserved, root, entries, content_bytes };
        if stack.add_ons.is_empty() {
            return Ok(stack);
        }
        let (mut entries, mut content_bytes) = (0, 0_u64);
        let mut hasher = TreeHasher::new(root.algorithm());
        let mut merge = Merge::new(&stack, inputs)?;
        while let Some(ListedEntry { path, entry }) = merge.next_entry()? {
            hasher.push(&path, Contribution::of(&entry, stack.contract().terms_of(&path)))?;
            entries += 1;
            if let Node::File { size, .. } = entry.node {
                content_bytes = content_bytes.saturating_add(size);
            }
        }
        drop(merge);
        (stack.root, stack.entries, stack.content_bytes) = (hasher.finish(), entries, content_bytes);
        Ok(stack)
    }

    /// The base.
    pub fn base(&self) -> &Manifest {
        &self.base
    }

    /// The add-ons, in the order given.
    pub fn add_ons(&self) -> &[Manifest] {
        &self.add_ons
    }

    /// What may change.
    pub fn contract(&self) -> &Contract {
        &self.base.predicate().contract
    }

    /// The places outside the tree.
    pub fn reserved(&self) -> &[TreePath] {
        &self.reserved
    }

    /// The tree root of the whole stack. Without add-ons it is the base's.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// How many entries it has.
    pub fn entries_count(&self) -> u64 {
        self.entries
    }

    /// The sum of all files' sizes.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// All entries in tree order, from the files that were verified.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn entries<R: Read + Seek>(&self, inputs: Vec<R>) -> Result<StackReader<'_, R>, EntriesError> {
        Ok(StackReader { merge: Merge::new(self, inputs)?, failed: false })
    }
}

/// Whether a manifest may be given as an add-on.
///
/// # Errors
/// When it is a base.
pub fn check_add_on(manifest: &Manifest) -> Result<(), StackError> {
    let Predicate { name, kind, .. } = manifest.predicate();
    match kind {
        ManifestKind::AddOn => Ok(()),
        ManifestKind::Base => Err(StackError::Kind { name: name.clone(), is: "a base", given: "an add-on" }),
    }
}

fn check_kinds(base: &Manifest, add_ons: &[Manifest]) -> Result<(), StackError> {
    if add_ons.len() > MAX_ADD_ONS {
        return Err(StackError::TooMany(add_ons.len()));
    }
    let base = base.predicate();
    if base.kind != ManifestKind::Base {
        return Err(StackError::Kind { name: base.name.clone(), is: "an add-on", given: "a base" });
    }
    let mut names = vec![&base.name];
    for add_on in add_ons {
        check_add_on(add_on)?;
        let add_on = add_on.predicate();
        if add_on.root.algorithm() != base.root.algorithm() {
            return Err(StackError::Algorithm { base: base.name.clone(), add_on: add_on.name.clone() });
        }
        if names.contains(&&add_on.name) {
            return Err(StackError::Twice(add_on.name.clone()));
        }
        names.push(&add_on.name);
    }
    Ok(())
}

/// All entries of a stack; ends after the first error.
pub struct StackReader<'a, R: Read> {
    merge: Merge<'a, R>,
    failed: bool,
}

impl<R: Read + Seek> Iterator for StackReader<'_, R> {
    type Item = Result<ListedEntry, EntriesError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.merge.next_entry().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next.map(|next| {
            next.map_err(|error| match error {
                StackError::Entries(error) => error,
                // The same bytes went together when the stack was assembled.
                other => EntriesError::Malformed { after: TreePath::root(), what: other.to_string() },
            })
        })
    }
}

struct Merge<'a, R: Read> {
    contract: &'a Contract,
    reserved: &'a [TreePath],
    members: Vec<Member<'a, R>>,
}

struct Member<'a, R: Read> {
    predicate: &'a Predicate,
    entries: Peekable<Checked<'a, R>>,
    /// Directories outside the add-on's places, until something in one of its
    /// places shows what they are for.
    unexplained: Vec<TreePath>,
}

/// The entries of one manifest, each held to the manifest's own rules.
struct Checked<'a, R: Read> {
    entries: EntriesReader<io::Take<R>>,
    rules: Rules<'a>,
}

impl<R: Read> Iterator for Checked<'_, R> {
    type Item = Result<ListedEntry, EntriesError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.entries.next()?;
        Some(next.and_then(|listed| self.rules.check(&listed).map(|_| listed)))
    }
}

impl<'a, R: Read + Seek> Merge<'a, R> {
    fn new(stack: &'a Stack, inputs: Vec<R>) -> Result<Self, EntriesError> {
        let manifests = [&stack.base].into_iter().chain(&stack.add_ons);
        let members = manifests.zip(inputs).map(|(manifest, input)| {
            let predicate = manifest.predicate();
            let entries =
                Checked { entries: manifest.entries(input)?, rules: Rules::of(predicate) }.peekable();
            Ok(Member { predicate, entries, unexplained: Vec::new() })
        });
        let (contract, reserved) = (stack.contract(), stack.reserved());
        Ok(Self { contract, reserved, members: members.collect::<Result<_, EntriesError>>()? })
    }

    fn next_entry(&mut self) -> Result<Option<ListedEntry>, StackError> {
        let [_] = &self.members[..] else { return self.next_of_several() };
        Ok(self.members[0].entries.next().transpose()?)
    }

    fn next_of_several(&mut self) -> Result<Option<ListedEntry>, StackError> {
        while let Some(path) = self.next_path()? {
            let terms = self.contract.terms_of(&path);
            let mut held: Option<(usize, Entry)> = None;
            for at in 0..self.members.len() {
                let Some(entry) = self.members[at].take(&path)? else { continue };
                if at > 0 && !self.claims(at, &path, terms, &entry)? {
                    continue;
                }
                if is_reserved(self.reserved, &path) {
                    return Err(StackError::Reserved { name: self.members[at].predicate.name.clone(), path });
                }
                match &held {
                    None => held = Some((at, entry)),
                    Some((_, known)) if is_shared(known, &entry) => {}
                    Some((other, _)) => {
                        let name = |at: usize| self.members[at].predicate.name.clone();
                        return Err(StackError::Claimed { one: name(*other), other: name(at), path });
                    }
                }
            }
            if let Some((at, entry)) = held {
                // Packages are numbered within one manifest.
                let package = if at == 0 { entry.package } else { 0 };
                return Ok(Some(ListedEntry { path, entry: Entry { package, ..entry } }));
            }
        }
        match self.members.iter().skip(1).find_map(|member| Some((member, member.unexplained.last()?))) {
            Some((member, path)) if !path.is_root() => Err(self.outside(member, path)),
            _ => Ok(None),
        }
    }

    /// The least path that any member has next.
    fn next_path(&mut self) -> Result<Option<TreePath>, EntriesError> {
        let mut least: Option<&TreePath> = None;
        for member in &mut self.members {
            if member.entries.peek().is_some_and(Result::is_err) {
                return member.entries.next().transpose().map(|_| None);
            }
            if let Some(Ok(listed)) = member.entries.peek()
                && least.is_none_or(|least| listed.path < *least)
            {
                least = Some(&listed.path);
            }
        }
        Ok(least.cloned())
    }

    /// Whether an add-on's entry is its own; otherwise it must be on the way to
    /// one that is.
    fn claims(
        &mut self,
        at: usize,
        path: &TreePath,
        terms: &Terms,
        entry: &Entry,
    ) -> Result<bool, StackError> {
        let member = &mut self.members[at];
        if let Some(idle) = member.unexplained.last()
            && !path.starts_with(idle)
        {
            let idle = idle.clone();
            return Err(self.outside(&self.members[at], &idle));
        }
        if terms.class != Class::AddOn {
            if !entry.node.is_directory() {
                return Err(self.outside(&self.members[at], path));
            }
            member.unexplained.push(path.clone());
            return Ok(false);
        }
        member.unexplained.clear();
        let (add_on, base) = (member.predicate.name.clone(), self.members[0].predicate.name.clone());
        if let Some(forbidden) = terms.forbidden_of(entry).first().copied() {
            return Err(StackError::Forbidden { add_on, base, path: path.clone(), forbidden });
        }
        match entry.xattrs.iter().find(|(name, _)| !terms.xattrs.contains(name)) {
            Some((name, _)) => {
                let name = escape(name).into_owned();
                Err(StackError::XattrOutOfScope { add_on, path: path.clone(), name })
            }
            None => Ok(true),
        }
    }

    fn outside(&self, member: &Member<'_, R>, path: &TreePath) -> StackError {
        StackError::Outside {
            add_on: member.predicate.name.clone(),
            base: self.members[0].predicate.name.clone(),
            path: path.clone(),
            class: self.contract.class_of(path),
        }
    }
}

impl<R: Read> Member<'_, R> {
    fn take(&mut self, path: &TreePath) -> Result<Option<Entry>, EntriesError> {
        let next = self.entries.next_if(|next| next.as_ref().map_or(true, |listed| listed.path == *path));
        next.transpose().map(|listed| listed.map(|listed| listed.entry))
    }
}

/// Whether two manifests hold the same directory.
fn is_shared(one: &Entry, other: &Entry) -> bool {
    one.node.is_directory()
        && other.node.is_directory()
        && (one.mode, one.uid, one.gid, &one.xattrs) == (other.mode, other.uid, other.gid, &other.xattrs)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::testing::{Baking, directory, file, path};

    const CONTRACT: &str = "base = 'none'\n[[rule]]\npath = '/opt/cni'\nclass = 'add-on'\n[[rule]]\npath = '/opt/cni/**'\nclass = 'add-on'\n\
                            forbid = ['setuid']\n";

    fn bake(name: &str, kind: ManifestKind, entries: &[(&str, Entry)]) -> (Manifest, Vec<u8>) {
        let tree: Vec<_> =
            entries.iter().map(|(p, entry)| ListedEntry { path: path(p), entry: entry.clone() }).collect();
        let contract = match kind {
            ManifestKind::Base => Contract::from_toml(CONTRACT).unwrap(),
            ManifestKind::AddOn => Contract::empty(),
        };
        let bytes = Baking { name, kind, contract, ..Baking::new(&tree) }.bake(&[]);
        (Manifest::read_unchecked(&mut Cursor::new(&bytes)).unwrap(), bytes)
    }

    type Tree<'a> = &'a [(&'a str, Entry)];

    fn assemble(base: Tree<'_>, add_ons: &[(&str, Tree<'_>)]) -> Result<Vec<String>, String> {
        let (base, bytes) = bake("web", ManifestKind::Base, base);
        let mut files = vec![bytes];
        let mut manifests = Vec::new();
        for (name, tree) in add_ons {
            let (manifest, bytes) = bake(name, ManifestKind::AddOn, tree);
            manifests.push(manifest);
            files.push(bytes);
        }
        let inputs = || files.iter().map(Cursor::new).collect::<Vec<_>>();
        let stack = Stack::assemble(base, manifests, inputs()).map_err(|error| error.to_string())?;
        let paths: Vec<_> = stack.entries(inputs()).unwrap().map(|e| e.unwrap().path.to_string()).collect();
        assert_eq!(paths.len() as u64, stack.entries_count());
        Ok(paths)
    }

    #[test]
    fn add_ons_hold_what_is_theirs() {
        let dir = directory;
        let base: Tree<'_> = &[("/", dir()), ("/opt", dir()), ("/opt/cni", dir()), ("/z", file(b""))];
        let bridge: Tree<'_> =
            &[("/", dir()), ("/opt", dir()), ("/opt/cni", dir()), ("/opt/cni/bridge", file(b"b"))];
        let host: Tree<'_> =
            &[("/", dir()), ("/opt", dir()), ("/opt/cni", dir()), ("/opt/cni/a", file(b"a"))];
        let paths = assemble(base, &[("bridge", bridge), ("host", host)]).unwrap();
        assert_eq!(paths, ["/", "/opt", "/opt/cni", "/opt/cni/a", "/opt/cni/bridge", "/z"]);
        assert_eq!(assemble(base, &[("none", &[("/", dir())])]).unwrap().len(), 4);
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let dir = directory;
        let base: Tree<'_> = &[("/", dir()), ("/opt", dir()), ("/opt/cni", dir())];
        let own: Tree<'_> = &[("/", dir()), ("/opt", dir()), ("/opt/cni", dir()), ("/opt/cni/x", file(b"x"))];
        let other: Tree<'_> =
            &[("/", dir()), ("/opt", dir()), ("/opt/cni", dir()), ("/opt/cni/x", file(b"y"))];
        let open: Tree<'_> = &[("/", dir()), ("/opt", dir()), ("/opt/cni", Entry { mode: 0o777, ..dir() })];
        let setuid: Tree<'_> = &[
            ("/", dir()),
            ("/opt", dir()),
            ("/opt/cni", dir()),
            ("/opt/cni/x", Entry { mode: 0o4755, ..file(b"x") }),
        ];
        for (add_ons, says) in [
            (&[("a", own), ("b", other)][..], "a and b both hold /opt/cni/x"),
            (&[("a", open)], "web and a both hold /opt/cni"),
            (&[("a", own), ("a", other)], "two manifests named \"a\""),
            (&[("a", setuid)], "which is setuid"),
            (
                &[("a", &[("/", dir()), ("/etc", dir())])],
                "holds /etc, which the contract of web calls immutable",
            ),
            (&[("a", &[("/", dir()), ("/etc", dir()), ("/f", file(b""))])], "holds /etc, which"),
            (&[("a", &[("/", dir()), ("/f", file(b""))])], "holds /f, which"),
            (&[("a", &[("/", dir()), ("/opt", dir())])], "holds /opt, which"),
        ] {
            let error = assemble(base, add_ons).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let with_manifest: Tree<'_> = &[
            ("/", dir()),
            ("/etc", dir()),
            ("/etc/congruent", dir()),
            ("/etc/congruent/a.manifest", file(b"")),
        ];
        assert!(assemble(with_manifest, &[]).is_ok());
        let error = assemble(with_manifest, &[("a", &[("/", dir())])]).unwrap_err();
        assert!(
            error.contains("/etc/congruent/a.manifest, which another manifest of the stack reserves"),
            "{error}"
        );
        let (add_on, bytes) = bake("a", ManifestKind::AddOn, own);
        let error = Stack::assemble(add_on, vec![], vec![Cursor::new(bytes)]).unwrap_err().to_string();
        assert!(error.contains("is an add-on, and is given as a base"), "{error}");
    }
}
