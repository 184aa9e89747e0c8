//! An old backup is restored under a fleet that went on after it.

use std::fs;

use anyhow::{Context, Result, ensure};
use congruent_tests::binaries;
use congruent_tests::program::succeed;
use congruent_tests::simulated::Simulated;
use congruent_tests::site::{Settings, Site};

use super::{all, counts};

fn server(site: &Site, words: [&str; 2]) -> Result<String> {
    let program = binaries::path("congruent-server")?;
    let [command, flag] = words.map(Into::into);
    let paths = ["server.toml", "backup"].map(|name| site.sandbox.path(name).into_os_string());
    let [config, backup] = paths;
    let ended = succeed(&program.to_string_lossy(), [command, "--config".into(), config, flag, backup])?;
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

/// Loses the database and restores the backup.
fn lose_and_restore(site: &Site) -> Result<()> {
    let lost = site.sandbox.path("lost");
    fs::create_dir(&lost).context("cannot make a folder")?;
    for ending in ["", "-wal", "-shm"] {
        let name = format!("congruent.db{ending}");
        let path = site.sandbox.path(&name);
        if path.exists() {
            fs::rename(path, lost.join(name)).context("cannot move it away")?;
        }
    }
    let said = server(site, ["restore", "--input"])?;
    ensure!(said.contains("what was revoked since then stands again"), "{said}");
    Ok(())
}

#[test]
fn nodes_ahead_of_a_restored_store_go_on_and_the_gap_is_on_record() -> Result<()> {
    let fleet = Simulated::start(Settings::default())?;
    let run = |fleet: &Simulated, nodes| {
        fleet.measure("drifting", &["--nodes", nodes, "--turns", "3", "--findings", "5"])
    };
    let before = run(&fleet, "10")?;
    assert_eq!((before.reports.acknowledged, before.reports.lost), (30, 0), "{before}");
    let said = server(&fleet.site, ["backup", "--output"])?;
    ensure!(said.contains("27 tables"), "{said}");
    // They go on, and two more join, of which the backup knows nothing.
    let after = run(&fleet, "12")?;
    assert_eq!((after.reports.acknowledged, after.reports.lost), (36, 0), "{after}");

    let fleet = fleet.restarted(Settings::default(), lose_and_restore)?;
    let back = run(&fleet, "12")?;
    let count = |sql| crate::watch::count(&fleet.site, sql);
    let taken = count("SELECT count(*) FROM reports WHERE sequence > 6")?;
    let noted = count("SELECT count(*) FROM chain_notes WHERE note LIKE 'reports 4 to % are missing'")?;
    println!(
        "restore of an old backup: 10 nodes were 3 acknowledged reports ahead and went on with {taken} more; \
         {noted} chains have their gap on record; 2 nodes of after the backup: {} reports answered `not-enrolled`; \
         {} reports lost",
        back.kind("drift-report").trouble.get("not-enrolled").copied().unwrap_or_default(),
        back.reports.lost
    );
    assert_eq!(noted, 10, "{back}");
    assert_eq!(back.kind("drift-report").trouble.get("not-enrolled"), Some(&6), "{back}");
    // A difference to a set that the store does not have is told again whole.
    assert!(taken >= 20, "{back}");
    assert_eq!(counts(&fleet, "/state")?, all("divergent", 10));
    Ok(())
}
