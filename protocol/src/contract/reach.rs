//! Whether a word of a contract reaches the floor, and by which path.
//!
//! A path is guessed first, and asked for: most globs that reach the floor do so
//! by the plainest path that they match. Where no guess holds, the globs become
//! automata, and the shortest path that all accept is looked for.

use std::cell::OnceCell;

use super::automata::{Accepts, Effort, Side, TooComplex, automaton, shortest};
use super::floor::{is_loose, with_all_beneath};
use super::matcher::{Matcher, Progress, is_odd};
use super::shape::Shape;
use super::{Contract, Rule, glob};
use crate::path::TreePath;

/// A path: components that are not empty and hold neither `/` nor NUL.
const PATH: &str = r"^(/[^/\x00]+)+$";

/// How a contract's words reach the places of a floor.
pub(super) struct Reach<'a> {
    places: &'a [String],
    contract: &'a Contract,
    /// Of all places, and all beneath them.
    globs: Vec<String>,
    matcher: Option<Matcher>,
    /// The same as an automaton, and that of every path.
    automata: OnceCell<Result<[Accepts; 2], TooComplex>>,
    effort: Effort,
}

impl<'a> Reach<'a> {
    pub(super) fn new(places: &'a [String], contract: &'a Contract) -> Self {
        let globs: Vec<_> = places.iter().flat_map(|place| with_all_beneath(place)).collect();
        let matcher = Matcher::new(globs.iter().map(String::as_str)).ok();
        Self { places, contract, globs, matcher, automata: OnceCell::new(), effort: Effort::WHOLE }
    }

    /// A path of the floor that rule `at` matches, and no later, immutable rule
    /// takes back.
    pub(super) fn of_rule(&mut self, at: usize) -> Result<Option<Vec<u8>>, TooComplex> {
        let (rule, later) = (&self.contract.rules()[at], &self.contract.rules()[at + 1..]);
        if !self.may_reach(&rule.path) {
            return Ok(None);
        }
        match self.guesses(&rule.path).into_iter().find(|guess| self.holds(guess, at)) {
            Some(guess) => Ok(Some(guess.as_bytes().to_vec())),
            // What one path alone matches was asked for already.
            None if glob::is_plain(&rule.path) => Ok(None),
            None => {
                let later = later.iter().filter(|later| !are_apart(&rule.path, &later.path));
                self.search(&regexes([rule.path.as_str()]), later)
            }
        }
    }

    /// A path of the floor that a mount here would hide.
    pub(super) fn of_mount(&mut self, path: &str) -> Result<Option<Vec<u8>>, TooComplex> {
        // A first look takes what it sees for a glob.
        if glob::is_plain(path) && !self.may_reach(path) {
            return Ok(None);
        }
        self.search(&[at_or_beneath(path)], [])
    }

    /// A cheap look at the first component, which tells most rules from the floor.
    fn may_reach(&self, glob: &str) -> bool {
        let of_rule = Shape::parse(first_component(glob));
        self.places.iter().any(|place| {
            // An alternative may hold the separator.
            let of_place = (!is_odd(place)).then(|| Shape::parse(first_component(place)));
            match (of_rule.name().filter(|_| !is_odd(glob)), of_place) {
                (Some(name), Some(of_place)) => first_component(place) == "**" || of_place.matches(&name),
                _ => true,
            }
        })
    }

    /// Whether `guess` is of the floor, and rule `at` loosens it there.
    fn holds(&self, guess: &TreePath, at: usize) -> bool {
        let is_of_floor =
            self.matcher.as_ref().is_some_and(|matcher| Progress::new(matcher).last(guess).is_some());
        let mut matching = Vec::new();
        self.contract.follow().matching(guess, &mut matching);
        let rules = self.contract.rules();
        is_of_floor
            && matching.contains(&at)
            && !matching.iter().any(|&later| later > at && !is_loose(&rules[later]))
    }

    /// Plain paths that a glob may match: beneath each place, where it begins with
    /// `**`. Shortest first.
    fn guesses(&self, glob: &str) -> Vec<TreePath> {
        let Some(path) = plainest(glob) else { return Vec::new() };
        let mut guesses = vec![path];
        if let Some(rest) = glob.strip_prefix("/**") {
            let rest = plainest(rest).unwrap_or_default();
            let places = self.places.iter().filter_map(|place| plainest(place));
            guesses.extend(places.map(|place| [place, rest.clone()].concat()));
        }
        guesses.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        guesses.into_iter().filter_map(|guess| TreePath::new(guess).ok()).collect()
    }

    /// The shortest path of the floor that `regexes` match and no later, immutable
    /// rule takes back.
    fn search<'r>(
        &mut self,
        regexes: &[String],
        later: impl IntoIterator<Item = &'r Rule>,
    ) -> Result<Option<Vec<u8>>, TooComplex> {
        let automata = self.automata.get_or_init(|| {
            let floor = self::regexes(self.globs.iter().map(String::as_str));
            // The floor is the operator's; what it takes is not the contract's.
            let mut effort = Effort::WHOLE;
            Ok([automaton(&floor, &mut effort)?, automaton(&[PATH.to_owned()], &mut effort)?])
        });
        let [floor, path] = automata.as_ref().map_err(|error| *error)?;
        let own = automaton(regexes, &mut self.effort)?;
        let mut sides = [&own, floor, path].map(|automaton| Side { automaton, wanted: true }).to_vec();
        let found = shortest(&sides, &mut self.effort)?;
        let later = later.into_iter().filter(|rule| !is_loose(rule)).map(|rule| rule.path.as_str());
        let taken_back = self::regexes(later);
        if found.is_none() || taken_back.is_empty() {
            return Ok(found);
        }
        let taken_back = automaton(&taken_back, &mut self.effort)?;
        sides.push(Side { automaton: &taken_back, wanted: false });
        shortest(&sides, &mut self.effort)
    }
}

/// Whether two globs begin with plain components that differ: then no path
/// matches both.
fn are_apart(one: &str, other: &str) -> bool {
    let mut components = one.split('/').zip(other.split('/'));
    let apart = components.find(|(a, b)| a != b || !glob::is_plain(a));
    apart.is_some_and(|(a, b)| a != b && glob::is_plain(a) && glob::is_plain(b))
}

fn first_component(glob: &str) -> &str {
    glob.split('/').nth(1).unwrap_or_default()
}

/// The regular expressions of globs. What does not compile was refused long
/// before.
fn regexes<'a>(globs: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    globs
        .into_iter()
        .filter_map(|glob| glob::compile(glob).ok())
        .map(|glob| glob.regex().to_owned())
        .collect()
}

/// The regular expression of one path, whose bytes mean only themselves, and of
/// all beneath it.
fn at_or_beneath(path: &str) -> String {
    let literal: String = path.bytes().map(|byte| format!(r"\x{byte:02x}")).collect();
    format!(r"(?-u)^{literal}(?:/.*)?$")
}

/// The plainest path that a glob matches, as far as its text shows: each wildcard
/// stands for as little as it can.
fn plainest(glob: &str) -> Option<Vec<u8>> {
    if is_odd(glob) {
        return None;
    }
    let mut path = Vec::new();
    let mut components = glob.split('/').skip(1).filter(|component| !component.is_empty()).peekable();
    while let Some(component) = components.next() {
        if component == "**" && components.peek().is_some() {
            continue;
        }
        path.push(b'/');
        path.extend(Shape::parse(component).shortest());
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn arbitrary_globs(most: usize) -> impl Strategy<Value = Vec<String>> {
        let component = prop::sample::select(vec!["a", "b", "**", "*", "a*", "?", "[ab]", "{a,b}", "\\a"]);
        let pattern =
            prop::collection::vec(component, 1..4).prop_map(|parts| format!("/{}", parts.join("/")));
        prop::collection::vec(pattern, 1..most)
    }

    #[test]
    fn many_costly_globs_are_no_way_around_the_bound() {
        let places = ["/usr".to_owned()];
        let contract = Contract::empty();
        let mut reach = Reach::new(&places, &contract);
        let mut answers = |effort: Effort| {
            reach.effort = effort;
            let count = (0..10).take_while(|_| reach.search(&regexes(["/*a????/b"]), []).is_ok()).count();
            (count, reach.effort)
        };
        let full = Effort { bytes: 1 << 30, states: 1 << 30 };
        let (count, left) = answers(full);
        let one = Effort { bytes: (full.bytes - left.bytes) / 10, states: (full.states - left.states) / 10 };
        assert_eq!(count, 10);
        assert_eq!(answers(Effort { states: 3 * one.states, ..full }).0, 3);
        // Building takes more for a while than what is built.
        assert!((1..10).contains(&answers(Effort { bytes: 9 * one.bytes, ..full }).0));
        assert_eq!(answers(Effort { bytes: 0, ..full }).0, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Neither the first look nor a guess says other than the automata.
        #[test]
        fn guessing_changes_no_answer(
            places in arbitrary_globs(3),
            globs in arbitrary_globs(5),
            is_loose in prop::collection::vec(any::<bool>(), 5),
        ) {
            let rules = globs.iter().zip(is_loose).map(|(path, is_loose)| {
                let class = if is_loose { "ephemeral" } else { "immutable" };
                format!("[[rule]]\npath = '{path}'\nclass = '{class}'\n")
            });
            let text = format!("base = 'none'\n{}", rules.collect::<String>());
            let contract = Contract::from_toml(&text).unwrap();
            let mut reach = Reach::new(&places, &contract);
            for (at, rule) in contract.rules().iter().enumerate().filter(|(_, rule)| super::is_loose(rule)) {
                let searched = reach.search(&regexes([rule.path.as_str()]), &contract.rules()[at + 1..]);
                let found = reach.of_rule(at);
                prop_assert_eq!(found.clone().map(|path| path.is_some()), searched.map(|path| path.is_some()));
                if let Ok(Some(path)) = found {
                    prop_assert!(reach.holds(&TreePath::new(path).unwrap(), at));
                }
            }
        }
    }
}
