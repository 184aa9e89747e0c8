//! Directories that are swapped for links that lead outside, before the walk has
//! come to them and after.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Result, ensure};
use congruent_tests::agent;

use super::canary::Canary;
use super::slow::{act_during_read, act_with_few_descriptors};
use super::start::Start;
use crate::mutation::check::check_root;
use crate::mutation::row::{Expected, removed, replaced};

/// More names than are ever on their way between the walk and its readers, so
/// that the walk waits among them while the big file before them is read.
const CROWD: usize = 20_000;
/// More than there may be files open where few may.
const LEVELS: usize = 100;
/// What lies behind the crowd, and what is in it: as outside.
const VICTIM: &str = "srv/victim";
const BENEATH: [&str; 4] = ["", "/inner", "/inner/secret", "/secret"];

#[test]
fn a_directory_swapped_before_the_walk_comes_to_it_is_a_link() -> Result<()> {
    check(
        |root, canary| swap(root, canary, VICTIM, canary.folder()),
        || {
            let beneath = BENEATH[1..].iter().map(|name| removed(format!("/{VICTIM}{name}")));
            [replaced(&format!("/{VICTIM}"))].into_iter().chain(beneath).collect()
        },
    )
}

#[test]
fn a_directory_in_it_swapped_likewise_is_a_link() -> Result<()> {
    check(
        |root, canary| swap(root, canary, &format!("{VICTIM}/inner"), &canary.folder().join("inner")),
        || vec![replaced(&format!("/{VICTIM}/inner")), removed(format!("/{VICTIM}/inner/secret"))],
    )
}

/// The walk is beneath it: what it has opened is what it goes on with.
#[test]
fn a_directory_swapped_above_the_walk_is_as_it_was() -> Result<()> {
    check(|root, canary| swap(root, canary, "srv", canary.folder()), Vec::new)
}

/// A directory above the walk that was closed, since the tree has more levels than
/// files may be open: the way up from what was moved away leads out of the tree.
#[test]
fn the_way_up_from_what_was_moved_away_is_not_taken() -> Result<()> {
    let start = Start::new("", |tree| {
        fs::create_dir_all(tree.join(levels(LEVELS)))?;
        fill(&tree.join(levels(LEVELS)))
    })?;
    let (root, canary) = start.copy("race")?;
    let (ended, ()) = act_with_few_descriptors(&start, &root, || {
        swap(&root, &canary, &levels(LEVELS / 2), canary.folder())
    })?;
    let verification = agent::verification(&ended)?;
    ensure!(verification.findings.is_empty(), "it found {:?}", verification.findings);
    ensure!(!verification.coverage.has_gaps(), "there are gaps: {:?}", verification.coverage);
    ensure!(ended.code == Some(0), "the exit code is {:?}", ended.code);
    check_root(&start.baked, &verification)?;
    canary.check_untouched()
}

fn levels(count: usize) -> String {
    format!("srv/m{}", "/d".repeat(count))
}

/// Swaps while the big file, which comes before the crowd, is read.
fn check(act: fn(&Path, &Canary) -> Result<()>, expect: fn() -> Vec<Expected>) -> Result<()> {
    let start = Start::new("", make)?;
    let (root, canary) = start.copy("race")?;
    let (ended, ()) = act_during_read(&start, &root, || act(&root, &canary))?;
    let verification = agent::verification(&ended)?;
    let found: Vec<Expected> = verification.findings.iter().map(Expected::from).collect();
    ensure!(found == expect(), "it found {found:?}, not {:?}", expect());
    ensure!(!verification.coverage.has_gaps(), "there are gaps: {:?}", verification.coverage);
    ensure!(ended.code == Some(i32::from(!found.is_empty())), "the exit code is {:?}", ended.code);
    check_root(&start.baked, &verification)?;
    canary.check_untouched()
}

fn fill(folder: &Path) -> Result<()> {
    for number in 0..CROWD {
        fs::File::create(folder.join(number.to_string()))?;
    }
    Ok(())
}

/// Moves a directory out of the tree, and puts a link in its place.
fn swap(root: &Path, canary: &Canary, directory: &str, leads_to: &Path) -> Result<()> {
    let at = root.join(directory);
    fs::rename(&at, canary.aside().join("moved"))?;
    Ok(symlink(leads_to, at)?)
}

fn make(tree: &Path) -> Result<()> {
    fs::create_dir(tree.join("srv/m"))?;
    fill(&tree.join("srv/m"))?;
    let victim = tree.join(VICTIM);
    fs::create_dir_all(victim.join("inner"))?;
    for file in ["secret", "inner/secret"] {
        fs::write(victim.join(file), "from within")?;
    }
    Ok(())
}
