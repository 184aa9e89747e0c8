//! A kernel or a sandbox that refuses openat2: what is seen is the same.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use congruent_protocol::verification::Verification;
use congruent_tests::program::{self, Ended};
use congruent_tests::sandbox::Sandbox;
use congruent_tests::{agent, debian, tree};
use rustix::io::Errno;

use crate::mutation::check::check_root;
use crate::mutation::row::Baked;

/// The number of the call, which is the same on every architecture.
const OPENAT2: u32 = 437;
/// Calls it as the C library would have to, and says what the kernel says.
const PROBE: &str = "import ctypes; libc = ctypes.CDLL(None, use_errno=True); \
                     libc.syscall(437, -100, b'/', None, 0); print(ctypes.get_errno())";

#[test]
fn without_openat2_the_outcome_is_the_same() -> Result<()> {
    let sandbox = Sandbox::for_trees()?;
    let baked = Baked::bake(debian::root()?, "", &sandbox)?;
    let root = sandbox.path("root");
    tree::copy(&baked.tree, &root)?;
    for is_changed in [false, true] {
        if is_changed {
            change(&root)?;
        }
        let plain = verify(&baked, &root, None)?;
        ensure!(plain.code == Some(i32::from(is_changed)), "it ended with {:?}", plain.code);
        for errno in [Errno::NOSYS, Errno::PERM] {
            let filter = sandbox.write("filter", refusing(errno))?;
            check_that_it_refuses(&filter, errno)?;
            let refused = verify(&baked, &root, Some(&filter))?;
            check_same(&baked, &plain, &refused).with_context(|| errno.to_string())?;
        }
    }
    Ok(())
}

/// A link where a directory was is what no call may follow.
fn change(root: &Path) -> Result<()> {
    fs::rename(root.join("etc/apt"), root.join("etc/tpa"))?;
    symlink("tpa", root.join("etc/apt"))?;
    Ok(fs::write(root.join("usr/bin/ls"), "")?)
}

/// A filter that answers openat2 with an error and lets all else through, as the
/// kernel takes it: see `struct sock_filter`, and seccomp(2) for what is returned.
fn refusing(errno: Errno) -> Vec<u8> {
    const LOAD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERROR: u32 = 0x0005_0000;
    let error = ERROR | errno.raw_os_error().unsigned_abs();
    // The call's number is what lies first in what is looked at.
    [(LOAD, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, OPENAT2), (RETURN, 0, 0, error), (RETURN, 0, 0, ALLOW)]
        .into_iter()
        .flat_map(|(code, if_true, if_false, operand): (u16, u8, u8, u32)| {
            let code = code.to_ne_bytes();
            let operand = operand.to_ne_bytes();
            [&code[..], &[if_true, if_false], &operand].concat()
        })
        .collect()
}

/// A command line that runs its arguments behind a filter.
fn behind(filter: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec bwrap --dev-bind / / --seccomp 9 -- \"$@\" 9<\"$FILTER\"", "sh"]);
    shell.env("FILTER", filter);
    shell
}

fn check_that_it_refuses(filter: &Path, errno: Errno) -> Result<()> {
    let ended = program::run(behind(filter).args(["python3", "-c", PROBE]))?;
    let said = ended.text();
    ensure!(said.trim() == errno.raw_os_error().to_string(), "openat2 says {said}: {}", ended.stderr);
    Ok(())
}

fn verify(baked: &Baked, root: &Path, filter: Option<&Path>) -> Result<Ended> {
    let mut verify = agent::command(&[])?;
    verify.args(agent::verify_arguments(&baked.manifest_file, &baked.public_key, root));
    match filter {
        None => program::run(&mut verify),
        Some(filter) => program::run(behind(filter).arg(verify.get_program()).args(verify.get_args())),
    }
}

/// The same but for when it was.
fn check_same(baked: &Baked, plain: &Ended, refused: &Ended) -> Result<()> {
    let timeless = |ended: &Ended| -> Result<Verification> {
        let mut verification = agent::verification(ended)?;
        let coverage = &mut verification.coverage;
        (coverage.started_at, coverage.finished_at) = Default::default();
        Ok(verification)
    };
    let (plain_says, refused_says) = (timeless(plain)?, timeless(refused)?);
    ensure!(plain.code == refused.code, "it ended with {:?}: {}", refused.code, refused.stderr);
    ensure!(plain_says == refused_says, "it says {refused_says:?}");
    check_root(baked, &refused_says)
}
