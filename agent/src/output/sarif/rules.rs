//! The rules that findings and gaps break, each described once.
//!
//! Ids are for good: an id that was given out never means anything else.

use congruent_protocol::drift::Change;

use super::log::{Configuration, Descriptor, Level, Messages, Text};
use crate::output::Cause;

/// A rule, as it is written here.
pub(super) struct Rule {
    /// Stable.
    pub(super) id: &'static str,
    name: &'static str,
    /// What the rule asks for.
    asks: &'static str,
    /// What may be behind it when it is broken, and what to do.
    help: &'static str,
    /// What happened to a path that breaks it.
    pub(super) happened: &'static str,
    pub(super) level: Level,
}

pub(super) const RULES: [Rule; 8] = [
    Rule {
        id: "CNG1001",
        name: "AddedPath",
        asks: "Nothing is there that was not baked.",
        help: "Somebody or something made this path after the image was baked. If the image's software \
               does so by design, give the path a class in the contract and bake again; else replace the \
               node by a fresh copy of the image.",
        happened: "was added",
        level: Level::Error,
    },
    Rule {
        id: "CNG1002",
        name: "RemovedPath",
        asks: "All that was baked is there.",
        help: "This path was baked and is gone. If it is meant to go, give it a class in the contract that \
               lets it, and bake again; else replace the node by a fresh copy of the image.",
        happened: "was removed",
        level: Level::Error,
    },
    Rule {
        id: "CNG1003",
        name: "ModifiedPath",
        asks: "What was baked has the attributes that were baked.",
        help: "Content, mode, owner or another attribute is not what was baked; the result says which, \
               and what it was and is. If it is meant to change, give the path a class in the contract and \
               bake again; else replace the node by a fresh copy of the image.",
        happened: "was modified",
        level: Level::Error,
    },
    Rule {
        id: "CNG1004",
        name: "ReplacedPath",
        asks: "What was baked is of the kind that was baked.",
        help: "A file became a link, a directory a file, or the like. Replace the node by a fresh copy of \
               the image.",
        happened: "was replaced",
        level: Level::Error,
    },
    Rule {
        id: "CNG1005",
        name: "MountedOverPath",
        asks: "Only what the contract names is mounted.",
        help: "A mount that the contract does not name, or not like this, hides what was baked. If it is \
               meant to be there, name it in the contract and bake again; else unmount it or replace the \
               node.",
        happened: "was mounted over",
        level: Level::Error,
    },
    Rule {
        id: "CNG2001",
        name: "UnreadablePath",
        asks: "All that was baked can be read.",
        help: "This path, for a directory with all beneath it, could not be read: it is neither known to \
               be as baked nor known to differ. Verify as a user who may read everything, such as root.",
        happened: "could not be read",
        level: Level::Warning,
    },
    Rule {
        id: "CNG2002",
        name: "UnstablePath",
        asks: "What was baked holds still while it is read.",
        help: "This path changed each time it was read: it is neither known to be as baked nor known to \
               differ. Find out what writes to it. If it is meant to, give the path a class in the contract \
               and bake again.",
        happened: "changed while it was read",
        level: Level::Warning,
    },
    Rule {
        id: "CNG2003",
        name: "UncheckedClaim",
        asks: "All that a spec of another program says is checked.",
        help: "The mtree spec says something that is not checked, and nothing else proves it: it is neither \
               known to hold nor known not to. Write the spec with keywords that are checked, such as \
               sha256digest for content.",
        happened: "was not held to all that the spec says",
        level: Level::Warning,
    },
];

/// The place in [`RULES`] of the rule that a change breaks.
pub(super) fn of_change(change: Change) -> usize {
    match change {
        Change::Added => 0,
        Change::Removed => 1,
        Change::Modified => 2,
        Change::Replaced => 3,
        Change::MountedOver => 4,
    }
}

/// The place in [`RULES`] of the rule that a gap breaks.
pub(super) fn of_gap(cause: Cause<'_>) -> usize {
    match cause {
        Cause::Unreadable => 5,
        Cause::Unstable => 6,
        Cause::Unchecked(_) => 7,
    }
}

impl Rule {
    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor {
            id: self.id,
            name: self.name,
            short_description: Text::new(self.asks),
            full_description: Text::new(format!("{} {}", self.asks, self.help)),
            help: Text::new(self.help),
            message_strings: Messages { default: Text::new(format!("'{{0}}' {}: {{1}}.", self.happened)) },
            default_configuration: Configuration { level: self.level },
        }
    }
}
