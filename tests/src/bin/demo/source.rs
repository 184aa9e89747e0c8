//! The root file system that the demo bakes: Debian's, made by mmdebstrap, or
//! else a copy of part of this machine's.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use congruent_tests::{debian, tree};
use walkdir::{DirEntry, WalkDir};

/// What is copied of this machine, in this order, up to the limit.
const COPIED: [&str; 3] = ["/etc", "/usr/bin", "/usr/lib"];
/// Each of them gets at most this much.
const MAX_BYTES: u64 = 60 << 20;

/// Puts a root file system at `root`; says where it is from.
pub(crate) fn plant(root: &Path) -> Result<String> {
    if let Some(why_not) = why_no_debian() {
        return copy_machine(root, &why_not);
    }
    if debian::made_before().is_none() {
        println!("  Making a Debian root file system by mmdebstrap; this takes about a minute, once.");
    }
    match debian::root().and_then(|made| tree::copy(made, root)) {
        Ok(()) => Ok("A Debian root file system, made by mmdebstrap.".to_owned()),
        Err(error) => {
            // A half-made copy must not be baked.
            let _ = fs::remove_dir_all(root);
            copy_machine(root, &format!("mmdebstrap did not work: {error:#}"))
        }
    }
}

fn why_no_debian() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".to_owned());
    }
    let there =
        Command::new("mmdebstrap").arg("--version").output().is_ok_and(|output| output.status.success());
    (!there && debian::made_before().is_none()).then(|| "mmdebstrap is not there".to_owned())
}

fn copy_machine(root: &Path, why: &str) -> Result<String> {
    fs::create_dir(root).context("cannot make the root")?;
    let mut copied = 0;
    for top in COPIED {
        let mut bytes = 0;
        for entry in WalkDir::new(top).sort_by_file_name() {
            // What cannot be read is no part of this copy, and so of what is baked.
            let Ok(entry) = entry else { continue };
            bytes += entry.metadata().map_or(0, |about| if about.is_file() { about.len() } else { 0 });
            if bytes > MAX_BYTES {
                break;
            }
            copied += u64::from(copy_entry(&entry, root).is_ok());
        }
    }
    Ok(format!("A copy of part of this machine ({why}): {copied} entries of {}.", COPIED.join(", ")))
}

fn copy_entry(entry: &DirEntry, root: &Path) -> Result<()> {
    let from = entry.path();
    let to = root.join(from.strip_prefix("/")?);
    let about = entry.metadata()?;
    let kind = about.file_type();
    if kind.is_dir() {
        fs::create_dir_all(&to)?;
    } else if kind.is_symlink() {
        symlink(fs::read_link(from)?, &to)?;
    } else if kind.is_file() {
        fs::copy(from, &to)?;
    }
    if rustix::process::geteuid().is_root() {
        lchown(&to, Some(about.uid()), Some(about.gid()))?;
    }
    if !kind.is_symlink() {
        // After the owner, since a change of owner takes setuid away. Its owner here must be able to read it, whoever may there.
        fs::set_permissions(&to, Permissions::from_mode((about.mode() & 0o7777) | 0o600))?;
    }
    Ok(())
}
