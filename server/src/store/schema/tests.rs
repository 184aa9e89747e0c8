//! Every version, with rows in every table that it has, becomes the current one; also when
//! that was cut off.

use std::path::Path;

use super::super::{Database, Store, SubjectRow, read_only, rows, subjects};
use super::*;
use crate::testing::postgres;

const ROWS: i64 = 9;

/// A file of this version, with rows in every table.
fn made(path: &Path, version: i64) -> rusqlite::Connection {
    let mut connection = rusqlite::Connection::open(path).unwrap();
    for (number, migration) in sqlite::MIGRATIONS.into_iter().filter(|(number, _)| *number <= version) {
        sqlite::bring(&mut connection, number, migration).unwrap();
    }
    rows::fill(&mut connection, ROWS);
    connection
}

/// What the tables hold in these columns, as text.
fn held(connection: &rusqlite::Connection, columns: &[(&str, Vec<String>)]) -> Vec<(String, Vec<String>)> {
    let of = |(table, columns): &(&str, Vec<String>)| {
        let texts: Vec<_> = columns.iter().map(|column| format!("quote({column})")).collect();
        let is_there = !rows::columns(connection, table).is_empty();
        let name = if is_there { table } else { rows::renamed(table) };
        let sql = format!("SELECT {} FROM {name} ORDER BY 1", texts.join(" || ', ' || "));
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        ((*table).to_owned(), rows.collect::<Result<_, _>>().unwrap())
    };
    columns.iter().map(of).collect()
}

fn columns(connection: &rusqlite::Connection) -> Vec<(&'static str, Vec<String>)> {
    let of = |table: &'static str| {
        let columns = rows::columns(connection, table);
        (table, columns.into_iter().map(|(name, ..)| name).collect::<Vec<_>>())
    };
    rows::names().map(of).filter(|(_, columns)| !columns.is_empty()).collect()
}

#[test]
fn every_version_becomes_the_current_one_with_all_that_it_held() {
    for version in 1..VERSION {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("congruent.db");
        let connection = made(&path, version);
        let columns = columns(&connection);
        let before = held(&connection, &columns);
        assert!(before.len() >= 13, "version {version} has {} tables", before.len());
        drop(connection);
        let database = Database::Sqlite(path.clone());
        drop(Store::open(&database).unwrap());
        let after = held(&rusqlite::Connection::open(&path).unwrap(), &columns);
        assert_eq!(before, after, "from version {version}");
        let read = |view: &View<'_>| {
            let sql = format!("SELECT {} FROM subjects", subjects::columns());
            view.rows("read the subjects", &sql, params![], SubjectRow::from_row)
        };
        let subjects = read_only(&database, "read the subjects", read).unwrap();
        assert_eq!(subjects.len() as i64, ROWS, "from version {version}");
    }
}

#[test]
fn a_migration_that_is_cut_off_leaves_the_version_before_it_and_is_made_up_for() {
    for (version, migration) in sqlite::MIGRATIONS.into_iter().skip(1) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("congruent.db");
        let mut connection = made(&path, version - 1);
        let columns = columns(&connection);
        let before = held(&connection, &columns);
        // A statement that fails after all others, and a process that ends before the commit.
        let failing = format!("{migration}; SELECT nothing FROM nowhere;");
        sqlite::bring(&mut connection, version, &failing).unwrap_err();
        connection.execute_batch(&format!("BEGIN IMMEDIATE; {migration}")).unwrap();
        drop(connection);
        let connection = rusqlite::Connection::open(&path).unwrap();
        assert_eq!(sqlite::version(&connection).unwrap(), version - 1);
        assert_eq!(held(&connection, &columns), before, "cut off before version {version}");
        drop(connection);
        drop(Store::open(&Database::Sqlite(path.clone())).unwrap());
        let connection = rusqlite::Connection::open(&path).unwrap();
        assert_eq!(sqlite::version(&connection).unwrap(), VERSION);
        assert_eq!(held(&connection, &columns), before, "after version {version}");
    }
}

/// What is over, and what was and runs again, as version 10 had it.
const OVER_IN_VERSION_10: &str = "INSERT INTO subject_states (id, node, container, at, state, note) VALUES \
     (91, 'web-1', 'c1', 1, 'congruent', NULL), (92, 'web-1', 'c1', 2, 'unknown', 'the container runs no more'), \
     (93, 'web-1', 'c1', 3, 'unknown', 'its node says that it runs, and nothing else was heard of it'), \
     (94, 'web-1', 'c1', 4, 'unknown', 'the container runs no more: its node''s enrolment has ended'), \
     (95, 'web-1', '', 5, 'unknown', 'the container runs no more')";

#[test]
fn what_was_over_is_marked_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("congruent.db");
    made(&path, 10).execute_batch(OVER_IN_VERSION_10).unwrap();
    let on_postgresql = postgres();
    let before = postgres::MIGRATIONS.iter().position(|(version, _)| *version == 11).unwrap();
    made_before(&on_postgresql, before).batch(OVER_IN_VERSION_10).unwrap();
    for database in [Database::Sqlite(path), on_postgresql] {
        drop(Store::open(&database).unwrap());
        let marked = read_only(&database, "look what is over", |view| {
            let sql = "SELECT at FROM subject_states WHERE node = 'web-1' AND is_over ORDER BY at";
            view.rows("look what is over", sql, params![], |row| row.get::<_, i64>(0))
        });
        assert_eq!(marked.unwrap(), [2, 4], "{database}");
    }
}

/// A database on PostgreSQL of the version before a migration, with rows in every table.
fn made_before(database: &Database, migration: usize) -> Connection {
    let connection = connect(database);
    postgres::bring(&connection, database, &postgres::MIGRATIONS[..migration]).unwrap();
    if migration > 0 {
        let (version, _) = postgres::MIGRATIONS[migration - 1];
        let dir = tempfile::tempdir().unwrap();
        let like = made(&dir.path().join("like.db"), version);
        rows::fill_postgres(&connection, &like, ROWS);
    }
    connection
}

fn connect(database: &Database) -> Connection {
    let Database::Postgres(server) = database else { panic!("{database} is no PostgreSQL") };
    Connection::Postgres(Box::new(server.connect(None).unwrap()))
}

/// What PostgreSQL's tables hold that were there already, as text.
fn held_on_postgresql(connection: &Connection, version: i64) -> Vec<(String, Vec<String>)> {
    let dir = tempfile::tempdir().unwrap();
    let like = made(&dir.path().join("like.db"), version);
    let of = |(table, columns): (&str, Vec<String>)| {
        let texts: Vec<_> =
            columns.iter().map(|column| format!("coalesce(CAST({column} AS TEXT), '-')")).collect();
        let is_there = connection.batch(&format!("SELECT 1 FROM {table} LIMIT 0")).is_ok();
        let name = if is_there { table } else { rows::renamed(table) };
        let sql = format!("SELECT {} AS row FROM {name} ORDER BY 1", texts.join(" || ', ' || "));
        let mut rows = Vec::new();
        let read = &mut |row: &super::super::sql::Row<'_>| {
            rows.push(row.get::<_, String>(0)?);
            Ok(super::super::sql::Next::Wanted)
        };
        connection.each(&sql, params![], read).unwrap();
        (table.to_owned(), rows)
    };
    // Whoever opens it signs there.
    columns(&like).into_iter().filter(|(table, _)| *table != "writers").map(of).collect()
}

#[test]
fn on_postgresql_every_version_becomes_the_current_one_also_when_that_was_cut_off() {
    for (before, (version, migration)) in postgres::MIGRATIONS.into_iter().enumerate() {
        let database = postgres();
        let connection = made_before(&database, before);
        let found = postgres::version(&connection).unwrap();
        let held = (found > 0).then(|| held_on_postgresql(&connection, found));
        let failing = format!("{migration}; SELECT nothing FROM nowhere");
        let cut_off = connection.transact(
            super::super::sql::Purpose::Write,
            || connection.batch(&failing),
            |error| error,
        );
        cut_off.unwrap_err();
        // And a connection that is lost before the commit.
        let lost = connect(&database);
        lost.batch(&format!("BEGIN; {migration}; SELECT 1")).unwrap();
        drop(lost);
        assert!(postgres::version(&connection).unwrap() < version);
        drop(connection);
        drop(Store::open(&database).unwrap());
        let connection = connect(&database);
        assert_eq!(postgres::version(&connection).unwrap(), VERSION);
        if let Some(held) = held {
            assert!(held.len() >= 20 && held.iter().all(|(_, rows)| !rows.is_empty()), "{held:?}");
            assert_eq!(held_on_postgresql(&connection, found), held, "from version {found}");
        }
    }
}
