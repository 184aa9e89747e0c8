//! For tests: rows in every table of a database, whatever its version.

use super::sql::{Connection, params};
use super::tables::TABLES;

/// Tables that had another name in older versions: that name, and today's.
const RENAMED: &[(&str, &str)] = &[("nodes", "subjects"), ("node_states", "subject_states")];

/// The name of every table, also by those of older versions.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.name).chain(RENAMED.iter().map(|(former, _)| *former))
}

/// What a table is called by now.
pub(super) fn renamed(table: &str) -> &str {
    RENAMED.iter().find(|(former, _)| *former == table).map_or(table, |(_, name)| name)
}

/// Puts `rows` rows into every table.
pub(super) fn fill(connection: &mut rusqlite::Connection, rows: i64) {
    let transaction = connection.transaction().unwrap();
    for table in names() {
        let kinds = columns(&transaction, table);
        let rows = if matches!(table, "probe" | "shared") { 1 } else { rows };
        for row in (1..=rows).filter(|_| !kinds.is_empty()) {
            let values = kinds.iter().map(|(name, kind, optional)| value(name, kind, *optional, row));
            let columns: Vec<_> = kinds.iter().map(|(name, ..)| name.as_str()).collect();
            let sql = format!(
                "INSERT OR REPLACE INTO {table} ({}) VALUES ({})",
                columns.join(", "),
                values.collect::<Vec<_>>().join(", ")
            );
            transaction.execute(&sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }
    transaction.commit().unwrap();
}

/// Puts the rows of a file of SQLite of the same version into PostgreSQL's tables.
pub(super) fn fill_postgres(connection: &Connection, like: &rusqlite::Connection, rows: i64) {
    for table in names() {
        let kinds = columns(like, table);
        let rows = if matches!(table, "probe" | "shared") { 1 } else { rows };
        for row in (1..=rows).filter(|_| !kinds.is_empty()) {
            let value =
                |(name, kind, optional): &(String, String, bool)| match value(name, kind, *optional, row)
                    .as_str()
                {
                    number if FLAGS.contains(&name.as_str()) => (number == "1").to_string(),
                    bytes if bytes.starts_with("x'") => format!("CAST('\\x{} AS BYTEA)", &bytes[2..]),
                    other => other.to_owned(),
                };
            let names: Vec<_> = kinds.iter().map(|(name, ..)| name.as_str()).collect();
            let values: Vec<_> = kinds.iter().map(value).collect();
            let (names, values) = (names.join(", "), values.join(", "));
            let sql = format!("INSERT INTO {table} ({names}) VALUES ({values}) ON CONFLICT DO NOTHING");
            connection.execute(&sql, params![]).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }
}

/// Of each column of a table its name, its kind, and whether it may be null.
pub(super) fn columns(connection: &rusqlite::Connection, table: &str) -> Vec<(String, String, bool)> {
    let sql = format!("SELECT name, type, NOT \"notnull\" AND pk = 0 FROM pragma_table_info('{table}')");
    let mut statement = connection.prepare(&sql).unwrap();
    let read = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    read.collect::<Result<_, _>>().unwrap()
}

/// Columns that are true or false.
const FLAGS: &[&str] =
    &["late", "conditional", "judged", "in_flight", "is_reusable", "is_deleted", "is_over"];

/// A value for a column, by its name and kind.
fn value(column: &str, kind: &str, is_optional: bool, row: i64) -> String {
    match (column, kind) {
        // What refers to other rows does so to those of the same number.
        ("action_id" | "token_id", _) => format!("'id-{row}'"),
        (flag, _) if FLAGS.contains(&flag) => (row % 2).to_string(),
        _ if is_optional && row % 3 == 0 => "NULL".to_owned(),
        ("state", _) => "'congruent'".to_owned(),
        ("verdict", _) => "'none'".to_owned(),
        ("identity", _) => format!("'{{\"id\":\"c{row}\",\"runtime\":\"docker\"}}'"),
        // Sorts otherwise in most collations than by its bytes.
        ("node", _) if row % 7 == 0 => format!("'node-Ü{row}'"),
        (_, "TEXT") => format!("'{column}-{row}'"),
        (_, "BLOB") => format!("x'00ff{row:08x}'"),
        _ => row.to_string(),
    }
}
