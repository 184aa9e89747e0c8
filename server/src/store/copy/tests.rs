use std::path::Path;

use super::super::sql::params;
use super::super::tables::TABLES;
use super::super::{Database, Store, read_only, rows};
use super::*;
use crate::testing::postgres;

const ROWS: i64 = 1500;

fn file(dir: &Path, name: &str) -> Database {
    Database::Sqlite(dir.join(name))
}

/// Puts rows into every table of a file of SQLite.
fn fill_every_table(database: &Database) {
    drop(Store::open(database).unwrap());
    let mut connection = rusqlite::Connection::open(database.file().unwrap()).unwrap();
    rows::fill(&mut connection, ROWS);
}

fn copy_quietly(from: &Database, to: &Database, replace: bool) -> Result<Vec<TableProof>, CopyError> {
    // The writer's thread lets go of the lock a moment after its store.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let source = loop {
        match Source::alone(from) {
            Err(StoreError::InUse(_)) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            opened => break opened?,
        }
    };
    copy(&source, to, replace, &mut |_| {})
}

fn tables(proofs: &[TableProof]) -> Vec<(&'static str, u64, String)> {
    proofs.iter().map(|proof| (proof.table, proof.rows, proof.digest.clone())).collect()
}

#[test]
fn everything_comes_to_the_other_kind_and_back_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (first, server, last) = (file(dir.path(), "first.db"), postgres(), file(dir.path(), "last.db"));
    fill_every_table(&first);
    let there = copy_quietly(&first, &server, false).unwrap();
    let other = postgres();
    let across = copy_quietly(&server, &other, false).unwrap();
    let back = copy_quietly(&other, &last, false).unwrap();
    assert_eq!(tables(&there), tables(&across));
    assert_eq!(tables(&there), tables(&back));
    let expected = |table: &str| if matches!(table, "probe" | "shared") { 1 } else { ROWS as u64 };
    for proof in &there {
        assert_eq!(proof.rows, expected(proof.table), "{}", proof.table);
    }
    // Copying it again is refused: it is not empty.
    let error = copy_quietly(&first, &server, false).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    let error = copy_quietly(&first, &server, true).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "what is whole is never replaced: {error}");
}

#[tokio::test]
async fn the_copy_gives_out_ids_after_those_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (file(dir.path(), "first.db"), postgres());
    let target = to.clone();
    std::thread::spawn(move || {
        fill_every_table(&from);
        copy_quietly(&from, &target, false).unwrap();
    })
    .join()
    .unwrap();
    let store = Store::open(&to).unwrap();
    for table in TABLES.iter().filter(|table| table.counts) {
        let columns: Vec<_> = table.columns().into_iter().filter(|column| *column != "id").collect();
        let sql = format!(
            "INSERT INTO {0} ({1}) SELECT {2} FROM {0} WHERE id = 1",
            table.name,
            columns.join(", "),
            // What must be there once.
            columns
                .join(", ")
                .replace("sequence", "sequence + 90000")
                .replace("path", "CAST('new' AS BYTEA)")
        );
        let id = store.write("put in a row", move |tx| tx.insert("put in a row", &sql, params![])).await;
        assert_eq!(id.unwrap(), ROWS + 1, "{}", table.name);
    }
}

#[test]
fn a_copy_that_was_cut_off_is_used_by_nobody_until_it_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let from = file(dir.path(), "first.db");
    fill_every_table(&from);
    for to in [file(dir.path(), "second.db"), postgres()] {
        let target = Target::open(&to, false).unwrap();
        let source = Source::beside(&from).unwrap();
        fill(&source, &target, &mut |_| {}).unwrap();
        // As if it were killed: nothing says that it is whole.
        drop((source, target));
        let refused = [
            Store::open(&to).err().unwrap().to_string(),
            read_only(&to, "read", |_| Ok(())).unwrap_err().to_string(),
            copy_quietly(&from, &to, false).unwrap_err().to_string(),
        ];
        for error in refused {
            assert!(error.contains("--replace-unfinished"), "{error}");
        }
        copy_quietly(&from, &to, true).unwrap();
        drop(Store::open(&to).unwrap());
    }
}

#[test]
fn a_difference_is_named_by_its_table_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let from = file(dir.path(), "first.db");
    fill_every_table(&from);
    for (change, table, key) in [
        ("UPDATE reports SET note = 'other' WHERE id = 1400", "reports", "id 1400"),
        ("DELETE FROM enrolments WHERE id = 'id-999'", "enrolments", "id id-999"),
        ("DELETE FROM audit WHERE id = 3", "audit", "id 3, where the other has id 4"),
        ("UPDATE leases SET token = 9 WHERE name = 'name-77'", "leases", "name name-77"),
    ] {
        let to = postgres();
        let target = Target::open(&to, false).unwrap();
        let source = Source::beside(&from).unwrap();
        let proofs = fill(&source, &target, &mut |_| {}).unwrap();
        target.connection.batch(change).unwrap();
        let error = compare(&source, &target, &proofs, &mut |_| {}).unwrap_err();
        let CopyError::Differs { table: found, key: at } = error else { panic!("{error}") };
        assert_eq!((found, at.as_str()), (table, key));
    }
}

#[test]
fn a_database_in_use_is_not_copied_and_none_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let from = file(dir.path(), "first.db");
    let missing = copy_quietly(&from, &file(dir.path(), "second.db"), false).unwrap_err().to_string();
    assert!(missing.contains("is not there"), "{missing}");
    let _in_use = Store::open(&from).unwrap();
    assert!(matches!(Source::alone(&from), Err(StoreError::InUse(_))));
    let source = Source::beside(&from).unwrap();
    let error = copy(&source, &from, false, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("cannot be copied to itself"), "{error}");
}
