//! A big file that something happens to while it is read.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use congruent_protocol::verification::{State, Verification};
use congruent_tests::agent;

use super::canary::Canary;
use super::slow::act_during_read;
use super::start::{BIG, BIG_BYTES, Start, big};
use crate::mutation::check::check_root;
use crate::mutation::row::{Expected, modified, removed, replaced};

/// More than all the other files hold.
const OTHER_BYTES: usize = 10_000;

/// One thing that happens, and all that may be said of it.
struct Race {
    name: &'static str,
    act: fn(&Path, &Canary) -> Result<()>,
    /// Where time decides, more than one.
    outcomes: Vec<Outcome>,
    /// Whether more must be read than the whole tree has, since the file is read
    /// again to its end.
    is_reread: bool,
}

/// What is said of the tree.
#[derive(Debug, PartialEq)]
enum Outcome {
    Found(Vec<Expected>),
    Unstable,
}

fn races() -> Vec<Race> {
    let congruent = || Outcome::Found(Vec::new());
    let found = |finding| Outcome::Found(vec![finding]);
    let race = |name, act, outcomes, is_reread| Race { name, act, outcomes, is_reread };
    let content_and_size = || found(modified(BIG, &["content", "size"]));
    vec![
        race("rewritten with the same", |root, _| write(root, &big()[..10], 0), vec![congruent()], true),
        race(
            "rewritten with other content, where it was read already",
            |root, _| write(root, b"other", 0),
            vec![found(modified(BIG, &["content"]))],
            true,
        ),
        race(
            "rewritten with other content, where it was not read yet",
            |root, _| write(root, b"other", BIG_BYTES as u64 - 5),
            vec![found(modified(BIG, &["content"]))],
            true,
        ),
        race("cut short", |root, _| cut(root, 10), vec![content_and_size()], false),
        race("emptied", |root, _| cut(root, 0), vec![content_and_size()], false),
        race("appended to", |root, _| append(root), vec![content_and_size()], true),
        race(
            "given another mode",
            |root, _| Ok(fs::set_permissions(root.join(&BIG[1..]), Permissions::from_mode(0o600))?),
            vec![found(modified(BIG, &["mode"]))],
            true,
        ),
        race(
            "renamed in its directory, which was listed before",
            |root, _| Ok(fs::rename(root.join(&BIG[1..]), beside(root, "big.old"))?),
            vec![congruent(), found(removed(BIG))],
            false,
        ),
        race(
            "moved out of the tree",
            |root, _| Ok(fs::rename(root.join(&BIG[1..]), root.with_file_name("big"))?),
            vec![congruent(), found(removed(BIG))],
            false,
        ),
        race(
            "unlinked",
            |root, _| Ok(fs::remove_file(root.join(&BIG[1..]))?),
            vec![congruent(), found(removed(BIG))],
            false,
        ),
        race(
            "swapped for a link that leads outside",
            |root, canary| {
                symlink(canary.secret(), beside(root, "link"))?;
                Ok(fs::rename(beside(root, "link"), root.join(&BIG[1..]))?)
            },
            vec![congruent(), found(replaced(BIG))],
            false,
        ),
        race(
            "swapped for another file",
            |root, _| {
                fs::write(beside(root, "new"), "other")?;
                Ok(fs::rename(beside(root, "new"), root.join(&BIG[1..]))?)
            },
            vec![congruent(), content_and_size()],
            false,
        ),
        race(
            "its directory swapped for a link that leads outside",
            |root, canary| {
                fs::rename(root.join("srv/folder"), canary.aside().join("folder"))?;
                Ok(symlink(canary.folder(), root.join("srv/folder"))?)
            },
            vec![congruent(), Outcome::Found(vec![replaced("/srv/folder"), removed(BIG)])],
            false,
        ),
    ]
}

/// All at once: each of them mostly waits.
#[test]
fn what_happens_to_a_file_while_it_is_read() -> Result<()> {
    let start = Start::new("", |_| Ok(()))?;
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (index, race) in races().into_iter().enumerate() {
            let (start, faults) = (&start, &faults);
            scope.spawn(move || {
                if let Err(error) = check(&race, start, &format!("race-{index}")) {
                    faults.lock().unwrap().push(format!("- {}: {error:#}", race.name));
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

fn check(race: &Race, start: &Start, folder: &str) -> Result<()> {
    let (root, canary) = start.copy(folder)?;
    let (ended, ()) = act_during_read(start, &root, || (race.act)(&root, &canary))?;
    let verification = agent::verification(&ended)?;
    let outcome = outcome_of(&verification)?;
    ensure!(race.outcomes.contains(&outcome), "of {:?}, it is {outcome:?}", race.outcomes);
    let code = match verification.state {
        State::Congruent => 0,
        State::Divergent => 1,
        _ => 3,
    };
    ensure!(ended.code == Some(code), "the exit code is {:?}: {}", ended.code, ended.stderr);
    let is_reread = verification.coverage.bytes_hashed > (BIG_BYTES + OTHER_BYTES) as u64;
    ensure!(is_reread || !race.is_reread, "only {} bytes were read", verification.coverage.bytes_hashed);
    check_root(&start.baked, &verification)?;
    canary.check_untouched()
}

fn outcome_of(verification: &Verification) -> Result<Outcome> {
    let coverage = &verification.coverage;
    ensure!(coverage.unreadable.is_empty(), "unreadable are {:?}", coverage.unreadable);
    let unstable: Vec<String> = coverage.unstable.iter().map(|gap| gap.path.to_string()).collect();
    if unstable.is_empty() {
        return Ok(Outcome::Found(verification.findings.iter().map(Expected::from).collect()));
    }
    ensure!(unstable == [BIG] && verification.findings.is_empty(), "unstable are {unstable:?}");
    ensure!(verification.conditional, "the root is not conditional");
    Ok(Outcome::Unstable)
}

/// What is rewritten again and again is never judged; left alone, it is as baked.
#[test]
fn a_file_that_is_rewritten_without_end_is_a_gap() -> Result<()> {
    let start = Start::new("", |_| Ok(()))?;
    let (root, _canary) = start.copy("race")?;
    let done = AtomicBool::new(false);
    let (ended, _) = thread::scope(|scope| {
        let ended = act_during_read(&start, &root, || {
            scope.spawn(|| {
                let file = File::options().write(true).open(root.join(&BIG[1..])).expect("it is there");
                while !done.load(Ordering::Relaxed) {
                    file.write_all_at(&big()[..1], 0).expect("it stays writable");
                }
            });
            Ok(())
        });
        done.store(true, Ordering::Relaxed);
        ended
    })?;
    let verification = agent::verification(&ended)?;
    assert_eq!(outcome_of(&verification)?, Outcome::Unstable);
    assert_eq!((verification.state, ended.code), (State::Incomplete, Some(3)));
    check_root(&start.baked, &verification)
}

/// A log that may only grow is read no further than it was baked, and is stable.
#[test]
fn a_live_log_is_congruent_while_it_grows() -> Result<()> {
    let contract = format!("[[rule]]\npath = \"{BIG}\"\nclass = \"append-only\"\n");
    let start = Start::new(&contract, |_| Ok(()))?;
    let (root, _canary) = start.copy("race")?;
    let (ended, ()) = act_during_read(&start, &root, || append(&root))?;
    let verification = agent::verification(&ended)?;
    assert_eq!(outcome_of(&verification)?, Outcome::Found(Vec::new()));
    assert_eq!(ended.code, Some(0));
    check_root(&start.baked, &verification)
}

fn beside(root: &Path, name: &str) -> PathBuf {
    root.join("srv/folder").join(name)
}

fn write(root: &Path, bytes: &[u8], at: u64) -> Result<()> {
    Ok(File::options().write(true).open(root.join(&BIG[1..]))?.write_all_at(bytes, at)?)
}

fn cut(root: &Path, size: u64) -> Result<()> {
    Ok(File::options().write(true).open(root.join(&BIG[1..]))?.set_len(size)?)
}

fn append(root: &Path) -> Result<()> {
    Ok(File::options().append(true).open(root.join(&BIG[1..]))?.write_all(b"more")?)
}
