//! Names of one shape: what a program makes up anew each time, such as
//! `tmp.Xa3Kq9` or `sess_81f0`, told from what it always calls the same.

use std::collections::BTreeMap;

/// Names of one shape, at least two, and the glob of that shape.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shaped<'a> {
    pub(super) glob: String,
    pub(super) names: Vec<&'a str>,
}

/// A name, taken apart: words, and before each word and at the end what stands
/// between words.
#[derive(Debug)]
struct Parts<'a> {
    between: Vec<&'a str>,
    words: Vec<&'a str>,
}

/// The groups of names that differ only in made-up words. A name of a shape of
/// its own is in none.
pub(super) fn group<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Shaped<'a>> {
    let mut by_shape: BTreeMap<_, Vec<(&str, Parts<'_>)>> = BTreeMap::new();
    for name in names {
        let parts = Parts::of(name);
        let words: Vec<_> = parts.words.iter().map(|word| (!is_made_up(word)).then_some(*word)).collect();
        by_shape.entry((parts.between.clone(), words)).or_default().push((name, parts));
    }
    let groups = by_shape.into_values().filter(|members| members.len() > 1);
    groups
        .map(|members| Shaped {
            glob: glob_of(&members),
            names: members.iter().map(|(name, _)| *name).collect(),
        })
        .collect()
}

/// The glob that matches `text` alone.
pub(super) fn escape_glob(text: &str) -> String {
    let mut glob = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            glob.push('\\');
        }
        glob.push(c);
    }
    glob
}

impl<'a> Parts<'a> {
    fn of(name: &'a str) -> Self {
        let (mut between, mut words) = (Vec::new(), Vec::new());
        let mut rest = name;
        loop {
            let (gap, after) = rest.split_at(rest.find(char::is_alphanumeric).unwrap_or(rest.len()));
            between.push(gap);
            if after.is_empty() {
                return Self { between, words };
            }
            let end = after.find(|c: char| !c.is_alphanumeric()).unwrap_or(after.len());
            words.push(&after[..end]);
            rest = &after[end..];
        }
    }
}

/// Whether a word looks like one that no person wrote: it has a digit, or capital
/// letters behind small ones, or is four letters or more of hexadecimal.
fn is_made_up(word: &str) -> bool {
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let is_mixed = word.as_bytes().windows(2).any(|w| w[0].is_ascii_lowercase() && w[1].is_ascii_uppercase());
    let is_hexadecimal = word.len() >= 4 && word.bytes().all(|byte| (b'a'..=b'f').contains(&byte));
    has_digit || is_mixed || is_hexadecimal
}

/// What all members have alike stays; a `*` stands for what differs.
fn glob_of(members: &[(&str, Parts<'_>)]) -> String {
    let (_, first) = &members[0];
    let mut glob = escape_glob(first.between[0]);
    for (at, word) in first.words.iter().enumerate() {
        let is_shared = members.iter().all(|(_, other)| other.words[at] == *word);
        glob.push_str(&if is_shared { escape_glob(word) } else { "*".to_owned() });
        glob.push_str(&escape_glob(first.between[at + 1]));
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(names: &[&str], expected: &[(&str, usize)]) {
        let groups = group(names.iter().copied());
        let mut told: Vec<_> = groups.iter().map(|group| (group.glob.as_str(), group.names.len())).collect();
        told.sort_unstable();
        assert_eq!(told, expected, "{names:?}");
    }

    #[test]
    fn only_made_up_words_become_wildcards() {
        check(&["tmp.Xa3Kq9", "tmp.bQwErT"], &[("tmp.*", 2)]);
        check(&["syslog.1", "syslog.2", "auth.1", "syslog"], &[("syslog.*", 2)]);
        check(&["foo", "bar"], &[]);
        check(&["a-1.log", "b-2.log"], &[]);
        check(&["a-1.log", "a-2.gz"], &[]);
        check(
            &["0f8a2c1e-beef-4a3b-9c1d-0123456789ab", "1f8a2c1e-1234-4a3b-8c1d-fedcba987654"],
            &[("*-*-4a3b-*-*", 2)],
        );
        check(&["x[1]", "x[2]"], &[("x\\[*\\]", 2)]);
        check(&["python3-a1", "python3-b2"], &[("python3-*", 2)]);
        check(&["only.1"], &[]);
        check(&["-", "--", "..."], &[]);
    }
}
