//! The floor: paths that no contract may loosen, set by operators.
//!
//! Whether a rule can match a path of the floor is decided for the globs
//! themselves, not for the paths that happen to be baked. A path that both match
//! is shown, as the proof.

use super::automata::TooComplex;
use super::matcher::{Matcher, Progress};
use super::reach::Reach;
use super::{Class, Contract, MountContent, Rule, glob};
use crate::path::{TreePath, escape};

/// What no contract may loosen unless operators say otherwise.
const DEFAULT: [&str; 5] = ["/usr", "/boot", "/bin", "/sbin", "/lib*"];
/// The most places that a floor may have.
const MAX_PLACES: usize = 1_000;

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
            let globs = with_all_beneath(place);
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
    ///
    /// The effort for one contract is bounded; of what is left when it is spent,
    /// it is said that there is no telling.
    pub fn loosenings(&self, contract: &Contract) -> Vec<Loosening> {
        let mut reach = Reach::new(&self.0, contract);
        let mut found = Vec::new();
        for (at, rule) in contract.rules().iter().enumerate().filter(|(_, rule)| is_loose(rule)) {
            let what =
                || format!("rule {} makes `{}` {}", at + 1, escape(rule.path.as_bytes()), in_words(rule));
            found.extend(loosening(Some(at), what, reach.of_rule(at)));
        }
        for mount in contract.mounts().iter().filter(|mount| mount.content == MountContent::Hide) {
            let what = || format!("a mount may hide `{}`", escape(mount.path.as_bytes()));
            found.extend(loosening(None, what, reach.of_mount(&mount.path)));
        }
        found
    }
}

fn loosening(
    rule: Option<usize>,
    what: impl FnOnce() -> String,
    reached: Result<Option<Vec<u8>>, TooComplex>,
) -> Option<Loosening> {
    let proof = match reached {
        Ok(None) => return None,
        Ok(Some(path)) => format!("for instance {}", escape(&path)),
        Err(TooComplex) => "its glob is too complex to be told apart from the floor".to_owned(),
    };
    Some(Loosening { rule, what: what(), proof })
}

/// Whether a rule lets anything be other than what was baked.
pub(super) fn is_loose(rule: &Rule) -> bool {
    !rule.terms.class.protects() || !rule.terms.xattrs.fewer.is_empty()
}

/// The globs of a place and of all beneath it.
pub(super) fn with_all_beneath(place: &str) -> [String; 2] {
    [place.to_owned(), format!("{}/**", place.trim_end_matches('/'))]
}

fn in_words(rule: &Rule) -> String {
    match rule.terms.class {
        Class::Immutable | Class::AddOn => "ignore extended attributes".to_owned(),
        class => class.to_string(),
    }
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
        // No character of a mount point is a wildcard.
        check("[[mount]]\npath = '/usr/a]b'\ncontent = 'hide'\n", &["for instance /usr/a]b"]);
        check("[[mount]]\npath = '/lib/x\\'\ncontent = 'hide'\n", &[r"for instance /lib/x\"]);
        check("[[mount]]\npath = '/us?/x'\ncontent = 'hide'\n", &[]);
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
        let exploding = "*a?????????????????????".repeat(20);
        for (first, says) in [("**", "for instance /bin/"), ("u*", "too complex")] {
            let rule = format!("[[rule]]\npath = '/{first}/**/{exploding}'\nclass = 'ephemeral'\n");
            let loosenings = Floor::default().loosenings(&Contract::from_toml(&rule).unwrap());
            assert!(loosenings[0].proof.contains(says), "{loosenings:?}");
        }
    }
}
