//! What a sweep takes of the machine, and what it need not read.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use congruent_protocol::verification::{State, SweepMode};
use congruent_tests::wait::{PATIENCE, wait_for};
use congruent_tests::{agent, program};

use super::Swept;

const MIB: usize = 1 << 20;

fn big(root: &Path) -> Result<()> {
    let content: Vec<u8> = (0_u32..).flat_map(u32::to_be_bytes).take(MIB).collect();
    fs::create_dir(root.join("srv"))?;
    Ok(fs::write(root.join("srv/big"), content)?)
}

/// Not faster than it may; how much slower is a matter of the machine.
#[test]
fn no_more_is_read_in_a_second_than_may_be() -> Result<()> {
    let swept = Swept::new(big)?;
    let begun = Instant::now();
    let verification =
        swept.look(SweepMode::Full, &["--max-bytes-per-second", "512KiB", "--threads", "2"])?;
    let took = begun.elapsed();
    assert_eq!(verification.state, State::Congruent);
    assert!(verification.coverage.bytes_hashed >= MIB as u64);
    // The last piece is paid for after it was read.
    assert!(took >= Duration::from_millis(1_900), "a MiB at half a MiB in a second took {took:?}");
    Ok(())
}

#[test]
fn an_idle_sweep_stands_back_with_every_thread() -> Result<()> {
    let swept = Swept::new(big)?;
    let mut verify = agent::command(&[])?;
    let scene = &swept.scene;
    verify.args(agent::verify_arguments(&scene.manifest, &scene.keys.public, &scene.root));
    verify.args(["--idle", "--threads", "3", "--max-bytes-per-second", "100K"]);
    let mut child = verify.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let tasks = format!("/proc/{}/task", child.id());
    let looked = wait_for("every thread to stand back", PATIENCE, || {
        ensure!(child.try_wait()?.is_none(), "it ended before it could be looked at");
        let mut threads = Vec::new();
        for task in fs::read_dir(&tasks)?.map_while(Result::ok) {
            let id = task.file_name().to_string_lossy().into_owned();
            // A thread that ends meanwhile has neither.
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
            let class = program::run(Command::new("ionice").args(["-p", &id]))?;
            if class.code == Some(0) {
                threads.push((nice(&stat)?, class.text().trim().to_owned()));
            }
        }
        // A reader and the consumer, when the walk is over. The first look may have
        // come before any of them stood back.
        let all_idle = threads.iter().all(|(nice, class)| (*nice, class.as_str()) == (19, "idle"));
        Ok((threads.len() >= 2 && all_idle).then_some(()))
    });
    program::end(&mut child);
    looked
}

/// The field is the 19th: proc_pid_stat(5); the name before may hold anything.
fn nice(stat: &str) -> Result<i32> {
    let after_name = stat.rsplit_once(')').context("there is no name")?.1;
    Ok(after_name.split_whitespace().nth(16).context("there is no nice value")?.parse()?)
}

#[test]
fn means_that_are_none_are_refused_with_the_mend() -> Result<()> {
    let swept = Swept::new(|_| Ok(()))?;
    for (more, says) in [
        (&["--threads", "0"][..], "from 1 to 16"),
        (&["--threads", "many"], "from 1 to 16"),
        (&["--max-bytes-per-second", "0"], "such as 1500, 50M"),
        (&["--max-bytes-per-second", "fast"], "such as 1500, 50M"),
        (&["--quick", "--direct"], "cannot be used with"),
    ] {
        let ended = swept.verify(more)?;
        assert_eq!(ended.code, Some(2), "{more:?}");
        assert!(ended.stderr.contains(says), "{more:?}: {}", ended.stderr);
    }
    Ok(())
}

#[test]
fn an_inode_with_several_paths_is_read_once() -> Result<()> {
    let swept = Swept::new(|root| {
        big(root)?;
        fs::create_dir(root.join("usr/more"))?;
        for number in 0..20 {
            fs::hard_link(root.join("srv/big"), root.join(format!("usr/more/{number}")))?;
        }
        Ok(())
    })?;
    let before = swept.fill()?;
    let bytes = before.coverage.bytes_hashed;
    assert!((MIB as u64..2 * MIB as u64).contains(&bytes), "{bytes} bytes were hashed");
    // All of its paths are found when it changes.
    File::options().write(true).open(swept.scene.root.join("srv/big"))?.write_all_at(b"x", 77)?;
    let after = swept.look(SweepMode::Full, &[])?;
    assert_eq!(after.findings.len(), 21);
    Ok(())
}

/// A file of 4 GiB, nearly all of it a hole, and one whose data lies behind a
/// hole: their digests are those that reading them gives.
#[test]
fn holes_are_not_read() -> Result<()> {
    const LARGE: u64 = 1 << 32;
    let swept = Swept::new(|root| {
        fs::create_dir(root.join("srv"))?;
        let sparse = File::create(root.join("srv/sparse"))?;
        sparse.write_all_at(b"begin", 0)?;
        sparse.write_all_at(b"middle", LARGE / 2)?;
        sparse.set_len(LARGE)?;
        let small = File::create(root.join("srv/small"))?;
        small.set_len(300_001)?;
        small.write_all_at(b"behind", 200_000)?;
        // The same bytes, without a hole.
        Ok(fs::write(root.join("srv/whole"), fs::read(root.join("srv/small"))?)?)
    })?;
    let mut verify = agent::command(&[])?;
    let scene = &swept.scene;
    verify.args(agent::verify_arguments(&scene.manifest, &scene.keys.public, &scene.root));
    // At this rate its holes would take over an hour.
    let ended = program::run(verify.args(["--max-bytes-per-second", "1M"]))?;
    let verification = agent::verification(&ended)?;
    assert_eq!(verification.state, State::Congruent, "{}", ended.stderr);
    assert!(verification.coverage.bytes_hashed > LARGE);
    fs::copy(scene.root.join("srv/small"), scene.root.join("srv/whole"))?;
    let b3sum = |name: &str| program::succeed("b3sum", [scene.root.join("srv").join(name)]);
    let digest = |text: String| text.split_whitespace().next().unwrap_or_default().to_owned();
    let shown = scene.succeed(&["show", "--entries", "--format", "json"], &[&scene.manifest])?.text();
    for name in ["small", "whole"] {
        assert!(shown.contains(&digest(b3sum(name)?.text())), "{name}");
    }
    Ok(())
}
