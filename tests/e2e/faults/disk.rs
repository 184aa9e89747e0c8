//! Disks that are full, and disks that fail.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use congruent_tests::collector;
use congruent_tests::mounts::Mounted;
use congruent_tests::program::run;
use congruent_tests::site::{Settings, Site};
use congruent_tests::wait::{PATIENCE, wait_for};

use super::{check_database, check_undelivered, check_whole_chain, injected, spooled, status};
use crate::watch::{count, sweep};

/// Takes all the room that there is.
fn fill(folder: &Path) -> Result<()> {
    let mut file = fs::File::create(folder.join("filler"))?;
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    Ok(())
}

#[test]
fn a_node_whose_disk_is_full_counts_what_it_could_not_keep() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    sweep(&site, "web-1", 0)?;
    // The state moves onto a small disk.
    let (state, aside) = (site.state("web-1"), site.sandbox.path("aside"));
    fs::rename(&state, &aside)?;
    let _disk = Mounted::new("tmpfs", "size=1m,mode=0700", OsStr::new("small"), &state)?;
    congruent_tests::program::succeed(
        "cp",
        ["-a", &format!("{}/.", aside.display()), &state.display().to_string()],
    )?;
    fill(&state)?;
    let ended = site.sweep("web-1")?;
    check_undelivered(&ended, &["No space left on device"]);
    fs::remove_file(state.join("filler"))?;
    sweep(&site, "web-1", 0)?;
    assert_eq!(spooled(&site, "web-1")?, 0);
    assert_eq!(check_whole_chain(&site, "web-1")?, 2, "no number was given to what was not kept");
    assert_eq!(status(&site, "web-1")?["spool"]["reports"], 0);
    drop(collector);
    println!("1 look on a full disk: told on stderr with exit code 2, the next one delivered");
    Ok(())
}

#[test]
fn a_collector_whose_disk_is_full_acknowledges_nothing_and_goes_on_when_there_is_room() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let database = site.sandbox.path("small");
    let _disk = Mounted::new("tmpfs", "size=6m", OsStr::new("small"), &database)?;
    // The authority is kept beside the database.
    std::os::unix::fs::symlink(database.join("ca.pem"), site.sandbox.path("ca.pem"))?;
    let settings = Settings { database: "small/congruent.db", ..Settings::default() };
    let collector = site.collect(&settings)?;
    assert_eq!(site.sweep("web-1")?.code, Some(0));
    fill(&database)?;
    let mut refused = 0;
    for _ in 0..5 {
        let ended = site.sweep("web-1")?;
        check_undelivered(&ended, &["503", "stays spooled"]);
        refused += 1;
    }
    assert_eq!(spooled(&site, "web-1")?, 5);
    assert_eq!(collector.get("/healthz")?.status, 200);
    // Whatever small writes still find room.
    let ready = collector.get("/readyz")?;
    assert_eq!(ready.status, 503, "{}", ready.text());
    assert!(ready.text().contains("full"), "{}", ready.text());
    fs::remove_file(database.join("filler"))?;
    assert_eq!(site.sweep("web-1")?.code, Some(0));
    assert_eq!(spooled(&site, "web-1")?, 0);
    assert_eq!(collector.stop()?, Some(0));
    check_database(&database.join("congruent.db"))?;
    println!("full disk: {refused} reports not acknowledged, all 7 there when there was room again");
    Ok(())
}

/// A sync that fails is told once: what was written before it may be gone.
#[test]
fn a_collector_whose_disk_fails_stops_rather_than_acknowledge() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let collector = site.collect(&Settings::default())?;
    let settings = Settings::default();
    sweep(&site, "web-1", 0)?;
    collector.kill();
    let config = site.write_server(&settings)?;
    // The first syncs are those of its start.
    let mut serve = injected("fdatasync,fsync:error=EIO:when=2+", &collector::command(&config)?);
    let log = fs::File::create(site.sandbox.path("failing.log"))?;
    let mut failing = serve.stdout(log.try_clone()?).stderr(log).spawn()?;
    let said = || fs::read_to_string(site.sandbox.path("failing.log")).unwrap_or_default();
    wait_for("the collector to listen, or to end", PATIENCE, || {
        Ok((said().contains("enrolled nodes on") || failing.try_wait()?.is_some()).then_some(()))
    })?;
    let ended = site.sweep("web-1")?;
    check_undelivered(&ended, &["stays spooled"]);
    let code = wait_for("the collector to stop", PATIENCE, || Ok(failing.try_wait()?))?.code();
    assert_eq!(code, Some(2), "{}", said());
    assert!(said().contains("its disk failed") || said().contains("disk I/O error"), "{}", said());
    let collector = site.collect(&settings)?;
    sweep(&site, "web-1", 0)?;
    let reports = check_whole_chain(&site, "web-1")?;
    collector.stop()?;
    check_database(&site.database())?;
    println!(
        "failed syncs: the collector ended with exit code 2, and {reports} reports were there after the next start"
    );
    Ok(())
}

#[test]
fn an_agent_whose_disk_fails_says_so_and_gives_no_number_twice() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let _collector = site.collect(&Settings::default())?;
    sweep(&site, "web-1", 0)?;
    let mut agent = site.agent("web-1")?;
    agent.arg("--once");
    let mut told = 0;
    for when in ["1+", "2+", "3+", "4+", "2", "3"] {
        let ended = run(&mut injected(&format!("fsync,fdatasync:error=EIO:when={when}"), &agent))?;
        assert!(ended.code == Some(2) || ended.code == Some(0), "{when}: {:?} {}", ended.code, ended.stderr);
        if ended.code == Some(2) {
            assert!(ended.stderr.contains("Input/output error"), "{when}: {}", ended.stderr);
            told += 1;
        }
    }
    sweep(&site, "web-1", 0)?;
    assert_eq!(spooled(&site, "web-1")?, 0);
    let numbers = "count(*) - count(DISTINCT sequence) FROM reports";
    assert_eq!(count(&site, &format!("SELECT {numbers}"))?, 0);
    assert_eq!(count(&site, "SELECT count(*) FROM refusals")?, 0, "a number was given twice");
    assert!(told > 2, "the disk did not fail");
    println!(
        "failed syncs of the agent: {told} of 6 times it could not go on, and said so; no number given twice"
    );
    Ok(())
}
