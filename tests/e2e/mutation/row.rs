//! A row of the table, the words that rows are written in, and what was baked.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Result;
use congruent_protocol::contract::Class;
use congruent_protocol::drift::{Change, Finding};
use congruent_protocol::entry::Node;
use congruent_protocol::key::PublicKey;
use congruent_protocol::manifest::{ListedEntry, Manifest};
use congruent_protocol::normalise::is_reserved;
use congruent_protocol::path::TreePath;
use congruent_protocol::trust::Trust;
use congruent_tests::agent;
use congruent_tests::sandbox::{KeyFiles, Sandbox};

/// One way to change a tree, and what must be found.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Changes the copy at this path.
    pub(crate) mutate: fn(&Path) -> Result<()>,
    /// The findings, in tree order.
    pub(crate) expect: fn(&Baked) -> Vec<Expected>,
    /// Who looks, and over which mounts.
    pub(crate) view: View,
    /// What lies under mounts: the mount point, and how many baked entries it hides.
    pub(crate) hidden: fn(&Baked) -> Vec<(&'static str, u64)>,
    /// What could not be read, in tree order.
    pub(crate) unreadable: fn(&Baked) -> Vec<String>,
}

/// Who looks at the tree, and over which mounts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View {
    /// We do, as it is.
    Plain,
    /// We do, after these shell commands in a mount namespace of its own; `$ROOT`
    /// is the tree.
    Mounted(&'static str),
    /// A user without rights.
    Nobody,
    /// We do, and may open no more files than this.
    FewDescriptors(u32),
}

/// A finding, as far as a row says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) path: TreePath,
    pub(crate) change: Change,
    pub(crate) fields: Vec<String>,
}

/// A row that looks at the changed tree plainly.
pub(crate) fn row(
    name: &'static str,
    mutate: fn(&Path) -> Result<()>,
    expect: fn(&Baked) -> Vec<Expected>,
) -> Row {
    Row { name, mutate, expect, view: View::Plain, hidden: |_| Vec::new(), unreadable: |_| Vec::new() }
}

pub(crate) fn nothing(_: &Baked) -> Vec<Expected> {
    Vec::new()
}

pub(crate) fn modified(path: &str, fields: &[&str]) -> Expected {
    let fields = fields.iter().map(|&field| field.to_owned()).collect();
    Expected { path: TreePath::new(path).unwrap(), change: Change::Modified, fields }
}

pub(crate) fn added(path: impl Into<Vec<u8>>) -> Expected {
    changed(path, Change::Added)
}

pub(crate) fn removed(path: impl Into<Vec<u8>>) -> Expected {
    changed(path, Change::Removed)
}

pub(crate) fn replaced(path: &str) -> Expected {
    changed(path, Change::Replaced)
}

pub(crate) fn mounted_over(path: &str) -> Expected {
    changed(path, Change::MountedOver)
}

fn changed(path: impl Into<Vec<u8>>, change: Change) -> Expected {
    Expected { path: TreePath::new(path).unwrap(), change, fields: Vec::new() }
}

impl From<&Finding> for Expected {
    fn from(finding: &Finding) -> Self {
        let fields = finding.fields.iter().map(ToString::to_string).collect();
        Self { path: finding.path.clone(), change: finding.change, fields }
    }
}

/// The tree that rows copy, and its manifest.
pub(crate) struct Baked {
    pub(crate) tree: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) manifest_file: PathBuf,
    pub(crate) public_key: PathBuf,
    pub(crate) entries: Vec<ListedEntry>,
}

impl Baked {
    /// Bakes `tree` by the real binary, and reads the manifest back.
    pub(crate) fn bake(tree: &Path, contract: &str, sandbox: &Sandbox) -> Result<Self> {
        let keys: KeyFiles = sandbox.openssl_key("key")?;
        let contract = sandbox.write("contract.toml", contract)?;
        let manifest_file = sandbox.path("web.manifest");
        agent::bake(tree, Some(&contract), &keys, &manifest_file)?;
        let mut file = File::open(&manifest_file)?;
        let trusted = PublicKey::from_pem(&fs::read_to_string(&keys.public)?)?;
        let manifest = Manifest::verify(&mut file, &Trust::any_of(vec![trusted]), jiff::Timestamp::now())?;
        let entries = manifest.entries(file)?.collect::<Result<_, _>>()?;
        Ok(Self { tree: tree.to_owned(), manifest, manifest_file, public_key: keys.public, entries })
    }

    /// The baked entries at `path` and beneath it.
    pub(crate) fn beneath(&self, path: &str) -> impl Iterator<Item = &ListedEntry> {
        let top = TreePath::new(path).unwrap();
        let found = self.entries.iter().filter(move |listed| listed.path.starts_with(&top));
        assert!(found.clone().next().is_some(), "the tree has no {path}");
        found
    }

    /// How many there are.
    pub(crate) fn count(&self, path: &str) -> u64 {
        self.beneath(path).count() as u64
    }

    /// The removal of `path` and all beneath it.
    pub(crate) fn all_removed(&self, path: &str) -> Vec<Expected> {
        self.beneath(path).map(|listed| removed(listed.path.as_bytes())).collect()
    }

    /// The same for what lies beneath alone.
    pub(crate) fn beneath_removed(&self, path: &str) -> Vec<Expected> {
        self.all_removed(path).split_off(1)
    }

    /// The addition of all that lies at `from`, under another name.
    pub(crate) fn all_added_as(&self, from: &str, to: &str) -> Vec<Expected> {
        let renamed = |listed: &ListedEntry| [to.as_bytes(), &listed.path.as_bytes()[from.len()..]].concat();
        self.beneath(from).map(|listed| added(renamed(listed))).collect()
    }

    /// What the contract makes of `path`.
    pub(crate) fn class_of(&self, path: &TreePath) -> Class {
        let predicate = self.manifest.predicate();
        if is_reserved(&predicate.reserved, path) {
            return Class::Reserved;
        }
        predicate.contract.class_of(path)
    }

    /// What was baked at `path`.
    pub(crate) fn node(&self, path: &TreePath) -> Option<&Node> {
        self.entries.iter().find(|listed| listed.path == *path).map(|listed| &listed.entry.node)
    }
}
