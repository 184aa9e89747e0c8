//! Which of a node's containers is meant by a word, as the agent and the runtimes take
//! one. Pure.

use congruent_protocol::path::escape;
use congruent_protocol::report::ContainerIdentity;

use crate::store::{StateRow, SubjectRow};
use crate::subject::SubjectId;

/// How much of an id runtimes show.
const SHORT_ID: usize = 12;
/// How many candidates are named.
const NAMED: usize = 10;

/// A container that may be meant. Name and runtime are as its node says.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) runtime: Option<String>,
    /// Whether it runs no more.
    pub(super) is_over: bool,
}

/// Why a word means no container.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChooseError {
    #[error(
        "no container on {node:?} has the id or name {word:?}, or an id that begins so; \
         `congruent-server container list --node NODE` has those that run"
    )]
    None { node: String, word: String },
    #[error("{word:?} may be any of {candidates}: give more of the id")]
    Several { word: String, candidates: String },
}

impl Candidate {
    /// A container that runs; none where it is a node.
    pub(super) fn running(row: SubjectRow) -> Option<Self> {
        Self::of(row.id, row.identity, false)
    }

    /// A container that was over with this; none where it is a node.
    pub(super) fn over(row: StateRow) -> Option<Self> {
        Self::of(row.subject, row.identity, true)
    }

    fn of(subject: SubjectId, identity: Option<ContainerIdentity>, is_over: bool) -> Option<Self> {
        let (name, runtime) =
            identity.map(|identity| (identity.name, Some(identity.runtime))).unwrap_or_default();
        Some(Self { id: subject.container?, name, runtime, is_over })
    }

    /// How it is told from others.
    fn told(&self) -> String {
        let over = if self.is_over { " (over)" } else { "" };
        match &self.runtime {
            Some(runtime) => format!("{} {}{over}", escape(runtime.as_bytes()), self.id),
            None => format!("{}{over}", self.id),
        }
    }
}

impl ChooseError {
    pub(super) fn none(node: &str, word: &str) -> Self {
        Self::None { node: node.to_owned(), word: word.to_owned() }
    }

    fn several(word: &str, found: &[&Candidate]) -> Self {
        let mut named: Vec<_> = found.iter().take(NAMED).map(|one| one.told()).collect();
        if found.len() > NAMED {
            named.push(format!("{} more", found.len() - NAMED));
        }
        Self::Several { word: word.to_owned(), candidates: named.join(", ") }
    }
}

/// The one container on a node that is meant: a whole id comes first, then a whole name, then
/// the beginning of an id. As much of an id as runtimes show counts as much as a name, or
/// whoever names a container after another's id could have it stand for that.
pub(super) fn choose<'a>(
    node: &str,
    candidates: &'a [Candidate],
    word: &str,
) -> Result<&'a Candidate, ChooseError> {
    let begins = |one: &Candidate| !word.is_empty() && one.id.starts_with(word);
    let is_shown = |one: &Candidate| word.len() >= SHORT_ID && begins(one);
    let like: [&dyn Fn(&Candidate) -> bool; 3] =
        [&|one| one.id == word, &|one| one.name.as_deref() == Some(word) || is_shown(one), &begins];
    for is_meant in like {
        let found: Vec<_> = candidates.iter().filter(|one| is_meant(one)).collect();
        match found[..] {
            [] => {}
            [one] => return Ok(one),
            _ => return Err(ChooseError::several(word, &found)),
        }
    }
    Err(ChooseError::none(node, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(runtime: Option<&str>, id: &str, name: Option<&str>) -> Candidate {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Candidate { id: id.to_owned(), name: owned(name), runtime: owned(runtime), is_over: false }
    }

    #[test]
    fn words_mean_one_container() {
        let all = [
            candidate(Some("docker"), "aa01", Some("shop")),
            candidate(Some("docker"), "aa02", Some("aa")),
            candidate(Some("podman"), "bb01", Some("db")),
            candidate(Some("cr\u{1b}io"), "bb02", Some("db")),
            candidate(Some("docker"), "cc01", Some("cc")),
            candidate(Some("docker"), "dd01", Some("web")),
            candidate(Some("containerd"), "web-2", Some("bb01")),
            Candidate { is_over: true, ..candidate(None, "web-3", None) },
            candidate(Some("docker"), "0123456789abcdef", None),
            candidate(Some("docker"), "ee01", Some("0123456789ab")),
        ];
        let check = |word: &str, expected: Result<&str, &str>| {
            let chosen = choose("web-1", &all, word).map(|one| one.id.clone()).map_err(|why| why.to_string());
            match expected {
                Ok(id) => assert_eq!(chosen.as_deref(), Ok(id), "{word}"),
                Err(why) => {
                    assert!(chosen.as_ref().is_err_and(|said| said.contains(why)), "{word}: {chosen:?}");
                }
            }
        };
        check("aa01", Ok("aa01"));
        check("cc", Ok("cc01"));
        check("shop", Ok("aa01"));
        check("web-3", Ok("web-3"));
        check("bb02", Ok("bb02"));
        // Whoever names a container cannot have it stand for another.
        check("bb01", Ok("bb01"));
        check("0123456789ab", Err("may be any of docker 0123456789abcdef, docker ee01: give more of the id"));
        check("0123456789a", Ok("0123456789abcdef"));
        check("aa", Ok("aa02"));
        check("web", Ok("dd01"));
        check("db", Err("\"db\" may be any of podman bb01, cr\\x1bio bb02: give more of the id"));
        check("web-", Err("may be any of containerd web-2, web-3 (over): give"));
        check("zz", Err("no container on \"web-1\" has the id or name \"zz\", or an id that begins so"));
        check("", Err("no container"));
    }

    #[test]
    fn of_many_candidates_some_are_named() {
        let many: Vec<_> = (10..30).map(|number| candidate(None, &format!("c{number}"), None)).collect();
        let said = choose("web-1", &many, "c").map(|one| one.id.clone()).unwrap_err().to_string();
        assert!(said.ends_with("c18, c19, 10 more: give more of the id"), "{said}");
    }
}
