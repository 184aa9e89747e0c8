//! Which rules match a path, decided component by component.
//!
//! All globs stand in one tree of their components, so that a path costs what its
//! own components cost, however many rules there are, and a path that shares its
//! directory with the one before only its name. Guarantees the answer that each
//! glob gives by itself. It does not say what a rule means.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use globset::{Candidate, GlobSet, GlobSetBuilder};

use super::glob;
use super::shape::Shape;
use crate::path::TreePath;

/// The globs of a contract's rules.
#[derive(Debug, Clone)]
pub(super) struct Matcher {
    /// The first is where every path begins.
    nodes: Vec<Node>,
    /// Globs with alternatives or brackets, which the library matches whole.
    odd: GlobSet,
    /// The rules that these are of, rising.
    odd_rules: Vec<usize>,
}

/// What is known of a glob once its components so far have matched.
#[derive(Debug, Clone, Default)]
struct Node {
    /// Rules whose globs end here, rising.
    ends: Vec<usize>,
    /// Rules whose globs go on with a last `**`: they match all beneath. Rising.
    beneath: Vec<usize>,
    /// Where a component without wildcards leads.
    named: HashMap<Box<[u8]>, usize>,
    /// Where a component with wildcards leads, by its text.
    shaped: Vec<(String, Shape, usize)>,
    /// Where a `**` leads that more components follow.
    deep: Option<usize>,
    /// Whether this is such a place: any component leads back to it.
    is_deep: bool,
    /// Whether globs that the library matches begin with the components so far.
    has_odd: bool,
}

impl Matcher {
    /// Of these globs; their places are the rules' numbers.
    ///
    /// # Errors
    /// When one is no glob, or they cannot be used together.
    pub(super) fn new<'a>(globs: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut matcher = Self { nodes: vec![Node::default()], odd: GlobSet::empty(), odd_rules: Vec::new() };
        let mut odd = GlobSetBuilder::new();
        for (rule, pattern) in globs.enumerate() {
            let compiled = glob::compile(pattern)?;
            if is_odd(pattern) {
                odd.add(compiled);
                matcher.odd_rules.push(rule);
                let at = matcher.lead_odd(pattern);
                matcher.nodes[at].has_odd = true;
            } else {
                matcher.insert(rule, pattern);
            }
        }
        matcher.odd =
            odd.build().map_err(|error| format!("the contract's globs cannot be used together: {error}"))?;
        Ok(matcher)
    }

    fn insert(&mut self, rule: usize, pattern: &str) {
        let mut at = 0;
        let mut components = components(pattern).peekable();
        while let Some(component) = components.next() {
            match component {
                "**" if components.peek().is_none() => return self.nodes[at].beneath.push(rule),
                "**" => at = self.deep_of(at),
                named => at = self.child_of(at, named),
            }
        }
        self.nodes[at].ends.push(rule);
    }

    /// The node where a glob begins that the library matches: behind those of its
    /// components that are plain names.
    fn lead_odd(&mut self, pattern: &str) -> usize {
        let names: Vec<&str> = components(pattern).take_while(|name| glob::is_plain(name)).collect();
        names.into_iter().fold(0, |at, name| self.child_of(at, name))
    }

    fn deep_of(&mut self, at: usize) -> usize {
        // A `**` behind a `**` says nothing more.
        if self.nodes[at].is_deep {
            return at;
        }
        if let Some(deep) = self.nodes[at].deep {
            return deep;
        }
        let deep = self.add(Node { is_deep: true, ..Node::default() });
        self.nodes[at].deep = Some(deep);
        deep
    }

    fn child_of(&mut self, at: usize, component: &str) -> usize {
        let shape = Shape::parse(component);
        if let Some(name) = shape.name() {
            if let Some(&child) = self.nodes[at].named.get(&name[..]) {
                return child;
            }
            let child = self.add(Node::default());
            self.nodes[at].named.insert(name.into_boxed_slice(), child);
            return child;
        }
        if let Some((.., child)) = self.nodes[at].shaped.iter().find(|(text, ..)| text == component) {
            return *child;
        }
        let child = self.add(Node::default());
        self.nodes[at].shaped.push((component.to_owned(), shape, child));
        child
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }
}

/// The components of a glob; none of `/`.
fn components(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('/').filter(|component| !component.is_empty())
}

/// Whether a glob cannot be taken apart at every `/`, or has words that are the
/// library's to read.
pub(super) fn is_odd(pattern: &str) -> bool {
    pattern.contains(['[', '{', '}']) || pattern.contains("\\/")
}

/// How far the globs have come along one path.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    matcher: &'a Matcher,
    /// The path at hand, without the `/` of the root itself.
    path: Vec<u8>,
    /// One for the root and one for each component.
    levels: Vec<Level>,
    /// The nodes of each level, one level after the other.
    nodes: Vec<usize>,
    /// Rules that match all beneath a level, one level after the other.
    beneath: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    /// How much of the path leads here.
    path_end: usize,
    nodes_end: usize,
    beneath_end: usize,
    /// The last rule that matches all beneath.
    best_beneath: Option<usize>,
    /// Whether globs that the library matches may match beneath, or here.
    has_odd: bool,
}

impl<'a> Progress<'a> {
    pub(super) fn new(matcher: &'a Matcher) -> Self {
        let mut progress =
            Self { matcher, path: Vec::new(), levels: Vec::new(), nodes: Vec::new(), beneath: Vec::new() };
        progress.enter(0, 0);
        progress.close(0);
        progress
    }

    /// The last rule that matches `path`.
    pub(super) fn last(&mut self, path: &TreePath) -> Option<usize> {
        self.go_to(path);
        let (here, above) = self.here();
        let ends = here.iter().filter_map(|&node| self.matcher.nodes[node].ends.last().copied()).max();
        let best = ends.max(above.and_then(|level| level.best_beneath));
        best.max(self.odd(path).max())
    }

    /// Every rule that matches `path`, rising.
    pub(super) fn all(&mut self, path: &TreePath, into: &mut Vec<usize>) {
        self.go_to(path);
        into.clear();
        let (here, above) = self.here();
        into.extend_from_slice(&self.beneath[..above.map_or(0, |level| level.beneath_end)]);
        into.extend(here.iter().flat_map(|&node| &self.matcher.nodes[node].ends));
        into.extend(self.odd(path));
        into.sort_unstable();
        into.dedup();
    }

    /// The nodes at the path itself, and the level above it.
    fn here(&self) -> (&[usize], Option<Level>) {
        let above = self.levels.len().checked_sub(2).map(|at| self.levels[at]);
        (&self.nodes[above.map_or(0, |level| level.nodes_end)..], above)
    }

    fn odd(&self, path: &TreePath) -> impl Iterator<Item = usize> + use<'a> {
        let Matcher { odd, odd_rules, .. } = self.matcher;
        // A glob such as `/**` means what lies beneath, never `/` itself.
        let asked = !path.is_root() && self.levels.last().is_some_and(|level| level.has_odd);
        let candidate = asked.then(|| Candidate::new(OsStr::from_bytes(path.as_bytes())));
        let matches = candidate.map(|candidate| odd.matches_candidate(&candidate)).unwrap_or_default();
        matches.into_iter().map(|at| odd_rules[at])
    }

    fn go_to(&mut self, path: &TreePath) {
        let path = if path.is_root() { &[] } else { path.as_bytes() };
        let shared = self.path.iter().zip(path).take_while(|(a, b)| a == b).count();
        let leads_to = |level: &Level| {
            level.path_end <= shared && path.get(level.path_end).is_none_or(|&byte| byte == b'/')
        };
        while self.levels.pop_if(|level| !leads_to(level)).is_some() {}
        let last = self.levels.last().expect("the root's level leads to every path");
        let (mut end, nodes, beneath) = (last.path_end, last.nodes_end, last.beneath_end);
        self.nodes.truncate(nodes);
        self.beneath.truncate(beneath);
        self.path.truncate(end);
        self.path.extend_from_slice(&path[end..]);
        for name in path[end..].split(|&byte| byte == b'/').skip(1) {
            end += 1 + name.len();
            self.descend(name, end);
        }
    }

    fn descend(&mut self, name: &[u8], path_end: usize) {
        let to = self.nodes.len();
        let from = self.levels.len().checked_sub(2).map_or(0, |at| self.levels[at].nodes_end);
        let matcher = self.matcher;
        for at in from..to {
            let node = &matcher.nodes[self.nodes[at]];
            if node.is_deep {
                self.enter(self.nodes[at], to);
            }
            if let Some(&child) = node.named.get(name) {
                self.enter(child, to);
            }
            for (_, shape, child) in &node.shaped {
                if shape.matches(name) {
                    self.enter(*child, to);
                }
            }
        }
        self.close(path_end);
    }

    /// Adds a node, and what a `**` there leads to, to the level that begins at `from`.
    fn enter(&mut self, node: usize, from: usize) {
        if self.nodes[from..].contains(&node) {
            return;
        }
        self.nodes.push(node);
        if let Some(deep) = self.matcher.nodes[node].deep {
            self.enter(deep, from);
        }
    }

    fn close(&mut self, path_end: usize) {
        let above = self.levels.last().copied();
        let (mut best_beneath, mut has_odd) =
            above.map_or((None, false), |level| (level.best_beneath, level.has_odd));
        for &node in &self.nodes[above.map_or(0, |level| level.nodes_end)..] {
            let node = &self.matcher.nodes[node];
            self.beneath.extend_from_slice(&node.beneath);
            best_beneath = best_beneath.max(node.beneath.last().copied());
            has_odd |= node.has_odd;
        }
        let (nodes_end, beneath_end) = (self.nodes.len(), self.beneath.len());
        self.levels.push(Level { path_end, nodes_end, beneath_end, best_beneath, has_odd });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::escape;
    use proptest::prelude::*;

    /// Every glob asked by itself.
    fn plainly(globs: &[String], path: &TreePath) -> Vec<usize> {
        let matches = |pattern: &String| match pattern.as_str() {
            _ if path.is_root() => pattern == "/",
            _ => {
                glob::compile(pattern).unwrap().compile_matcher().is_match(OsStr::from_bytes(path.as_bytes()))
            }
        };
        globs.iter().enumerate().filter(|(_, pattern)| matches(pattern)).map(|(at, _)| at).collect()
    }

    fn check(globs: &[String], paths: &[TreePath]) {
        let matcher = Matcher::new(globs.iter().map(String::as_str)).unwrap();
        let mut progress = Progress::new(&matcher);
        let mut all = Vec::new();
        for path in paths {
            let expected = plainly(globs, path);
            progress.all(path, &mut all);
            assert_eq!(all, expected, "{globs:?} of {}", escape(path.as_bytes()));
            assert_eq!(progress.last(path), expected.last().copied());
            assert_eq!(Progress::new(&matcher).last(path), expected.last().copied());
        }
    }

    #[test]
    fn odd_globs_are_matched_as_the_library_does() {
        let globs = [
            "/",
            "/**",
            "/**/**",
            "/a/**/**",
            "/**/a",
            "/a/**/a/**/b",
            "/a\\*",
            "/a\\/b",
            "/{a,b/x}/c",
            "/[ab]/?",
            "/*/*",
            "/a*b*c",
            "/a/{b,}",
            "/?",
            "/??",
            "/**/*.?",
            "/\\{a",
            "/a/**/**/b",
            "/**/\u{e9}*",
            "/*[{]*/b",
        ]
        .map(str::to_owned);
        let paths = [
            &b"/"[..],
            b"/a",
            b"/a/b",
            b"/a/a/b",
            b"/a/a/a/b/b",
            b"/a*",
            b"/ab",
            b"/b/x/c",
            b"/b/c",
            b"/b/b",
            b"/abcabc",
            b"/ac",
            b"/abc",
            b"/a/",
            b"/\xff",
            b"/\xff\xfe",
            b"/a.x",
            b"/.x",
            b"/{a",
            "/\u{e9}t\u{e9}".as_bytes(),
            b"/a{/b",
            b"/a\n/b",
        ];
        let paths: Vec<_> = paths.iter().filter_map(|path| TreePath::new(*path).ok()).collect();
        check(&globs, &paths);
    }

    fn arbitrary_globs() -> impl Strategy<Value = Vec<String>> {
        let component = prop::sample::select(vec![
            "a", "b", "ab", "**", "*", "a*", "*b", "?", "a?*b", "*a*a*", "[ab]", "{a,b}", "{a/b,b}", "\\a",
            "\u{e9}",
        ]);
        let pattern =
            prop::collection::vec(component, 0..5).prop_map(|parts| format!("/{}", parts.join("/")));
        prop::collection::vec(pattern, 0..12)
    }

    fn arbitrary_paths() -> impl Strategy<Value = Vec<TreePath>> {
        let name = prop::sample::select(vec![
            &b"a"[..],
            b"b",
            b"ab",
            b"aab",
            b"aba",
            b"\xff",
            "\u{e9}".as_bytes(),
            b"a\n",
        ]);
        let path = prop::collection::vec(name, 0..6).prop_map(|names| {
            names.into_iter().fold(TreePath::root(), |path, name| path.join(name).unwrap())
        });
        prop::collection::vec(path, 1..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn together_they_match_what_each_matches_by_itself(globs in arbitrary_globs(), paths in arbitrary_paths()) {
            check(&globs, &paths);
        }
    }
}
