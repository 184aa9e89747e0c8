//! The contract as the manifest's JSON has it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::terms::check_xattr_pattern;
use super::{Class, Contract, ExpectedMount, Forbidden, Rule, Terms, XattrScope};
use crate::path::TreePath;

/// A contract in a manifest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireContract {
    rules: Vec<WireRule>,
    mounts: Vec<ExpectedMount>,
}

/// A rule in a manifest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WireRule {
    path: String,
    class: Class,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forbid: Vec<Forbidden>,
    #[serde(default, skip_serializing_if = "is_false")]
    mtime: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    xattrs: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ignore_xattrs: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    sensitive: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_false(value: &bool) -> bool {
    !value
}

impl WireRule {
    fn into_rule(self) -> Result<Rule, String> {
        let Self { path, class, forbid, mtime, xattrs, ignore_xattrs, sensitive } = self;
        let refuse = |why: String| Err(format!("rule {path:?} {why}"));
        if class == Class::Reserved {
            return refuse("gives a class that no rule can give".to_owned());
        }
        if !forbid.is_sorted_by(|a, b| a < b) {
            return refuse("does not name what it forbids in order, each once".to_owned());
        }
        if let Some(why) = xattrs.iter().chain(&ignore_xattrs).find_map(|p| check_xattr_pattern(p).err()) {
            return refuse(format!("names xattrs that do not exist: {why}"));
        }
        let xattrs = XattrScope { more: xattrs, fewer: ignore_xattrs };
        let terms = Terms { class, forbid, mtime, xattrs, sensitive };
        match terms.check() {
            Ok(()) => Ok(Rule { path, terms }),
            Err(why) => refuse(format!("contradicts itself: {why}")),
        }
    }
}

impl From<Rule> for WireRule {
    fn from(rule: Rule) -> Self {
        let Terms { class, forbid, mtime, xattrs, sensitive } = rule.terms;
        let XattrScope { more: xattrs, fewer: ignore_xattrs } = xattrs;
        Self { path: rule.path, class, forbid, mtime, xattrs, ignore_xattrs, sensitive }
    }
}

impl TryFrom<WireContract> for Contract {
    type Error = String;

    fn try_from(wire: WireContract) -> Result<Self, String> {
        wire.mounts.iter().try_for_each(|mount| check_mount_path(&mount.path))?;
        let paths: BTreeSet<_> = wire.mounts.iter().map(|mount| &mount.path).collect();
        if paths.len() < wire.mounts.len() {
            return Err("a mount is named twice".to_owned());
        }
        let rules = wire.rules.into_iter().map(WireRule::into_rule).collect::<Result<_, _>>()?;
        Self::new(rules, wire.mounts)
    }
}

impl From<Contract> for WireContract {
    fn from(contract: Contract) -> Self {
        let rules = contract.rules.into_iter().map(WireRule::from).collect();
        Self { rules, mounts: contract.mounts }
    }
}

pub(super) fn check_mount_path(path: &str) -> Result<(), String> {
    match TreePath::new(path) {
        Ok(path) if path.is_root() => {
            Err("not a mount point: the root itself is what is looked at".to_owned())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(format!("not a mount point: {error}")),
    }
}
