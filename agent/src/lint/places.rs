//! Places: what is known by its path alone, or by its path and a word in it.

use std::sync::LazyLock;

use congruent_protocol::contract::glob;
use congruent_protocol::entry::Node;
use globset::{Candidate, GlobSet, GlobSetBuilder};
use memchr::memmem;

use super::{Hit, Lint, Look, add, credentials, identity, keys, leftovers};

/// Paths at which something is amiss.
pub(super) struct Place {
    /// A glob over the whole path, with the contract's meaning.
    pub(super) glob: &'static str,
    pub(super) lint: Lint,
    pub(super) what: &'static str,
    pub(super) when: When,
}

/// What an entry must be for its place to count.
pub(super) enum When {
    /// There at all.
    There,
    /// Anything but a directory.
    NoDirectory,
    /// A regular file with content.
    Filled,
    /// A regular file whose first bytes hold one of these.
    Holds(&'static [&'static str]),
    /// A regular file whose first bytes hold `://USER:PASSWORD@`.
    HoldsUrlPassword,
}

impl Place {
    pub(super) const fn new(lint: Lint, glob: &'static str, when: When, what: &'static str) -> Self {
        Self { glob, lint, what, when }
    }
}

/// All places, and the one matcher for their globs; a match is an index.
struct Table {
    places: Vec<&'static Place>,
    globs: GlobSet,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let families = [identity::PLACES, keys::PLACES, credentials::PLACES, leftovers::PLACES];
    let places: Vec<_> = families.into_iter().flatten().collect();
    let mut globs = GlobSetBuilder::new();
    for place in &places {
        globs.add(glob(place.glob).expect("a test compiles every glob here"));
    }
    Table { places, globs: globs.build().expect("a test builds this set") }
});

pub(super) fn look(look: Look<'_>, hits: &mut Vec<Hit>) {
    let path = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(look.path);
    for index in TABLE.globs.matches_candidate(&Candidate::new(path)) {
        let Place { lint, what, when, .. } = TABLE.places[index];
        if holds(when, look) {
            add(hits, *lint, *what);
        }
    }
}

fn holds(when: &When, look: Look<'_>) -> bool {
    let is_filled = matches!(look.entry.node, Node::File { size: 1.., .. });
    match when {
        When::There => true,
        When::NoDirectory => !look.entry.node.is_directory(),
        When::Filled => is_filled,
        When::Holds(words) => {
            is_filled && words.iter().any(|word| memmem::find(look.head, word.as_bytes()).is_some())
        }
        When::HoldsUrlPassword => is_filled && holds_url_password(look.head),
    }
}

/// Whether a URL with user and password stands anywhere. A password that is a
/// variable, such as `${TOKEN}`, is none.
fn holds_url_password(head: &[u8]) -> bool {
    memmem::find_iter(head, b"://").any(|at| {
        let rest = &head[at + 3..];
        let end = rest.iter().position(|&b| b.is_ascii_whitespace() || matches!(b, b'/' | b'"' | b'\''));
        let authority = &rest[..end.unwrap_or(rest.len())];
        let Some(at) = memchr::memrchr(b'@', authority) else { return false };
        let user = &authority[..at];
        memchr::memchr(b':', user).is_some_and(|colon| {
            colon > 0 && user.get(colon + 1).is_some_and(|&first| !matches!(first, b'$' | b'%' | b'<' | b'{'))
        })
    })
}
