//! The contract: what may change, and which mounts are expected.
//!
//! Written as TOML by the image's owner, carried as JSON in the signed
//! manifest. What a path is held to is a matter of its bytes alone; the last rule
//! that matches says it all; what no rule names is `immutable`.

mod automata;
mod class;
mod file;
mod floor;
mod glob;
mod matcher;
mod reach;
mod shape;
mod terms;
mod wire;

use serde::{Deserialize, Serialize};

pub use class::{CAPABILITY, Class, Forbidden};
pub use file::ContractFile;
pub use floor::{Floor, FloorError, Loosening};
pub use glob::{MAX_GLOB_BYTES, MAX_NESTING, compile as glob, nesting};
pub use terms::{Terms, XattrScope};

use self::matcher::{Matcher, Progress};
use crate::path::TreePath;
use crate::strict_json::present;
use crate::strict_toml::TomlError;

/// The longest contract text taken, in bytes.
pub const MAX_CONTRACT_BYTES: usize = 1 << 20;
/// The most rules and mounts taken.
pub const MAX_RULES: usize = 10_000;

/// Says what the paths that match a glob are held to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "wire::WireRule")]
pub struct Rule {
    /// A glob over the whole path: `*` and `?` stay within a component, `**` as
    /// a whole component does not. `/tmp/**` is all beneath `/tmp`, not `/tmp`.
    pub path: String,
    /// What they are held to.
    pub terms: Terms,
}

/// A mount that is expected where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedMount {
    /// The mount point, without globs.
    pub path: String,
    /// Whether baked content lies on it.
    pub content: MountContent,
    /// The file system's type, where wanted, as in `/proc/self/mountinfo`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<String>,
    /// What is mounted, where wanted, as in `/proc/self/mountinfo`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Mount options that must be set, such as `ro` or `noexec`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// What an expected mount shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountContent {
    /// Baked content: it is swept like the rest.
    Verify,
    /// Something else: what was baked beneath is hidden and counted so.
    Hide,
}

/// A contract, ready to say what paths are held to.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "wire::WireContract", into = "wire::WireContract")]
pub struct Contract {
    rules: Vec<Rule>,
    mounts: Vec<ExpectedMount>,
    matcher: Matcher,
}

impl Contract {
    /// The default contract: what every Linux host has.
    pub fn linux() -> Self {
        Self::compose(Vec::new()).expect("the default contract is tested")
    }

    /// The mounts of [`Contract::linux`] without its rules: all is immutable.
    pub fn mounts_only() -> Self {
        Self { mounts: Self::linux().mounts, ..Self::empty() }
    }

    /// A contract without rules and mounts: all is immutable.
    pub fn empty() -> Self {
        Self::new(Vec::new(), Vec::new()).expect("no rules are no rules too many")
    }

    /// Reads a contract as people write it.
    ///
    /// # Errors
    /// With line and column, when it is not TOML, has an unknown key, class or
    /// base, a bad glob, or a mount twice.
    pub fn from_toml(text: &str) -> Result<Self, TomlError> {
        let file = ContractFile::parse(text)?;
        Self::compose(vec![file]).map_err(|message| TomlError::at(text, 0..0, message))
    }

    fn new(rules: Vec<Rule>, mounts: Vec<ExpectedMount>) -> Result<Self, String> {
        if rules.len() + mounts.len() > MAX_RULES {
            return Err(format!("the contract has over {MAX_RULES} rules and mounts"));
        }
        let matcher = Matcher::new(rules.iter().map(|rule| rule.path.as_str()))?;
        Ok(Self { rules, mounts, matcher })
    }

    /// What a path is held to: the terms of the last rule that matches, else
    /// `immutable`.
    pub fn terms_of(&self, path: &TreePath) -> &Terms {
        self.rule_for(path).map_or(Terms::immutable(), |rule| &rule.terms)
    }

    /// The class of a path.
    pub fn class_of(&self, path: &TreePath) -> Class {
        self.terms_of(path).class
    }

    /// The rule that decides what a path is held to, if one does.
    pub fn rule_for(&self, path: &TreePath) -> Option<&Rule> {
        self.rules.get(self.rule_index_for(path)?)
    }

    /// Where the deciding rule stands among the rules, if one does.
    pub fn rule_index_for(&self, path: &TreePath) -> Option<usize> {
        Progress::new(&self.matcher).last(path)
    }

    /// Answers for many paths, quickest when they come in tree order.
    pub fn follow(&self) -> Follower<'_> {
        Follower { contract: self, progress: Progress::new(&self.matcher) }
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether any rule has terms of this kind.
    pub fn has(&self, kind: impl Fn(&Terms) -> bool) -> bool {
        self.rules.iter().any(|rule| kind(&rule.terms))
    }

    /// The expected mounts.
    pub fn mounts(&self) -> &[ExpectedMount] {
        &self.mounts
    }

    /// The expected mount at `path`, if one is named.
    pub fn mount_at(&self, path: &TreePath) -> Option<&ExpectedMount> {
        self.mounts.iter().find(|mount| mount.path.as_bytes() == path.as_bytes())
    }

    /// Whether a mount that the contract names hides `path`, where it is mounted.
    pub fn may_hide(&self, path: &TreePath) -> bool {
        let bytes = path.as_bytes();
        self.mounts.iter().filter(|mount| mount.content == MountContent::Hide).any(|mount| {
            let mount = mount.path.as_bytes();
            // Most end at the first of these: it is asked of every entry.
            matches!(bytes.get(mount.len()), None | Some(b'/')) && bytes.starts_with(mount)
        })
    }
}

/// A contract that is asked for one path after the other. What a path shares
/// with the one before is not matched again.
#[derive(Debug)]
pub struct Follower<'a> {
    contract: &'a Contract,
    progress: Progress<'a>,
}

impl<'a> Follower<'a> {
    /// As [`Contract::terms_of`].
    pub fn terms_of(&mut self, path: &TreePath) -> &'a Terms {
        self.rule_index_for(path).map_or(Terms::immutable(), |at| &self.contract.rules[at].terms)
    }

    /// As [`Contract::rule_index_for`].
    pub fn rule_index_for(&mut self, path: &TreePath) -> Option<usize> {
        self.progress.last(path)
    }

    /// Where every rule that matches stands among the rules, rising: the last one
    /// decides.
    pub fn matching(&mut self, path: &TreePath, into: &mut Vec<usize>) {
        self.progress.all(path, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(contract: &Contract, path: &[u8]) -> Class {
        contract.class_of(&TreePath::new(path).unwrap())
    }

    #[test]
    fn the_last_match_wins_and_globs_keep_to_components() {
        let contract = Contract::from_toml(
            r#"
            base = "none"
            rule = [
              { path = "/tmp/**", class = "ephemeral" },
              { path = "/tmp/keep/*", class = "immutable" },
              { path = "/etc/*.conf", class = "ephemeral" },
              { path = "/home/**/cache", class = "ephemeral" },
            ]"#,
        )
        .unwrap();
        for (path, expected) in [
            (&b"/"[..], Class::Immutable),
            (b"/tmp", Class::Immutable),
            (b"/tmp/x", Class::Ephemeral),
            (b"/tmp/x\ny/\xff", Class::Ephemeral),
            (b"/tmp/keep", Class::Ephemeral),
            (b"/tmp/keep/a", Class::Immutable),
            (b"/tmp/keep/a/b", Class::Ephemeral),
            (b"/etc/a.conf", Class::Ephemeral),
            (b"/etc/.conf", Class::Ephemeral),
            (b"/etc/d/a.conf", Class::Immutable),
            (b"/home/cache", Class::Ephemeral),
            (b"/home/a/b/cache", Class::Ephemeral),
        ] {
            assert_eq!(class(&contract, path), expected, "{}", crate::path::escape(path));
        }
    }

    /// Each path that is named matches, each other does not.
    #[test]
    fn globs_mean_what_the_format_says() {
        const PATHS: [&str; 9] = ["/", "/a", "/b", "/ab", "/a/b", "/a/c/b", "/-", "/\\", "/ä"];
        for (glob, matching) in [
            ("/a{,b}", &["/a", "/ab"][..]),
            ("/{,a}", &["/a"]),
            ("/{a/{b,c/b},b}", &["/b", "/a/b", "/a/c/b"]),
            ("/{a/**/b,-}", &["/a/b", "/a/c/b", "/-"]),
            ("/a/**", &["/a/b", "/a/c/b"]),
            ("/a/**/**/b", &["/a/b", "/a/c/b"]),
            ("/[a-]", &["/a", "/-"]),
            ("/[-a-b]", &["/a", "/b", "/-"]),
            ("/[\\]", &["/\\"]),
            ("/\\\\", &["/\\"]),
            ("/??", &["/ab", "/ä"]),
            ("/ä", &["/ä"]),
        ] {
            let contract = Contract::new(
                vec![Rule {
                    path: glob.to_owned(),
                    terms: Terms { class: Class::Ephemeral, ..Terms::immutable().clone() },
                }],
                Vec::new(),
            );
            let contract = contract.unwrap();
            let found =
                PATHS.into_iter().filter(|path| class(&contract, path.as_bytes()) == Class::Ephemeral);
            assert_eq!(found.collect::<Vec<_>>(), matching, "{glob}");
        }
    }

    #[test]
    fn a_glob_for_everything_leaves_the_root_itself() {
        let all =
            Contract::from_toml("base = 'none'\nrule = [{ path = '/**', class = 'ephemeral' }]").unwrap();
        assert_eq!((class(&all, b"/"), class(&all, b"/a/b")), (Class::Immutable, Class::Ephemeral));
    }

    #[test]
    fn errors_name_line_column_and_mend() {
        for (text, says) in [
            ("[[rule]]\npath = '/a'\nclass = 'immutable'\nforbid = ['exec']", "nothing can be forbidden"),
            ("[[rule]]\npath = '/a'\nclass = 'pinned'\nforbid = ['exe']", "did you mean `exec`?"),
            (
                "[[rule]]\npath = '/a'\nclass = 'pinned'\nxattrs = ['x']",
                "line 4, column 11: `x` is not a name",
            ),
            ("[[rule]]\npath = '/a'\nclass = 'frozen'", "line 3, column 9: there is no class `frozen`"),
            ("[[rule]]\npath = 'tmp/**'\nclass = 'ephemeral'", "line 2, column 8: glob `tmp/**` must start"),
            ("[[rule]]\npath = '/a[b'\nclass = 'ephemeral'", "line 2, column 8: glob `/a[b` is not valid"),
            ("[[rule]]\npath = '/a**'\nclass = 'ephemeral'", "must be a whole component"),
            ("[[rule]]\npath = '/a[!b]'\nclass = 'ephemeral'", "has a negated class"),
            ("[[rule]]\npath = '/a[+-9]'\nclass = 'ephemeral'", "has brackets that match `/`"),
            ("[[rule]]\npath = '/a[/-9]b'\nclass = 'ephemeral'", "has brackets that match `/`"),
            ("[[rule]]\npath = '/a[]!-0]b'\nclass = 'ephemeral'", "begin with `]`"),
            ("[[rule]]\npath = '/[a-c-e]'\nclass = 'ephemeral'", "`-` between ranges"),
            ("[[rule]]\npath = '/[a--]'\nclass = 'ephemeral'", "a range that ends in `-`"),
            ("[[rule]]\npath = '/[ä]'\nclass = 'ephemeral'", "a character beyond ASCII"),
            (
                "[[mount]]\npath='/x'\ncontent='hide'\n[[mount]]\npath='/x'\ncontent='hide'",
                "line 5, column 6: the mount",
            ),
            ("[[mount]]\npath = '/'\ncontent = 'hide'", "the root itself"),
            ("[[rule]]\npath = '/a/../b'\nclass = 'ephemeral'", "component `..`"),
            ("[[rules]]\n", "did you mean `rule`?"),
            ("base = 'debian'\n", "there is no base `debian`"),
            ("[[mount]]\npath = 'x'\ncontent = 'hide'", "line 2, column 8: not a mount point"),
            ("[[mount]]\npath = '/x'\ncontent = 'hid'", "did you mean `hide`?"),
        ] {
            let error = Contract::from_toml(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn what_is_too_much_is_refused_at_once() {
        let rule = |path: &str| format!("[[rule]]\npath = '{path}'\nclass = 'ephemeral'\n");
        let nested = format!("/{}a{}", "{".repeat(9), "}".repeat(9));
        for (text, says) in [
            (rule("/a").repeat(MAX_RULES + 1), "over 10000 rules"),
            (rule("/a").repeat(1_000_000), "over 1048576 bytes"),
            (rule(&format!("/{}", "a".repeat(5000))), "over 4096 bytes long"),
            (rule(&nested), "braces within braces"),
        ] {
            let error = Contract::from_toml(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let rules: Vec<_> = (0..=MAX_RULES).map(|_| r#"{"path":"/a","class":"pinned"}"#).collect();
        let json = format!(r#"{{"rules":[{}],"mounts":[]}}"#, rules.join(","));
        let error = serde_json::from_str::<Contract>(&json).unwrap_err().to_string();
        assert!(error.contains("over 10000 rules"), "{error}");
    }

    #[test]
    fn a_contract_adds_to_its_base_and_survives_json() {
        let text = "[[mount]]\npath = '/tmp'\ncontent = 'verify'\nflags = ['noexec']\n";
        let contract = Contract::from_toml(text).unwrap();
        let json = serde_json::to_string(&contract).unwrap();
        let back: Contract = serde_json::from_str(&json).unwrap();
        assert_eq!((back.rules(), back.mounts()), (contract.rules(), contract.mounts()));
        assert_eq!(back.rules(), Contract::linux().rules());
        let tmp = back.mount_at(&TreePath::new("/tmp").unwrap()).unwrap();
        assert_eq!(
            (tmp.content, &tmp.filesystem, &tmp.flags[..]),
            (MountContent::Verify, &None, &["noexec".to_owned()][..])
        );
        assert_eq!(back.mounts().len(), Contract::linux().mounts().len());
    }
}
