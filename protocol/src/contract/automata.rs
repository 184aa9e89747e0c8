//! The shortest string that several regular expressions are content with.
//!
//! Each becomes an automaton, and their product is searched breadth first, in
//! bounded memory and time. What is too large for that is said to be. The bounds
//! are on all that is asked in one go, so that many questions are no way around
//! them.

use std::collections::{HashSet, VecDeque};

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::{primitives::StateID, start, syntax};
use regex_automata::{Anchored, MatchKind, nfa::thompson};

/// The most memory that one automaton may take, in bytes.
const MAX_AUTOMATON_BYTES: usize = 4 << 20;
/// The most memory that all automata of one effort may take, one after the other:
/// to build them takes time as well.
const MAX_AUTOMATA_BYTES: usize = 2 * MAX_AUTOMATON_BYTES;
/// The most states that are looked at in one effort.
const MAX_STATES: usize = 100_000;

/// What may still be spent on answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    pub(super) bytes: usize,
    pub(super) states: usize,
}

impl Effort {
    /// Enough for the questions that one contract brings up.
    pub(super) const WHOLE: Self = Self { bytes: MAX_AUTOMATA_BYTES, states: MAX_STATES };
}

/// Why there is no telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooComplex;

/// A machine that accepts what some regular expressions match.
pub(super) type Accepts = dense::DFA<Vec<u32>>;

/// An automaton, and whether the path that is looked for is one it accepts.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) automaton: &'a Accepts,
    pub(super) wanted: bool,
}

/// The automaton of several regular expressions: it accepts what any matches.
pub(super) fn automaton(regexes: &[String], effort: &mut Effort) -> Result<Accepts, TooComplex> {
    let most = MAX_AUTOMATON_BYTES.min(effort.bytes);
    let built = dense::Builder::new()
        .syntax(syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true))
        .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(most)))
        .configure(
            dense::Config::new()
                .start_kind(StartKind::Anchored)
                .match_kind(MatchKind::All)
                .dfa_size_limit(Some(most))
                .determinize_size_limit(Some(most)),
        )
        .build_many(regexes);
    effort.bytes -= built.as_ref().map_or(most, Accepts::memory_usage).min(most);
    built.map_err(|_| TooComplex)
}

/// The shortest string that all sides are content with: breadth first over the
/// product of their states.
pub(super) fn shortest(sides: &[Side<'_>], effort: &mut Effort) -> Result<Option<Vec<u8>>, TooComplex> {
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
            effort.states = effort.states.checked_sub(1).ok_or(TooComplex)?;
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
