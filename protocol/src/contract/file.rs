//! The contract as people write it, in TOML.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;

use super::terms::check_xattr_pattern;
use super::wire::check_mount_path;
use super::{
    Class, Contract, ExpectedMount, Forbidden, MAX_CONTRACT_BYTES, MountContent, Rule, Terms, XattrScope,
    glob,
};
use crate::strict_toml::{self, TomlError};

/// The default contract, version 1, as TOML.
const LINUX_1: &str = include_str!("linux-1.toml");

/// One file of a contract: its own rules and mounts, and what it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractFile {
    base: Base,
    rules: Vec<Rule>,
    mounts: Vec<ExpectedMount>,
}

/// What a contract's first file stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Linux1,
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The contract that this one adds to: `linux-1` unless said otherwise.
    base: Option<Spanned<String>>,
    #[serde(default)]
    rule: Vec<FileRule>,
    #[serde(default)]
    mount: Vec<FileMount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileRule {
    path: Spanned<String>,
    class: Spanned<String>,
    #[serde(default)]
    forbid: Vec<Forbidden>,
    #[serde(default)]
    mtime: bool,
    #[serde(default)]
    xattrs: Vec<Spanned<String>>,
    #[serde(default)]
    ignore_xattrs: Vec<Spanned<String>>,
    #[serde(default)]
    sensitive: bool,
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

impl ContractFile {
    /// Reads one file.
    ///
    /// # Errors
    /// With line and column, when it is not TOML, has an unknown key, class or
    /// base, a bad glob, or a mount twice.
    pub fn parse(text: &str) -> Result<Self, TomlError> {
        if text.len() > MAX_CONTRACT_BYTES {
            let why = format!("the contract is over {MAX_CONTRACT_BYTES} bytes");
            return Err(TomlError::at(text, 0..0, why));
        }
        let file: File = strict_toml::from_str(text)?;
        let base = match &file.base {
            None => Base::Linux1,
            Some(base) => base_named(base.get_ref()).map_err(|why| TomlError::at(text, base.span(), why))?,
        };
        let rules = file.rule.into_iter().map(|rule| rule.check(text)).collect::<Result<_, _>>()?;
        let mut named = BTreeSet::new();
        let mut mounts = Vec::new();
        for mount in file.mount {
            let at = |message| TomlError::at(text, mount.path.span(), message);
            check_mount_path(mount.path.get_ref()).map_err(at)?;
            let path = mount.path.get_ref().clone();
            if !named.insert(path.clone()) {
                return Err(at(format!("the mount `{}` is named twice", path.escape_debug())));
            }
            let FileMount { content, filesystem, source, flags, .. } = mount;
            mounts.push(ExpectedMount { path, content, filesystem, source, flags });
        }
        Ok(Self { base, rules, mounts })
    }
}

impl Contract {
    /// One contract of several files: the base that the first one names, then the
    /// rules of each in turn. A later word on a mount stands instead of an
    /// earlier one.
    ///
    /// # Errors
    /// When they hold too many rules, or the globs cannot be used together.
    pub fn compose(files: Vec<ContractFile>) -> Result<Self, String> {
        let mut parts = Vec::new();
        if files.first().is_none_or(|first| first.base == Base::Linux1) {
            parts.push(ContractFile::parse(LINUX_1).expect("the default contract is tested"));
        }
        parts.extend(files);
        let (mut rules, mut mounts) = (Vec::new(), Vec::<ExpectedMount>::new());
        for part in parts {
            rules.extend(part.rules);
            mounts.retain(|known| part.mounts.iter().all(|mount| mount.path != known.path));
            mounts.extend(part.mounts);
        }
        Self::new(rules, mounts)
    }
}

impl Contract {
    /// This contract with the rules and mounts of one more file behind its own;
    /// what that file stands on is not asked.
    ///
    /// # Errors
    /// As [`Contract::compose`].
    pub fn with(&self, more: ContractFile) -> Result<Self, String> {
        let own =
            ContractFile { base: Base::None, rules: self.rules().to_vec(), mounts: self.mounts().to_vec() };
        Self::compose(vec![own, more])
    }
}

fn base_named(name: &str) -> Result<Base, String> {
    match name {
        "linux-1" => Ok(Base::Linux1),
        "none" => Ok(Base::None),
        unknown => Err(format!("there is no base `{}`; use `linux-1` or `none`", unknown.escape_debug())),
    }
}

impl FileRule {
    fn check(self, text: &str) -> Result<Rule, TomlError> {
        let at = |part: &Spanned<String>, message| TomlError::at(text, part.span(), message);
        glob::compile(self.path.get_ref()).map_err(|message| at(&self.path, message))?;
        let class = Class::from_rule(self.class.get_ref()).map_err(|message| at(&self.class, message))?;
        for pattern in self.xattrs.iter().chain(&self.ignore_xattrs) {
            check_xattr_pattern(pattern.get_ref()).map_err(|message| at(pattern, message))?;
        }
        let mut forbid = self.forbid;
        forbid.sort_unstable();
        forbid.dedup();
        let names = |patterns: Vec<Spanned<String>>| patterns.into_iter().map(Spanned::into_inner).collect();
        let xattrs = XattrScope { more: names(self.xattrs), fewer: names(self.ignore_xattrs) };
        let terms = Terms { class, forbid, mtime: self.mtime, xattrs, sensitive: self.sensitive };
        terms.check().map_err(|why| at(&self.class, why))?;
        Ok(Rule { path: self.path.into_inner(), terms })
    }
}
