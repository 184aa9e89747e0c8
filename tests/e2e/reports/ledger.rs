//! First values: the collector records them, and the node is held to them.

use std::fs;

use anyhow::Result;
use congruent_tests::agent;
use congruent_tests::site::{Settings, Site};

use crate::watch::{count, node, sweep};

const CONTRACT: &str = "rule = [{ path = '/etc/machine-id', class = 'pinned' }]\n";

#[test]
fn a_first_value_is_recorded_once_and_held_to_from_then_on() -> Result<()> {
    let site = Site::small(&["web-1"])?;
    let contract = site.sandbox.write("web.contract.toml", CONTRACT)?;
    agent::bake(&site.sandbox.path("baked"), Some(&contract), &site.keys, &site.manifest())?;
    let collector = site.collect(&Settings::default())?;
    let machine_id = site.root("web-1").join("etc/machine-id");
    let held_to = || count(&site, "SELECT count(*) FROM first_values");
    sweep(&site, "web-1", 0)?;
    assert_eq!(held_to()?, 0);

    fs::write(&machine_id, "first\n")?;
    sweep(&site, "web-1", 0)?;
    assert_eq!(held_to()?, 1);
    assert!(site.state("web-1").join("ledger.json").exists(), "the node was not told");
    sweep(&site, "web-1", 0)?;

    fs::write(&machine_id, "second\n")?;
    sweep(&site, "web-1", 1)?;
    let shown = node(&collector, "web-1")?;
    assert_eq!((&shown["state"], &shown["findings"][0]["held_to"]), (&"divergent".into(), &"ledger".into()));
    assert_eq!(held_to()?, 1, "a first value was replaced");
    fs::write(&machine_id, "first\n")?;
    sweep(&site, "web-1", 0)?;

    // A collector that was restored from before knows fewer than the node is held to.
    collector.stop()?;
    rusqlite::Connection::open(site.database())?.execute("DELETE FROM first_values", [])?;
    let _collector = site.collect(&Settings::default())?;
    let ended = site.sweep("web-1")?;
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("are not those that are recorded"), "{}", ended.stderr);
    sweep(&site, "web-1", 0)?;
    assert_eq!(held_to()?, 1, "it is recorded anew");
    sweep(&site, "web-1", 0)?;
    Ok(())
}
