//! Commands with mounts of their own, which are gone with the command.

use std::path::Path;
use std::process::Command;

/// A command that runs the shell commands `before` in a mount namespace of its
/// own and then becomes `program`; `$ROOT` is `root`. Needs root.
pub fn command(before: &str, root: &Path, program: &Path) -> Command {
    let script = format!("set -e; {before}; exec \"$@\"");
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    unshare.arg(program).env("ROOT", root);
    unshare
}
