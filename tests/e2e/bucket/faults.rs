//! A store that is away, one that refuses, and a collector that is killed.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};
use congruent_tests::site::token;
use congruent_tests::wait::{PATIENCE, wait_for};

use super::{Place, Store};

/// Begins to import a manifest of `length` bytes over a connection of its own.
fn begin(place: &Place, root: &str, length: usize) -> Result<TcpStream> {
    let host = place.collector().url().strip_prefix("http://").context("it speaks TLS")?;
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "PUT /v1/manifests/{root} HTTP/1.0\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
         congruent-reason: a test\r\ncontent-length: {length}\r\n\r\n",
        token("operator")
    )?;
    Ok(stream)
}

/// Imports the place's own manifest; gives the answer as it came.
fn import(place: &Place, root: &str) -> Result<String> {
    let bytes = fs::read(place.site.manifest())?;
    let mut stream = begin(place, root, bytes.len())?;
    stream.write_all(&bytes)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.to_lowercase())
}

/// The root of the place's manifest, from a store of its own.
fn root_of(store: &Store) -> Result<(Place, String)> {
    let place = Place::new(store, false)?;
    let shown = congruent_tests::program::run(
        congruent_tests::agent::command(&["show", "--format", "json"])?.arg(place.site.manifest()),
    )?;
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).context(shown.stderr)?;
    let root = shown["manifest"]["root"].as_str().context("no root")?.to_owned();
    Ok((place, root))
}

#[test]
fn a_store_that_is_away_is_said_and_found_again() -> Result<()> {
    let mut store = Store::start()?;
    let (mut place, root) = root_of(&store)?;
    store.s3.kill();
    let answer = import(&place, &root)?;
    assert!(answer.contains(" 503 ") && answer.contains("retry-after: "), "{answer}");
    assert!(answer.contains("store-unavailable") && answer.contains("s3://blobs/fleet/blake3-"), "{answer}");
    // All that needs no blob goes on.
    assert_eq!(place.collector().get("/readyz")?.status, 200);
    let list = place.collector().json("/v1/manifests")?;
    assert_eq!(list["manifests"], serde_json::json!([]), "what is not kept is on record");
    store.s3.start_again()?;
    assert!(import(&place, &root)?.contains(" 201 "));

    // A collector does not start on a store that it cannot use, and says why.
    place.stop()?;
    store.s3.kill();
    for command in ["serve", "check-config"] {
        let refused = place.ends(command)?;
        assert_eq!(refused.code, Some(2), "{command}");
        assert!(refused.stderr.contains("cannot list s3://blobs/fleet"), "{command}: {}", refused.stderr);
    }
    store.s3.start_again()?;
    place.site.sandbox.write("wrong.secret", "wrong")?;
    place.configure(&store, false, "wrong.secret")?;
    let refused = place.ends("serve")?;
    assert!(
        refused.code == Some(2) && refused.stderr.contains("`secret-access-key-file`"),
        "{}",
        refused.stderr
    );
    Ok(())
}

#[test]
fn a_collector_killed_in_the_middle_of_an_import_leaves_nothing_half() -> Result<()> {
    let store = Store::start()?;
    let (mut place, root) = root_of(&store)?;
    let bytes = fs::read(place.site.manifest())?;
    let mut stream = begin(&place, &root, bytes.len())?;
    stream.write_all(&bytes[..bytes.len() / 2])?;
    let copies = place.copies();
    let left = || -> Result<Vec<String>> {
        fs::read_dir(&copies)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    wait_for("half a manifest", PATIENCE, || {
        Ok(left()?.iter().any(|name| name.starts_with(".incoming-")).then_some(()))
    })?;
    place.collector.take().context("it runs")?.kill();
    drop(stream);
    assert_eq!(left()?.len(), 1, "nothing was left, so nothing is shown to be cleared");
    place.start()?;
    assert_eq!((left()?, store.objects()?), (vec![], vec![]));
    assert!(import(&place, &root)?.contains(" 201 "));
    let copied = left()?;
    assert_eq!((copied.len(), store.objects()?.len()), (1, 1), "{copied:?}");
    Ok(())
}
