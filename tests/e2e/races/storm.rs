//! A tree in which names are swapped without end while it is verified again and
//! again: it always ends, in one of three ways, and never leaves the root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use congruent_protocol::verification::State;
use congruent_tests::agent;
use congruent_tests::program::{self, Ended};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::canary::Canary;
use super::start::{Start, with_few_descriptors};
use crate::mutation::check::check_root;

const LASTS: Duration = Duration::from_secs(5);
const FOLDERS: usize = 200;
/// Deeper than there are descriptors where few are allowed.
const LEVELS: usize = 100;

/// Swaps something at the folder and puts it back.
type Swap = fn(&Path, &Canary) -> Result<()>;

const SWAPS: [Swap; 8] = [
    folder_to_link,
    folder_to_link_upwards,
    folder_to_file,
    inner_folder_to_outside,
    file_to_link,
    file_to_pipe,
    file_rewritten,
    file_replaced_by_its_like,
];

#[test]
fn a_storm_never_blows_it_outside() -> Result<()> {
    let start = Start::new("", make)?;
    let (root, canary) = start.copy("storm")?;
    let done = AtomicBool::new(false);
    let (swapped, looked) = thread::scope(|scope| {
        let storm = scope.spawn(|| swap_until(&done, &root, &canary));
        let looked = look_again_and_again(&start, &root);
        done.store(true, Ordering::Relaxed);
        (storm.join().expect("the storm does not panic"), looked)
    });
    swapped.context("the storm itself failed")?;
    looked?;
    canary.check_untouched()?;
    // Each swap was undone, so when it is over the tree is what was baked.
    let ended = program::run(&mut start.verify(&root, &[])?)?;
    ensure!(ended.code == Some(0), "after it: {}", ended.text());
    Ok(())
}

fn look_again_and_again(start: &Start, root: &Path) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < LASTS {
        check(start, &program::run(&mut start.verify(root, &[])?)?)?;
        let mut limited = with_few_descriptors(&start.verify(root, &[])?);
        check(start, &program::run(&mut limited)?).context("with few descriptors")?;
    }
    Ok(())
}

fn check(start: &Start, ended: &Ended) -> Result<()> {
    let verification = agent::verification(ended)?;
    let code = match verification.state {
        State::Congruent => 0,
        State::Divergent => 1,
        State::Incomplete => 3,
        other => anyhow::bail!("the state is {other:?}"),
    };
    ensure!(ended.code == Some(code), "it ended with {:?}: {}", ended.code, ended.stderr);
    check_root(&start.baked, &verification)
}

fn swap_until(done: &AtomicBool, root: &Path, canary: &Canary) -> Result<()> {
    // Every swap comes to every folder, each time in another order of folders.
    for (step, swap) in (0..).zip(SWAPS.iter().cycle()) {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let folder = root.join(folder(step * 7 % FOLDERS));
        swap(&folder, canary).with_context(|| format!("swap {}", step % SWAPS.len()))?;
        if step % SWAPS.len() == 0 {
            folder_to_link(&level(root, step % LEVELS), canary)?;
        }
    }
    Ok(())
}

fn folder(number: usize) -> String {
    format!("srv/{number}")
}

fn level(root: &Path, depth: usize) -> PathBuf {
    root.join("srv/deep").join("d/".repeat(depth + 1).trim_end_matches('/'))
}

fn make(tree: &Path) -> Result<()> {
    for number in 0..FOLDERS {
        let folder = tree.join(folder(number));
        fs::create_dir_all(folder.join("inner"))?;
        for file in ["secret", "inner/secret"] {
            fs::write(folder.join(file), number.to_string())?;
        }
    }
    fs::create_dir_all(level(tree, LEVELS))?;
    for depth in 0..LEVELS {
        fs::write(level(tree, depth).join("secret"), "deep")?;
    }
    Ok(())
}

/// Puts something else in a path's place and takes it away again.
fn swap(path: &Path, canary: &Canary, put: impl FnOnce() -> Result<()>) -> Result<()> {
    let aside = canary.aside().join("swapped");
    fs::rename(path, &aside)?;
    put()?;
    thread::yield_now();
    fs::remove_file(path)?;
    Ok(fs::rename(aside, path)?)
}

fn folder_to_link(folder: &Path, canary: &Canary) -> Result<()> {
    swap(folder, canary, || Ok(symlink(canary.folder(), folder)?))
}

fn folder_to_link_upwards(folder: &Path, canary: &Canary) -> Result<()> {
    swap(folder, canary, || Ok(symlink("../../outside", folder)?))
}

fn folder_to_file(folder: &Path, canary: &Canary) -> Result<()> {
    swap(folder, canary, || Ok(fs::write(folder, "")?))
}

fn inner_folder_to_outside(folder: &Path, canary: &Canary) -> Result<()> {
    let inner = folder.join("inner");
    swap(&inner, canary, || Ok(symlink(canary.folder().join("inner"), &inner)?))
}

fn file_to_link(folder: &Path, canary: &Canary) -> Result<()> {
    let file = folder.join("secret");
    swap(&file, canary, || Ok(symlink(canary.secret(), &file)?))
}

/// Who opens it for reading and waits, waits for ever.
fn file_to_pipe(folder: &Path, canary: &Canary) -> Result<()> {
    let file = folder.join("secret");
    swap(&file, canary, || Ok(mknodat(CWD, &file, FileType::Fifo, Mode::RUSR, 0)?))
}

fn file_rewritten(folder: &Path, _: &Canary) -> Result<()> {
    let file = folder.join("secret");
    let content = fs::read(&file)?;
    fs::write(&file, "something else")?;
    Ok(fs::write(&file, content)?)
}

fn file_replaced_by_its_like(folder: &Path, canary: &Canary) -> Result<()> {
    let (file, like) = (folder.join("secret"), canary.aside().join("like"));
    fs::copy(&file, &like)?;
    Ok(fs::rename(like, file)?)
}
