//! What a finding bears on: code, configuration, privileges, trust.
//!
//! Decided here and not in Rego, so that it is counted over *all* findings,
//! also those that are too many for rules to see. A matter of the finding
//! alone; a finding may bear on several things, or on none of them.

use congruent_protocol::drift::{Attributes, Change, Field, Finding};
use congruent_protocol::entry::Kind;
use congruent_protocol::path::TreePath;
use serde::{Deserialize, Serialize};

/// Something that a finding may bear on; the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Concern {
    /// A file that is setuid or setgid, or was.
    Setuid,
    /// A file that has capabilities, or had.
    Capability,
    /// A device node.
    Device,
    /// A mount that the contract does not name.
    Mount,
    /// Whom the machine trusts: certificates, keys, accounts, rules of privilege.
    TrustAnchor,
    /// What runs: programs, libraries, kernels and modules, scripts, and what
    /// makes others run them.
    Code,
    /// What lies in the operating system's own places (`/usr`, `/boot` and what
    /// stands for them) and is not code.
    System,
    /// `/etc`.
    Configuration,
}

/// Directories of the operating system, with all beneath them.
const SYSTEM: [&str; 8] = ["/usr", "/boot", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Directories whose content runs, with all beneath them.
const CODE: [&str; 19] = [
    "/bin",
    "/boot",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/libx32",
    "/usr/local/bin",
    "/usr/local/lib",
    "/usr/local/libexec",
    "/usr/local/sbin",
    "/usr/sbin",
    "/usr/src",
];

/// Configuration that makes code run or chooses which: the usual places to stay
/// in after a break-in. A name also stands for what begins with it, so that
/// `/etc/cron` is `/etc/crontab` and `/etc/cron.d/x`.
const STARTS_CODE: [&str; 19] = [
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/cron",
    "/etc/environment",
    "/etc/init.d",
    "/etc/inittab",
    "/etc/kernel",
    "/etc/ld.so.",
    "/etc/modprobe.d",
    "/etc/modules",
    "/etc/profile",
    "/etc/rc",
    "/etc/skel",
    "/etc/systemd",
    "/etc/udev",
    "/etc/update-motd.d",
    "/etc/xdg/autostart",
    "/var/spool/at",
    "/var/spool/cron",
];

/// Places of keys, certificates, accounts and privileges, likewise by beginning.
const TRUST: [&str; 23] = [
    "/etc/apt/keyrings",
    "/etc/apt/trusted.gpg",
    "/etc/ca-certificates",
    "/etc/congruent",
    "/etc/doas.conf",
    "/etc/group",
    "/etc/gshadow",
    "/etc/ipsec.d",
    "/etc/krb5",
    "/etc/nsswitch.conf",
    "/etc/pam",
    "/etc/passwd",
    "/etc/pki",
    "/etc/polkit-1",
    "/etc/security",
    "/etc/shadow",
    "/etc/ssh",
    "/etc/ssl",
    "/etc/sub",
    "/etc/sudo",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/keyrings",
];

/// Endings of file names that are code wherever they lie, also without an x bit.
const CODE_ENDINGS: [&str; 20] = [
    ".class", ".efi", ".jar", ".js", ".ko", ".ko.gz", ".ko.xz", ".ko.zst", ".mjs", ".php", ".pl", ".pm",
    ".pth", ".py", ".pyc", ".rb", ".sh", ".so", ".war", ".wasm",
];

impl Concern {
    /// All of them, the gravest first.
    pub(crate) const ALL: [Self; 8] = [
        Self::Setuid,
        Self::Capability,
        Self::Device,
        Self::Mount,
        Self::TrustAnchor,
        Self::Code,
        Self::System,
        Self::Configuration,
    ];

    /// What `finding` bears on, the gravest first.
    pub(crate) fn of(finding: &Finding) -> Vec<Self> {
        Self::ALL.into_iter().filter(|concern| concern.touches(finding)).collect()
    }

    fn touches(self, finding: &Finding) -> bool {
        let path = finding.path.as_bytes();
        match self {
            Self::Setuid => either(finding, is_setuid),
            Self::Capability => has_capability(finding),
            Self::Device => either(finding, |it| matches!(it.kind, Kind::CharDevice | Kind::BlockDevice)),
            Self::Mount => {
                finding.change == Change::MountedOver || either(finding, |it| it.kind == Kind::Mount)
            }
            Self::TrustAnchor => begins_with_any(path, &TRUST) || is_ssh_key_list(&finding.path),
            Self::Code => {
                lies_in_any(path, &CODE)
                    || begins_with_any(path, &STARTS_CODE)
                    || either(finding, is_executable)
                    || is_code_by_name(&finding.path)
            }
            // The root directory's own metadata opens or closes everything.
            Self::System => {
                (finding.path.is_root() || lies_in_any(path, &SYSTEM)) && !Self::Code.touches(finding)
            }
            Self::Configuration => lies_in(path, "/etc"),
        }
    }
}

/// Whether what was baked or what is there is so: a setuid program that is gone
/// bears on setuid as much as one that is new.
fn either(finding: &Finding, is: impl Fn(&Attributes) -> bool) -> bool {
    finding.expected.iter().chain(&finding.observed).any(is)
}

fn is_setuid(it: &Attributes) -> bool {
    // On directories the same bits only hand down the group.
    it.kind == Kind::File && it.mode.is_some_and(|mode| mode.0 & 0o6000 != 0)
}

fn is_executable(it: &Attributes) -> bool {
    it.kind == Kind::File && it.mode.is_some_and(|mode| mode.0 & 0o111 != 0)
}

fn has_capability(finding: &Finding) -> bool {
    const NAME: &str = "security.capability";
    finding.fields.iter().any(|field| matches!(field, Field::Xattr(name) if name == NAME))
        || either(finding, |it| it.xattrs.iter().any(|xattr| xattr.name == NAME))
}

fn is_ssh_key_list(path: &TreePath) -> bool {
    path.name().starts_with(b"authorized_keys")
        || path.as_bytes().ends_with(b"/.ssh")
        || path.as_bytes().windows(6).any(|part| part == b"/.ssh/")
}

/// Whether the name is a library's, with or without version, or ends as code does.
fn is_code_by_name(path: &TreePath) -> bool {
    let name = path.name();
    CODE_ENDINGS.iter().any(|ending| name.ends_with(ending.as_bytes()))
        || name.windows(4).any(|part| part == b".so.")
}

fn lies_in_any(path: &[u8], directories: &[&str]) -> bool {
    directories.iter().any(|directory| lies_in(path, directory))
}

/// Whether `path` is `directory` or beneath it.
fn lies_in(path: &[u8], directory: &str) -> bool {
    path.strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn begins_with_any(path: &[u8], beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| path.starts_with(beginning.as_bytes()))
}
