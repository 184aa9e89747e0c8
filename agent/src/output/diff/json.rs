//! A diff as one JSON document, with everything.

use std::io::{self, Write};

use congruent_protocol::contract::Class;
use congruent_protocol::digest::Digest;
use congruent_protocol::drift::{Attributes, Change, Field};
use congruent_protocol::manifest::Package;
use congruent_protocol::path::TreePath;
use serde::{Serialize, Serializer};

use super::{Page, Side, why_no_packages};
use crate::diff::allow::{Judgement, Undeclared};
use crate::diff::{
    Belongs, Changed, ContractChanges, Counts, Diff, PackageChange, PackageChangeKind, WordChange, places,
};
use crate::output;

/// The version of the JSON document.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    old: Image<'a>,
    new: Image<'a>,
    entries: Counts,
    #[serde(skip_serializing_if = "Option::is_none")]
    packages: Option<Packages<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packages_not_compared: Option<&'static str>,
    directories: Vec<Directory>,
    contract: Contract<'a>,
    origin: &'a [WordChange],
    changes: Entries<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<Allow<'a>>,
}

#[derive(Serialize)]
struct Image<'a> {
    name: &'a str,
    version: &'a str,
    root: &'a Digest,
    was_checked: bool,
    signed_by: Vec<String>,
    signatures_claimed: &'a [String],
}

#[derive(Serialize)]
struct Packages<'a> {
    manager: &'a str,
    changes: Vec<OnePackage<'a>>,
    /// The packages of one version in both images with entries that differ.
    outside: Vec<Outside<'a>>,
}

#[derive(Serialize)]
struct OnePackage<'a> {
    name: &'a str,
    architecture: &'a str,
    change: PackageChangeKind,
    from: Option<&'a str>,
    to: Option<&'a str>,
    entries: Counts,
}

#[derive(Serialize)]
struct Outside<'a> {
    #[serde(flatten)]
    package: &'a Package,
    entries: Counts,
}

/// A directory with changes that belong to no package.
#[derive(Serialize)]
struct Directory {
    #[serde(flatten)]
    path: TreePath,
    entries: Counts,
    /// Whether it came or went itself, with all in it.
    whole: Option<Change>,
}

#[derive(Serialize)]
struct Contract<'a> {
    changed: bool,
    #[serde(flatten)]
    changes: &'a ContractChanges,
}

/// Every entry that differs, made when it is written: with all attributes they
/// are larger than the diff.
struct Entries<'a>(&'a Diff);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(diff) = self;
        serializer.collect_seq(diff.changes.iter().map(|changed| entry(diff, changed)))
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(flatten)]
    path: &'a TreePath,
    change: Change,
    #[serde(skip_serializing_if = "<[Field]>::is_empty")]
    fields: &'a [Field],
    class: Class,
    /// The package that it changed with, or outside the version of which.
    package: Option<PackageName<'a>>,
    outside: bool,
    old: Option<Attributes>,
    new: Option<Attributes>,
}

#[derive(Clone, Copy, Serialize)]
struct PackageName<'a> {
    name: &'a str,
    architecture: &'a str,
}

#[derive(Serialize)]
struct Allow<'a> {
    undeclared: Vec<UndeclaredChange<'a>>,
    unused: &'a [String],
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum UndeclaredChange<'a> {
    Package(OnePackage<'a>),
    Entry {
        #[serde(flatten)]
        path: &'a TreePath,
        change: Change,
    },
    Contract,
}

pub(crate) fn json(out: &mut impl Write, page: &Page<'_>) -> io::Result<()> {
    let diff = page.diff;
    let document = Document {
        schema_version: SCHEMA,
        old: image(&page.old),
        new: image(&page.new),
        entries: diff.counts(),
        packages: packages(diff),
        packages_not_compared: why_no_packages(page),
        directories: directories(diff),
        contract: Contract { changed: !diff.contract.is_empty(), changes: &diff.contract },
        origin: &diff.origin,
        changes: Entries(diff),
        allow: page.judgement.map(|judgement| allow(diff, judgement)),
    };
    output::json(out, &document)
}

fn image<'a>(side: &Side<'a>) -> Image<'a> {
    let predicate = side.predicate();
    let signed_by = side.manifest.signed_by();
    Image {
        name: &predicate.name,
        version: &predicate.version,
        root: &predicate.root,
        was_checked: side.was_checked,
        signed_by: signed_by.verified.iter().map(ToString::to_string).collect(),
        signatures_claimed: &signed_by.claimed,
    }
}

fn packages(diff: &Diff) -> Option<Packages<'_>> {
    let packages = diff.packages.as_ref()?;
    let outside = diff.outside().into_iter();
    let outside = outside.map(|(package, entries)| Outside { package, entries: Counts::of(entries) });
    Some(Packages {
        manager: &packages.manager,
        changes: packages.changes.iter().map(one_package).collect(),
        outside: outside.collect(),
    })
}

fn one_package(change: &PackageChange) -> OnePackage<'_> {
    OnePackage {
        name: &change.name,
        architecture: &change.architecture,
        change: change.kind(),
        from: change.from.as_deref(),
        to: change.to.as_deref(),
        entries: change.entries,
    }
}

fn directories(diff: &Diff) -> Vec<Directory> {
    let directory = |place: crate::diff::Place<'_>| Directory {
        entries: place.counts(),
        whole: place.whole(),
        path: place.directory,
    };
    places(diff).into_iter().map(directory).collect()
}

fn entry<'a>(diff: &'a Diff, changed: &'a Changed) -> Entry<'a> {
    let finding = changed.finding();
    Entry {
        path: &changed.path,
        change: changed.change,
        fields: &changed.fields,
        class: changed.class,
        package: package_of(diff, changed),
        outside: matches!(changed.belongs, Belongs::Outside(_)),
        old: finding.expected,
        new: finding.observed,
    }
}

fn package_of<'a>(diff: &'a Diff, changed: &Changed) -> Option<PackageName<'a>> {
    let packages = diff.packages.as_ref()?;
    let (name, architecture) = match changed.belongs {
        Belongs::Package(index) => {
            packages.changes.get(index).map(|change| (&change.name, &change.architecture))?
        }
        Belongs::Outside(_) => {
            diff.outside_of(changed).map(|package| (&package.name, &package.architecture))?
        }
        Belongs::Nowhere => return None,
    };
    Some(PackageName { name, architecture })
}

fn allow<'a>(diff: &'a Diff, judgement: &'a Judgement) -> Allow<'a> {
    let change = |undeclared: &Undeclared| match *undeclared {
        Undeclared::Package(index) => {
            let packages = diff.packages.as_ref()?;
            packages.changes.get(index).map(|change| UndeclaredChange::Package(one_package(change)))
        }
        Undeclared::Entry(index) => {
            let Changed { path, change, .. } = diff.changes.get(index)?;
            Some(UndeclaredChange::Entry { path, change: *change })
        }
        Undeclared::Contract => Some(UndeclaredChange::Contract),
    };
    Allow { undeclared: judgement.undeclared.iter().filter_map(change).collect(), unused: &judgement.unused }
}
