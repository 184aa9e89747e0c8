//! Terms: all that a contract says of one path.

use super::class::{CAPABILITY, Class, Forbidden};
use crate::entry::Entry;

/// Namespaces of extended attributes that Linux has.
const NAMESPACES: [&str; 4] = ["user.", "security.", "system.", "trusted."];
/// Overlay's own attributes, which say where a layer lies and nothing of the image.
const OVERLAYS_OWN: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// In scope unless a rule narrows it.
const ALWAYS: [&[u8]; 3] = [CAPABILITY, b"system.posix_acl_access", b"system.posix_acl_default"];

/// What a path is held to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// How it may change.
    pub class: Class,
    /// What it may never be, though its class would allow it. Rising, each once.
    pub forbid: Vec<Forbidden>,
    /// Whether its modification time is compared; never a directory's.
    pub mtime: bool,
    /// Which extended attributes are compared.
    pub xattrs: XattrScope,
    /// Whether reports carry its content only as a keyed digest.
    pub sensitive: bool,
}

impl Terms {
    /// The terms of a class, without anything more.
    pub const fn of(class: Class) -> Self {
        Self {
            class,
            forbid: Vec::new(),
            mtime: false,
            xattrs: XattrScope { more: Vec::new(), fewer: Vec::new() },
            sensitive: false,
        }
    }

    /// The terms of what no rule names.
    pub fn immutable() -> &'static Self {
        static IMMUTABLE: Terms = Terms::of(Class::Immutable);
        &IMMUTABLE
    }

    /// The terms of reserved places.
    pub fn reserved() -> &'static Self {
        static RESERVED: Terms = Terms::of(Class::Reserved);
        &RESERVED
    }

    /// Whether what they forbid can be seen.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.class == Class::Immutable && !self.forbid.is_empty() {
            return Err(
                "nothing can be forbidden of what is `immutable`: it is held to what was baked".to_owned()
            );
        }
        if self.forbid.contains(&Forbidden::Exec) && !self.xattrs.contains(CAPABILITY) {
            return Err("`exec` cannot be forbidden where `security.capability` is ignored".to_owned());
        }
        Ok(())
    }

    /// What these terms forbid of `entry`.
    pub fn forbidden_of(&self, entry: &Entry) -> Vec<Forbidden> {
        self.forbid.iter().copied().filter(|forbidden| forbidden.is(entry)).collect()
    }

    /// Whether `entry`'s time is compared.
    pub fn compares_time_of(&self, entry: &Entry) -> bool {
        self.mtime && !entry.node.is_directory()
    }
}

/// Which extended attributes are compared: `user.*`, `security.capability` and
/// POSIX ACLs, and what a rule adds to them or takes from them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XattrScope {
    /// Names, or namespaces that end in `*`, that are compared as well.
    pub more: Vec<String>,
    /// Names, or namespaces that end in `*`, that are not compared.
    pub fewer: Vec<String>,
}

impl XattrScope {
    /// Whether the attribute `name` is compared.
    pub fn contains(&self, name: &[u8]) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
        if OVERLAYS_OWN.iter().any(|own| name.starts_with(own)) || named(&self.fewer) {
            return false;
        }
        name.starts_with(b"user.") || ALWAYS.contains(&name) || named(&self.more)
    }

    /// Whether attributes are compared that only a privileged process can see.
    pub fn asks_for_trusted(&self) -> bool {
        self.more.iter().any(|pattern| pattern.starts_with("trusted."))
    }
}

fn matches(pattern: &str, name: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    }
}

/// Holds a pattern of attribute names to its form: a namespace of Linux's, a
/// name, and at most one `*`, at the end.
pub(super) fn check_xattr_pattern(pattern: &str) -> Result<(), String> {
    let shown = pattern.escape_debug();
    let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
    if prefix.contains('*') {
        return Err(format!("`{shown}` has a `*` that is not at its end"));
    }
    if prefix.len() > 255 || prefix.contains('\0') {
        return Err(format!("`{shown}` is no name that an extended attribute can have"));
    }
    if OVERLAYS_OWN.iter().any(|own| prefix.as_bytes().starts_with(own)) {
        return Err(format!("`{shown}` is overlay's own, which says nothing of the image"));
    }
    match NAMESPACES.iter().find(|namespace| prefix.starts_with(*namespace)) {
        Some(namespace) if prefix.len() > namespace.len() || pattern.ends_with('*') => Ok(()),
        _ => Err(format!(
            "`{shown}` is not a name or namespace of extended attributes, such as `security.selinux` or `trusted.*`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_is_the_default_and_what_the_rule_says() {
        let scope = |more: &[&str], fewer: &[&str]| XattrScope {
            more: more.iter().map(ToString::to_string).collect(),
            fewer: fewer.iter().map(ToString::to_string).collect(),
        };
        let default = scope(&[], &[]);
        let wide = scope(&["security.selinux", "trusted.*"], &[]);
        let narrow = scope(&[], &["user.*", "security.capability"]);
        for (name, in_default, in_wide, in_narrow) in [
            (&b"user.note"[..], true, true, false),
            (b"user.overlay.opaque", false, false, false),
            (b"trusted.overlay.opaque", false, false, false),
            (b"trusted.mine", false, true, false),
            (b"security.selinux", false, true, false),
            (b"security.ima", false, false, false),
            (b"security.capability", true, true, false),
            (b"system.posix_acl_access", true, true, true),
        ] {
            let found = [&default, &wide, &narrow].map(|scope| scope.contains(name));
            assert_eq!(found, [in_default, in_wide, in_narrow], "{}", crate::path::escape(name));
        }
        assert!(wide.asks_for_trusted() && !default.asks_for_trusted());
    }

    #[test]
    fn patterns_name_what_linux_has() {
        for good in ["user.*", "security.selinux", "trusted.a*"] {
            assert_eq!(check_xattr_pattern(good), Ok(()));
        }
        for (bad, says) in [
            ("*", "not a name or namespace"),
            ("user.", "not a name or namespace"),
            ("other.x", "not a name or namespace"),
            ("user.*.x", "not at its end"),
            ("trusted.overlay.*", "overlay's own"),
            ("user.\0", "no name"),
        ] {
            assert!(check_xattr_pattern(bad).unwrap_err().contains(says), "{bad:?}");
        }
    }
}
