use std::time::{Duration, Instant};

use super::*;
use crate::store::sql::{Next, params};

const LIMIT: Duration = Duration::from_millis(200);

/// What a read says that runs `sql` again and again until it fails.
fn ended(connection: &Connection, sql: &str) -> (String, Duration) {
    let begun = Instant::now();
    let read: Result<(), StoreError> = view(connection, "read slowly", |view| {
        view.0.each(sql, params![], &mut |_| Ok(Next::Wanted)).map_err(to("read slowly"))
    });
    (crate::ingest::chain_of(&read.unwrap_err()), begun.elapsed())
}

#[test]
fn a_read_that_takes_too_long_is_ended_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("congruent.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE one (a)").unwrap();
    for (database, endless) in [
        (
            Database::Sqlite(path),
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        ),
        (crate::testing::postgres(), "SELECT 1 FROM pg_sleep(600)"),
    ] {
        let connection = database.reader(Some(LIMIT)).unwrap();
        let (why, took) = ended(&connection, endless);
        assert!(why.contains("it took longer than 0.2 s, the limit of a read"), "{database}: {why}");
        assert!(took >= LIMIT && took < Duration::from_secs(30), "{database}: {took:?}");
        // The connection serves on.
        view(&connection, "read on", |view| {
            view.0.each("SELECT 1", params![], &mut |_| Ok(Next::Wanted)).map_err(to("read on"))
        })
        .unwrap();
    }
}

/// Whoever holds a view open and reads nothing keeps from others what they replace.
#[test]
fn a_view_that_nobody_reads_is_ended() {
    let database = crate::testing::postgres();
    let (idle, other) = (database.reader(Some(LIMIT)).unwrap(), database.reader(None).unwrap());
    let look = |connection: &Connection, sql: &str| {
        connection.each(sql, params![], &mut |_| Ok(Next::Wanted)).map_err(to("look"))
    };
    let read = view(&idle, "hold a view", |view| {
        look(view.0, "SELECT 1")?;
        look(&other, "SELECT 1 FROM pg_sleep(1)")?;
        look(view.0, "SELECT 1")
    });
    read.unwrap_err();
}
