//! The disk of PostgreSQL is full.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Result, ensure};
use congruent_postgres::Postgres;
use congruent_tests::mounts::Mounted;
use congruent_tests::site::{Settings, Site};
use congruent_tests::wait::{PATIENCE, wait_for};

use super::REPORTS;

/// Takes all the room that there is.
fn fill(folder: &Path) -> Result<()> {
    let mut file = fs::File::create(folder.join("filler"))?;
    for size in [1 << 20, 1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    Ok(())
}

#[test]
fn a_server_whose_disk_is_full_has_nothing_acknowledged_that_is_lost() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // The server's user passes here.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let disk = folder.path().join("disk");
    let _disk = Mounted::new("tmpfs", "size=64m,mode=0755,uid=0", OsStr::new("small"), &disk)?;
    fs::set_permissions(&disk, fs::Permissions::from_mode(0o777))?;
    let mut postgres = Postgres::start_in(&disk)?;
    let site = Site::small(&["web-1"])?.on_postgres(postgres.database()?);
    let collector = site.collect(&Settings::default())?;
    ensure!(site.sweep("web-1")?.code == Some(0));
    fill(&disk)?;
    // What was written ahead before may have room for a few more.
    let (mut taken, mut refused) = (1, 0);
    while refused < 3 {
        ensure!(taken < 2000, "the disk is not full");
        let ended = site.sweep("web-1")?;
        match ended.code {
            Some(0) => taken += 1,
            _ => {
                ensure!(
                    ended.stderr.contains("503") && ended.stderr.contains("stays spooled"),
                    "{}",
                    ended.stderr
                );
                refused += 1;
            }
        }
    }
    ensure!(collector.get("/healthz")?.status == 200, "it is well itself");
    ensure!(collector.get("/readyz")?.status == 503, "it cannot write");
    fs::remove_file(disk.join("filler"))?;
    // A server that has no room to start again ends, and is started by whoever made room.
    let had_ended = postgres.has_ended();
    if had_ended {
        postgres.start_again()?;
    }
    wait_for("the collector to be ready", PATIENCE, || {
        Ok((collector.get("/readyz")?.status == 200).then_some(()))
    })?;
    ensure!(site.sweep("web-1")?.code == Some(0));
    let all = taken + refused + 1;
    ensure!(site.count(REPORTS)? == all && site.count("SELECT max(sequence) FROM reports")? == all);
    ensure!(site.count("SELECT count(*) FROM refusals")? == 0);
    println!(
        "full disk of PostgreSQL ({}): {taken} reports acknowledged, {refused} told to come again, all {all} there when \
         there was room",
        if had_ended { "it ended" } else { "it went on" }
    );
    Ok(())
}
