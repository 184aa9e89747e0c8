//! The contract: what may change, and which mounts are expected.
//!
//! Written as TOML by the image's owner, carried as JSON in the signed
//! manifest. The class of a path is a matter of its bytes alone; the last rule
//! that matches wins; what no rule names is `immutable`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::path::TreePath;
use crate::strict_toml::{self, TomlError};

/// The default contract, version 1, as TOML.
const LINUX_1: &str = include_str!("default-contract.toml");
/// The longest contract text taken, in bytes.
pub const MAX_CONTRACT_BYTES: usize = 1 << 20;
/// The most rules and mounts taken.
const MAX_RULES: usize = 10_000;

/// How a path may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Not at all.
    Immutable,
    /// In any way.
    Ephemeral,
    /// Outside the tree: only findings in reserved places have it, no rule gives it.
    Reserved,
}

/// Classes of the design that this version cannot hold anyone to.
const LATER_CLASSES: [&str; 5] = ["append-only", "create-only", "pinned", "rotating", "add-on"];

impl Class {
    /// The name, as in contracts and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Immutable => "immutable",
            Self::Ephemeral => "ephemeral",
            Self::Reserved => "reserved",
        }
    }

    /// The class that a rule asks for by name.
    fn from_rule(name: &str) -> Result<Self, String> {
        match name {
            "immutable" => Ok(Self::Immutable),
            "ephemeral" => Ok(Self::Ephemeral),
            later if LATER_CLASSES.contains(&later) => Err(format!(
                "class `{later}` is not supported by this version of congruent; it has `immutable` and `ephemeral`"
            )),
            unknown => {
                Err(format!("there is no class `{}`; use `immutable` or `ephemeral`", unknown.escape_debug()))
            }
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Gives the paths that match a glob their class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// A glob over the whole path: `*` and `?` stay within a component, `**` as
    /// a whole component does not. `/tmp/**` is all beneath `/tmp`, not `/tmp`.
    pub path: String,
    /// The class.
    pub class: Class,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<String>,
    /// What is mounted, where wanted, as in `/proc/self/mountinfo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// A contract, ready to classify paths.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "WireContract", into = "WireContract")]
pub struct Contract {
    rules: Vec<Rule>,
    mounts: Vec<ExpectedMount>,
    globs: GlobSet,
}

/// A contract in a manifest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireContract {
    rules: Vec<Rule>,
    mounts: Vec<ExpectedMount>,
}

/// A contract as people write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ContractFile {
    /// The contract that this one adds to: `linux-1` unless said otherwise.
    base: Option<Spanned<String>>,
    #[serde(default)]
    rule: Vec<FileRule>,
    #[serde(default)]
    mount: Vec<FileMount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRule {
    path: Spanned<String>,
    class: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMount {
    path: Spanned<String>,
    content: MountContent,
    filesystem: Option<String>,
    source: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
}

impl Contract {
    /// The default contract: what every Linux host has.
    pub fn linux() -> Self {
        Self::from_toml(LINUX_1).expect("the default contract is tested")
    }

    /// Reads a contract as people write it.
    ///
    /// # Errors
    /// With line and column, when it is not TOML, has an unknown key, class or
    /// base, a bad glob, or a mount twice.
    pub fn from_toml(text: &str) -> Result<Self, TomlError> {
        if text.len() > MAX_CONTRACT_BYTES {
            return Err(TomlError::at(
                text,
                0..0,
                format!("the contract is over {MAX_CONTRACT_BYTES} bytes"),
            ));
        }
        let file: ContractFile = strict_toml::from_str(text)?;
        let (mut rules, mut mounts) =
            match file.base.as_ref().map(|base| (base.get_ref().as_str(), base.span())) {
                None | Some(("linux-1", _)) => {
                    let base = Self::linux();
                    (base.rules, base.mounts)
                }
                Some(("none", _)) => (Vec::new(), Vec::new()),
                Some((unknown, span)) => {
                    let known =
                        format!("there is no base `{}`; use `linux-1` or `none`", unknown.escape_debug());
                    return Err(TomlError::at(text, span, known));
                }
            };
        for rule in file.rule {
            let at = |message| TomlError::at(text, rule.path.span(), message);
            glob(rule.path.get_ref()).map_err(at)?;
            let class = Class::from_rule(rule.class.get_ref())
                .map_err(|message| TomlError::at(text, rule.class.span(), message))?;
            rules.push(Rule { path: rule.path.into_inner(), class });
        }
        let mut named = BTreeSet::new();
        for mount in file.mount {
            let at = |message| TomlError::at(text, mount.path.span(), message);
            check_mount_path(mount.path.get_ref()).map_err(at)?;
            let path = mount.path.get_ref().clone();
            if !named.insert(path.clone()) {
                return Err(at(format!("the mount `{}` is named twice", path.escape_debug())));
            }
            // A contract's own word on a mount stands instead of its base's.
            mounts.retain(|known| known.path != path);
            let FileMount { content, filesystem, source, flags, .. } = mount;
            mounts.push(ExpectedMount { path, content, filesystem, source, flags });
        }
        Self::new(rules, mounts).map_err(|message| TomlError::at(text, 0..0, message))
    }

    fn new(rules: Vec<Rule>, mounts: Vec<ExpectedMount>) -> Result<Self, String> {
        if rules.len() + mounts.len() > MAX_RULES {
            return Err(format!("the contract has over {MAX_RULES} rules and mounts"));
        }
        let mut globs = GlobSetBuilder::new();
        for rule in &rules {
            globs.add(glob(&rule.path)?);
        }
        let globs = globs
            .build()
            .map_err(|error| format!("the contract's globs cannot be used together: {error}"))?;
        Ok(Self { rules, mounts, globs })
    }

    /// The class of a path: the last matching rule's, else `immutable`.
    pub fn class_of(&self, path: &TreePath) -> Class {
        self.rule_for(path).map_or(Class::Immutable, |rule| rule.class)
    }

    /// The rule that decides a path's class, if one does.
    pub fn rule_for(&self, path: &TreePath) -> Option<&Rule> {
        // A glob such as `/**` means what lies beneath, never `/` itself.
        if path.is_root() {
            return self.rules.iter().rev().find(|rule| rule.path == "/");
        }
        let candidate = Candidate::new(OsStr::from_bytes(path.as_bytes()));
        let last = self.globs.matches_candidate(&candidate).into_iter().max()?;
        self.rules.get(last)
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The expected mounts.
    pub fn mounts(&self) -> &[ExpectedMount] {
        &self.mounts
    }

    /// The expected mount at `path`, if one is named.
    pub fn mount_at(&self, path: &TreePath) -> Option<&ExpectedMount> {
        self.mounts.iter().find(|mount| mount.path.as_bytes() == path.as_bytes())
    }
}

impl TryFrom<WireContract> for Contract {
    type Error = String;

    fn try_from(wire: WireContract) -> Result<Self, String> {
        if let Some(rule) = wire.rules.iter().find(|rule| rule.class == Class::Reserved) {
            return Err(format!("rule {:?} gives a class that no rule can give", rule.path));
        }
        wire.mounts.iter().try_for_each(|mount| check_mount_path(&mount.path))?;
        let paths: BTreeSet<_> = wire.mounts.iter().map(|mount| &mount.path).collect();
        if paths.len() < wire.mounts.len() {
            return Err("a mount is named twice".to_owned());
        }
        Self::new(wire.rules, wire.mounts)
    }
}

impl From<Contract> for WireContract {
    fn from(contract: Contract) -> Self {
        Self { rules: contract.rules, mounts: contract.mounts }
    }
}

/// Compiles a glob, held to the contract's narrower rules.
///
/// # Errors
/// When it breaks one; the text says which.
pub fn glob(pattern: &str) -> Result<globset::Glob, String> {
    let shown = pattern.escape_debug();
    let Some(rest) = pattern.strip_prefix('/') else {
        return Err(format!(
            "glob `{shown}` must start with `/`: globs match the whole path from the image's root"
        ));
    };
    check_brackets(pattern).map_err(|why| format!("glob `{shown}` {why}"))?;
    for component in rest.split('/') {
        match component {
            "" if rest.is_empty() => {}
            "" => return Err(format!("glob `{shown}` has an empty component")),
            "." | ".." => {
                return Err(format!("glob `{shown}` has the component `{component}`, which no path has"));
            }
            "**" => {}
            _ if component.contains("**") => {
                return Err(format!(
                    "glob `{shown}` has `**` beside other characters; it must be a whole component"
                ));
            }
            _ => {}
        }
    }
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map_err(|error| format!("glob `{shown}` is not valid: {}", error.kind()))
}

/// Refuses the brackets that would match the separator, and so leave their
/// component: negated ones, and those that hold it or a range across it.
fn check_brackets(pattern: &str) -> Result<(), &'static str> {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' => {
                let class: Vec<char> = chars.by_ref().take_while(|&c| c != ']').collect();
                match class.first() {
                    None => return Err("has brackets that begin with `]`; name it elsewhere in them"),
                    Some('!' | '^') => {
                        return Err("has a negated class, which would match `/` too; name what it may match");
                    }
                    Some(_) => {}
                }
                if class.contains(&'/')
                    || class.windows(3).any(|w| w[1] == '-' && (w[0]..=w[2]).contains(&'/'))
                {
                    return Err("has brackets that match `/`; name what they may match");
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_mount_path(path: &str) -> Result<(), String> {
    match TreePath::new(path) {
        Ok(path) if path.is_root() => {
            Err("not a mount point: the root itself is what is looked at".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(format!("not a mount point: {error}")),
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

    #[test]
    fn a_glob_for_everything_leaves_the_root_itself() {
        let all =
            Contract::from_toml("base = 'none'\nrule = [{ path = '/**', class = 'ephemeral' }]").unwrap();
        assert_eq!((class(&all, b"/"), class(&all, b"/a/b")), (Class::Immutable, Class::Ephemeral));
    }

    #[test]
    fn errors_name_line_column_and_mend() {
        for (text, says) in [
            ("[[rule]]\npath = '/a'\nclass = 'pinned'", "line 3, column 9: class `pinned` is not supported"),
            ("[[rule]]\npath = '/a'\nclass = 'frozen'", "line 3, column 9: there is no class `frozen`"),
            ("[[rule]]\npath = 'tmp/**'\nclass = 'ephemeral'", "line 2, column 8: glob `tmp/**` must start"),
            ("[[rule]]\npath = '/a[b'\nclass = 'ephemeral'", "line 2, column 8: glob `/a[b` is not valid"),
            ("[[rule]]\npath = '/a**'\nclass = 'ephemeral'", "must be a whole component"),
            ("[[rule]]\npath = '/a[!b]'\nclass = 'ephemeral'", "has a negated class"),
            ("[[rule]]\npath = '/a[+-9]'\nclass = 'ephemeral'", "has brackets that match `/`"),
            ("[[rule]]\npath = '/a[/-9]b'\nclass = 'ephemeral'", "has brackets that match `/`"),
            ("[[rule]]\npath = '/a[]!-0]b'\nclass = 'ephemeral'", "begin with `]`"),
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
