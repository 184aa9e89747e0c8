//! The three changes, each of a kind that some checkers miss.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Programs whose content may be changed, the first that is there.
const PROGRAMS: [&str; 4] = ["usr/bin/ls", "usr/bin/cat", "usr/bin/env", "usr/bin/bash"];
const ADDED: &str = "usr/bin/.update-helper";

/// Makes the changes; says what they are.
pub(crate) fn make(root: &Path) -> Result<[String; 3]> {
    Ok([change_program(root)?, open_up(root)?, add(root)?])
}

fn change_program(root: &Path) -> Result<String> {
    let found = PROGRAMS.iter().find(|program| root.join(program).is_file());
    let path: PathBuf = root.join(found.context("the tree has no program to change")?);
    let about = fs::metadata(&path)?;
    let middle = about.len() / 2;
    let file = File::options().read(true).write(true).open(&path);
    let file = file.with_context(|| format!("cannot change {}", path.display()))?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle)?;
    file.write_all_at(&[byte[0] ^ 1], middle)?;
    file.set_times(FileTimes::new().set_modified(about.modified()?).set_accessed(about.accessed()?))?;
    let shown = path.strip_prefix(root).unwrap_or(&path).display();
    Ok(format!("/{shown}: one bit of its content, with size and times as they were"))
}

fn open_up(root: &Path) -> Result<String> {
    let path = root.join("etc/passwd");
    let before = fs::metadata(&path).context("the tree has no etc/passwd")?.permissions().mode() & 0o7777;
    fs::set_permissions(&path, Permissions::from_mode(0o666)).context("cannot change a mode")?;
    Ok(format!("/etc/passwd: its mode, from {before:04o} to 0666"))
}

fn add(root: &Path) -> Result<String> {
    let path = root.join(ADDED);
    fs::write(&path, "#!/bin/sh\n# nothing good\n").context("cannot add a file")?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    Ok(format!("/{ADDED}: added"))
}
