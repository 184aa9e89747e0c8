//! Places that a rule could be about: single paths, and globs where names are made
//! up anew in each boot.
//!
//! A name becomes a glob only where at least two names of one shape were added to
//! one directory, and not each of them every time.

use std::collections::{BTreeMap, BTreeSet};

use congruent_protocol::drift::Change;
use congruent_protocol::entry::Kind;

use super::evidence::{Sighting, Sightings};
use super::names::{escape_glob, group};

/// So many rules beneath one made-up directory are told as one for all beneath it.
const MANY: usize = 8;

/// A place, and all that was seen there.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) glob: String,
    /// How many `*` the glob has, and far more for a `**`.
    pub(super) wildness: usize,
    pub(super) sightings: Vec<Sighting<'a>>,
    /// How often it could have been seen: once for each directory that was there
    /// to hold it, in each outcome.
    pub(super) chances: usize,
}

#[derive(Debug, Default)]
struct Node<'a> {
    children: BTreeMap<&'a str, Node<'a>>,
    sightings: Vec<Sighting<'a>>,
}

/// The places of these sightings, from outcomes in this number. Globs in
/// `refused` are not made: their names stand by themselves.
pub(super) fn places<'a>(
    sightings: &Sightings<'a>,
    outcomes: usize,
    refused: &BTreeSet<String>,
) -> Vec<Place<'a>> {
    let mut root = Node::default();
    for (path, seen) in sightings {
        let text = std::str::from_utf8(path.as_bytes()).unwrap_or_default();
        let names = text.split('/').filter(|name| !name.is_empty());
        let node = names.fold(&mut root, |node, name| node.children.entry(name).or_default());
        node.sightings.extend(seen);
    }
    let mut gathering = Gathering { outcomes, refused, places: Vec::new() };
    gathering.beneath(&[&root], "", 0, outcomes);
    let mut places = gathering.places;
    // The last rule that matches decides: the narrower come later.
    places.sort_by(|a, b| b.wildness.cmp(&a.wildness).then_with(|| a.glob.cmp(&b.glob)));
    places
}

struct Gathering<'r, 'a> {
    outcomes: usize,
    refused: &'r BTreeSet<String>,
    places: Vec<Place<'a>>,
}

impl<'a> Gathering<'_, 'a> {
    /// Goes through what lies in directories that one glob stands for.
    fn beneath(&mut self, directories: &[&Node<'a>], glob: &str, wildness: usize, chances: usize) {
        let mut named: BTreeMap<&str, Vec<&Node<'a>>> = BTreeMap::new();
        for (name, child) in directories.iter().flat_map(|directory| &directory.children) {
            named.entry(name).or_default().push(child);
        }
        for is_directory in [false, true] {
            let varying = named.iter().filter(|(_, nodes)| {
                varies(nodes, chances) && nodes.iter().any(|node| node.is_directory()) == is_directory
            });
            for shaped in group(varying.map(|(name, _)| *name)) {
                let glob = format!("{glob}/{}", shaped.glob);
                if self.refused.contains(&glob) {
                    continue;
                }
                let stars = shaped.glob.matches('*').count() - shaped.glob.matches("\\*").count();
                let nodes: Vec<_> =
                    shaped.names.iter().filter_map(|name| named.remove(name)).flatten().collect();
                self.place(&nodes, &glob, wildness + stars, chances, true);
            }
        }
        for (name, nodes) in named {
            self.place(&nodes, &format!("{glob}/{}", escape_glob(name)), wildness, chances, false);
        }
    }

    fn place(&mut self, nodes: &[&Node<'a>], glob: &str, wildness: usize, chances: usize, varies: bool) {
        let sightings: Vec<_> = nodes.iter().flat_map(|node| &node.sightings).copied().collect();
        if !sightings.is_empty() {
            self.places.push(Place { glob: glob.to_owned(), wildness, sightings, chances });
        }
        let before = self.places.len();
        let chances = nodes.iter().map(|node| node.times_there(self.outcomes)).sum();
        self.beneath(nodes, glob, wildness, chances);
        let all_beneath = format!("{glob}/**");
        if varies && self.places.len() - before > MANY && !self.refused.contains(&all_beneath) {
            let sightings = self.places.drain(before..).flat_map(|place| place.sightings).collect();
            let wildness = wildness + 1000;
            self.places.push(Place { glob: all_beneath, wildness, sightings, chances });
        }
    }
}

impl Node<'_> {
    fn times_added(&self) -> usize {
        self.sightings.iter().filter(|seen| seen.finding.change == Change::Added).count()
    }

    /// In how many outcomes it was there: in all of them unless it was added.
    fn times_there(&self, outcomes: usize) -> usize {
        match self.times_added() {
            0 => outcomes,
            added => added,
        }
    }

    fn is_directory(&self) -> bool {
        let is = |seen: &Sighting<'_>| {
            seen.finding.observed.as_ref().is_some_and(|observed| observed.kind == Kind::Directory)
        };
        self.sightings.iter().any(is)
    }
}

/// Whether what is there was only ever added, and not every time.
fn varies(nodes: &[&Node<'_>], chances: usize) -> bool {
    let added: usize = nodes.iter().map(|node| node.times_added()).sum();
    let sightings: usize = nodes.iter().map(|node| node.sightings.len()).sum();
    added > 0 && added == sightings && added < chances
}
