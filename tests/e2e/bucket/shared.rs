//! Two collectors, each with a database of its own, on one bucket.

use std::fs;

use anyhow::{Context, Result};
use congruent_tests::enrolled;

use super::{Place, Store};

#[test]
fn what_one_collector_imported_serves_nodes_and_other_collectors() -> Result<()> {
    let store = Store::start()?;
    let first = Place::new(&store, true)?;
    let manifest = first.site.manifest();
    let bytes = fs::read(&manifest)?;
    let named = manifest.to_string_lossy().into_owned();
    let root = first.import(&named)?;
    let key = first.site.keys.public.to_string_lossy().into_owned();
    let accept = |place: &Place| {
        place.admin().change(&["group", "create", "fleet", "--environment", "prod"])?;
        place.admin().change(&["group", "edit", "fleet", "--accept", &root, "--trust", &key])
    };
    accept(&first)?;

    // A node takes it from the collector, and is held to it.
    let config = first.site.write_agent("web-1")?;
    enrolled::enrol(first.collector(), &config, "fleet")?;
    let toml = fs::read_to_string(&config)?;
    fs::write(
        &config,
        toml.replacen("manifest = \"web.manifest\"", &format!("manifest-root = {root:?}"), 1),
    )?;
    let swept = first.site.sweep("web-1")?;
    assert_eq!(swept.code, Some(0), "{}", swept.stderr);
    assert!(swept.stderr.contains("took the manifest from the collector"), "{}", swept.stderr);
    assert_eq!(first.collector().json("/v1/nodes/web-1")?["state"], "congruent");

    // Another collector imports the same, and nothing is sent again.
    let objects = store.objects()?;
    let [object] = &objects[..] else { anyhow::bail!("not one object: {objects:?}") };
    assert!(fs::read(object)? == bytes);
    let written = fs::metadata(object)?.modified()?;
    let mut second = Place::new(&store, true)?;
    assert_eq!(second.import(&named)?, root);
    assert_eq!(second.import(&named)?, root);
    assert_eq!(store.objects()?, objects);
    assert_eq!(fs::metadata(object)?.modified()?, written, "it was sent again");
    accept(&second)?;

    // With no copy of its own, it reads what the first imported, also at its start.
    second.stop()?;
    fs::remove_dir_all(second.copies())?;
    second.start()?;
    let content = second.collector().get(&format!("/v1/manifests/{root}/content"))?;
    assert!(content.status == 200 && content.body == bytes);
    assert_eq!(fs::read_dir(second.copies())?.count(), 1);

    // What was changed at the store is never used, and says how to mend it.
    let mut changed = bytes.clone();
    *changed.last_mut().context("an empty manifest")? ^= 1;
    fs::write(object, changed)?;
    second.stop()?;
    fs::remove_dir_all(second.copies())?;
    for command in ["serve", "check-config"] {
        let refused = second.ends(command)?;
        assert_eq!(refused.code, Some(2), "{command}");
        assert!(refused.stderr.contains("not what its name says"), "{command}: {}", refused.stderr);
    }
    assert_eq!(first.import(&named)?, root);
    second.start()?;
    Ok(())
}
