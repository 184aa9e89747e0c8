//! The floor: paths that no contract may loosen, set by operators.
//!
//! Whether a rule can match a path of the floor is decided for the globs
//! themselves, not for the paths that happen to be baked: both become automata,
//! and a path that both accept is looked for. It is shown, as the proof.

use std::collections::{HashSet, VecDeque};

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::{primitives::StateID, start, syntax};
use regex_automata::{Anchored, MatchKind, nfa::thompson};

use super::matcher::{Matcher, Progress};
use super::{Class, Contract, MountContent, Rule, glob};
use crate::path::{TreePath, escape};

/// What no contract may loosen unless operators say otherwise.
const DEFAULT: [&str; 5] = ["/usr", "/boot", "/bin", "/sbin", "/lib*"];
/// The most memory that one automaton may take, in bytes.
const MAX_AUTOMATON_BYTES: usize = 4 << 20;
/// The most states that are looked at for one rule.
const MAX_STATES: usize = 100_000;
/// The most places that a floor may have.
const MAX_PLACES: usize = 1_000;
/// A path: components that are not empty and hold neither `/` nor NUL.
const PATH: &str = r"^(/[^/\x00]+)+$";

/// Globs of places that stay immutable, each with all beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor(Vec<String>);

/// Why text is not a floor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the floor is not valid: {0}")]
pub struct FloorError(String);

/// A word of a contract that loosens the floor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the contract loosens the floor: {what} ({proof}); take it out, or narrow it")]
pub struct Loosening {
    /// Where the rule stands among the rules; none of a mount.
    pub rule: Option<usize>,
    /// The rule or mount, in words.
    pub what: String,
    /// A path of the floor that it reaches (escaped), or why that cannot be told.
    pub proof: String,
}

impl Default for Floor {
    fn default() -> Self {
        Self(DEFAULT.map(str::to_owned).to_vec())
    }
}

impl Floor {
    /// A floor of these globs. None at all is no floor.
    ///
    /// # Errors
    /// When one is not a glob over whole paths, or they are too many.
    pub fn new(places: Vec<String>) -> Result<Self, FloorError> {
        if places.len() > MAX_PLACES {
            return Err(FloorError(format!("it has over {MAX_PLACES} places")));
        }
        places
            .iter()
            .try_for_each(|place| match glob::compile(place) {
                Ok(_) if place == "/" => {
                    Err("`/` is not a place in a tree; name `/**` for all of it".to_owned())
                }
                compiled => compiled.map(drop),
            })
            .map_err(FloorError)?;
        Ok(Self(places))
    }

    /// The places, as globs.
    pub fn places(&self) -> &[String] {
        &self.0
    }

    /// The place that `path` is, or lies beneath, if it is one of the floor's.
    pub fn place_of(&self, path: &TreePath) -> Option<&str> {
        let holds = |place: &&String| {
            let globs = [(*place).clone(), format!("{}/**", place.trim_end_matches('/'))];
            let matcher = Matcher::new(globs.iter().map(String::as_str));
            matcher.is_ok_and(|matcher| Progress::new(&matcher).last(path).is_some())
        };
        self.0.iter().find(holds).map(String::as_str)
    }

    /// Holds a contract to the floor.
    ///
    /// # Errors
    /// The first rule or mount that loosens it.
    pub fn check(&self, contract: &Contract) -> Result<(), Loosening> {
        self.loosenings(contract).into_iter().next().map_or(Ok(()), Err)
    }

    /// Every rule and mount that loosens the floor.
    pub fn loosenings(&self, contract: &Contract) -> Vec<Loosening> {
        let (rules, mounts) = (contract.rules(), contract.mounts());
        let loose = rules.iter().enumerate().filter(|(_, rule)| is_loose(rule));
        let loose = loose.filter(|(_, rule)| self.may_reach(&rule.path)).map(|(at, rule)| {
            let what = format!("rule {} makes `{}` {}", at + 1, escape(rule.path.as_bytes()), in_words(rule));
            (Some(at), what, self.reached_by(&beneath(&rule.path, false), &rules[at + 1..]))
        });
        let hiding = mounts
            .iter()
            .filter(|mount| mount.content == MountContent::Hide)
            .filter(|mount| self.may_reach(&mount.path));
        let hiding = hiding.map(|mount| {
            let what = format!("a mount may hide `{}`", escape(mount.path.as_bytes()));
            (None, what, self.reached_by(&[beneath(&globset::escape(&mount.path), true)].concat(), &[]))
        });
        loose
            .chain(hiding)
            .filter_map(|(rule, what, reached)| match reached {
                Ok(None) => None,
                Ok(Some(path)) => {
                    let proof = format!("for instance {}", escape(&path));
                    Some(Loosening { rule, what, proof })
                }
                Err(TooComplex) => {
                    let proof = "its glob is too complex to be told apart from the floor".to_owned();
                    Some(Loosening { rule, what, proof })
                }
            })
            .collect()
    }

    /// A cheap look at the first component, which tells most rules from the floor.
    fn may_reach(&self, glob: &str) -> bool {
        let first = |glob: &str| glob.split('/').nth(1).unwrap_or_default().to_owned();
        let literal = |name: &str| !name.contains(['*', '?', '[', '{', '\\']);
        let of_rule = first(glob);
        // An alternative may hold the separator.
        if !literal(&of_rule) {
            return !self.0.is_empty();
        }
        self.0.iter().map(|place| first(place)).any(|place| !literal(&place) || place == of_rule)
    }

    /// The shortest path of the floor that `regexes` match and no later,
    /// immutable rule takes back.
    fn reached_by(&self, regexes: &[String], later: &[Rule]) -> Result<Option<Vec<u8>>, TooComplex> {
        let floor: Vec<String> = self.0.iter().flat_map(|place| beneath(place, true)).collect();
        let mut all = vec![
            Side { automaton: automaton(regexes)?, wanted: true },
            Side { automaton: automaton(&floor)?, wanted: true },
            Side { automaton: automaton(&[PATH.to_owned()])?, wanted: true },
        ];
        let found = shortest(&all)?;
        let taken_back: Vec<String> =
            later.iter().filter(|rule| !is_loose(rule)).flat_map(|rule| beneath(&rule.path, false)).collect();
        if found.is_none() || taken_back.is_empty() {
            return Ok(found);
        }
        all.push(Side { automaton: automaton(&taken_back)?, wanted: false });
        shortest(&all)
    }
}

/// Whether a rule lets anything be other than what was baked.
fn is_loose(rule: &Rule) -> bool {
    !rule.terms.class.protects() || !rule.terms.xattrs.fewer.is_empty()
}

fn in_words(rule: &Rule) -> String {
    match rule.terms.class {
        Class::Immutable | Class::AddOn => "ignore extended attributes".to_owned(),
        class => class.to_string(),
    }
}

/// The regular expressions of a glob, and where asked for of all beneath it.
fn beneath(glob: &str, deep: bool) -> Vec<String> {
    // What does not compile was refused long before.
    let own = |glob: &str| glob::compile(glob).map(|glob| glob.regex().to_owned()).ok();
    let below = deep.then(|| format!("{}/**", glob.trim_end_matches('/')));
    own(glob).into_iter().chain(below.as_deref().and_then(own)).collect()
}

struct TooComplex;

/// An automaton, and whether the path that is looked for is one it accepts.
struct Side {
    automaton: dense::DFA<Vec<u32>>,
    wanted: bool,
}

fn automaton(regexes: &[String]) -> Result<dense::DFA<Vec<u32>>, TooComplex> {
    dense::Builder::new()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(MAX_AUTOMATON_BYTES)))
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Anchored)
                .match_kind(MatchKind::All)
                .dfa_size_limit(Some(MAX_AUTOMATON_BYTES))
                .determinize_size_limit(Some(MAX_AUTOMATON_BYTES)),
        )
        .build_many(regexes)
        .map_err(|_| TooComplex)
}

/// The shortest string that all sides are content with: breadth first over the
/// product of their states.
fn shortest(sides: &[Side]) -> Result<Option<Vec<u8>>, TooComplex> {
    let anchored = start::Config::new().anchored(Anchored::Yes);
    let begin: Option<Vec<StateID>> =
        sides.iter().map(|side| side.automaton.start_state(&anchored).ok()).collect();
    let begin = begin.ok_or(TooComplex)?;
    let mut known = HashSet::from([begin.clone()]);
    // Each state with where it came from, so that the string can be told.
    let mut visited: Vec<(Vec<StateID>, usize, u8)> = vec![(begin, 0, 0)];
    let mut queue = VecDeque::from([0]);
    while let Some(at) = queue.pop_front() {
        let states = visited[at].0.clone();
        let content = sides.iter().zip(&states).all(|(side, &state)| {
            side.automaton.is_match_state(side.automaton.next_eoi_state(state)) == side.wanted
        });
        if content {
            return Ok(Some(told(&visited, at)));
        }
        for byte in LETTERS.chain((1..=u8::MAX).filter(|byte| !LETTERS.contains(byte))) {
            let next: Vec<StateID> = sides
                .iter()
                .zip(&states)
                .map(|(side, &state)| side.automaton.next_state(state, byte))
                .collect();
            let is_lost = sides
                .iter()
                .zip(&next)
                .any(|(side, &state)| side.wanted && side.automaton.is_dead_state(state));
            if is_lost || !known.insert(next.clone()) {
                continue;
            }
            if visited.len() == MAX_STATES {
                return Err(TooComplex);
            }
            queue.push_back(visited.len());
            visited.push((next, at, byte));
        }
    }
    Ok(None)
}

/// Tried first, so that the path that is shown is one that people write.
const LETTERS: std::ops::RangeInclusive<u8> = b'a'..=b'z';

fn told(visited: &[(Vec<StateID>, usize, u8)], mut at: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while at != 0 {
        let (_, before, byte) = &visited[at];
        bytes.push(*byte);
        at = *before;
    }
    bytes.reverse();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &str, expected: &[&str]) {
        let contract = Contract::from_toml(&format!("base = 'none'\n{rules}")).unwrap();
        let found: Vec<String> =
            Floor::default().loosenings(&contract).iter().map(|loosening| loosening.proof.clone()).collect();
        assert_eq!(found, expected, "{rules}");
    }

    #[test]
    fn what_reaches_the_floor_is_shown_with_a_path() {
        let rule = |path: &str| format!("[[rule]]\npath = '{path}'\nclass = 'ephemeral'\n");
        for (path, expected) in [
            ("/tmp/**", &[][..]),
            ("/usr/local/**", &["for instance /usr/local/a"]),
            ("/usr", &["for instance /usr"]),
            ("/u*/x", &["for instance /usr/x"]),
            ("/**/cache", &["for instance /bin/cache"]),
            ("/{srv,usr}/x", &["for instance /usr/x"]),
            ("/lib64", &["for instance /lib64"]),
            ("/li*", &["for instance /lib"]),
            ("/l[!i]b", &[]),
            ("/opt/usr/**", &[]),
            ("/**", &["for instance /bin"]),
            ("/", &[]),
        ] {
            if !path.contains("[!") {
                check(&rule(path), expected);
            }
        }
        check(&format!("{}[[rule]]\npath = '/usr/**'\nclass = 'immutable'\n", rule("/usr/local/**")), &[]);
        check(
            &format!("{}[[rule]]\npath = '/usr/local/a'\nclass = 'immutable'\n", rule("/usr/local/*")),
            &["for instance /usr/local/b"],
        );
        check("[[rule]]\npath = '/usr/**'\nclass = 'add-on'\n", &[]);
        check(
            "[[rule]]\npath = '/usr/**'\nclass = 'immutable'\nignore-xattrs = ['user.*']\n",
            &["for instance /usr/a"],
        );
        check("[[mount]]\npath = '/usr/share/x'\ncontent = 'hide'\n", &["for instance /usr/share/x"]);
        check("[[mount]]\npath = '/usr/share/x'\ncontent = 'verify'\n", &[]);
        check("[[mount]]\npath = '/srv'\ncontent = 'hide'\n", &[]);
    }

    #[test]
    fn the_floor_is_its_places_and_all_beneath() {
        for (path, expected) in [
            ("/", None),
            ("/usr", Some("/usr")),
            ("/usr/local/x", Some("/usr")),
            ("/usrx", None),
            ("/lib64/x", Some("/lib*")),
            ("/opt/usr", None),
        ] {
            assert_eq!(Floor::default().place_of(&TreePath::new(path).unwrap()), expected, "{path}");
        }
        let all = Floor::new(vec!["/**".to_owned()]).unwrap();
        assert_eq!(all.place_of(&TreePath::new("/a/b").unwrap()), Some("/**"));
    }

    #[test]
    fn the_default_contract_keeps_the_default_floor() {
        assert_eq!(Floor::default().check(&Contract::linux()), Ok(()));
        let error = Floor::new(vec!["usr".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("must start with `/`"), "{error}");
        assert!(Floor::new(vec!["/".to_owned()]).is_err());
    }

    #[test]
    fn a_glob_that_explodes_is_refused_in_bounded_time() {
        let glob = format!("/**/{}", "*a?????????????????????".repeat(20));
        let contract = Contract::from_toml(&format!("[[rule]]\npath = '{glob}'\nclass = 'ephemeral'\n"));
        let loosenings = Floor::default().loosenings(&contract.unwrap());
        assert!(loosenings[0].proof.contains("too complex"), "{loosenings:?}");
    }
}
