//! What a table holds, as one digest over every row in the order of its key. Two databases
//! hold the same exactly where it is equal, whatever they are.

use blake3::Hasher;

use super::super::sql::{Column, Connection, Next, Row, SqlResult, Value, params};
use super::super::tables::{Key, Table};

/// After how many rows a digest is kept of all before, to find the row that differs.
const MARK_EVERY: u64 = 1024;

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableProof {
    pub(crate) table: &'static str,
    pub(crate) rows: u64,
    /// BLAKE3 over every row, in hexadecimal.
    pub(crate) digest: String,
    marks: Vec<blake3::Hash>,
}

/// Takes in rows as they come.
pub(super) struct Prover {
    hasher: Hasher,
    rows: u64,
    marks: Vec<blake3::Hash>,
}

impl Prover {
    pub(super) fn new() -> Self {
        Self { hasher: Hasher::new(), rows: 0, marks: Vec::new() }
    }

    pub(super) fn take(&mut self, row: &[Value<'_>]) {
        row.iter().for_each(|value| hash(&mut self.hasher, value));
        self.rows += 1;
        if self.rows.is_multiple_of(MARK_EVERY) {
            self.marks.push(self.hasher.finalize());
        }
    }

    pub(super) fn finish(self, table: &Table) -> TableProof {
        let digest = self.hasher.finalize().to_hex().to_string();
        TableProof { table: table.name, rows: self.rows, digest, marks: self.marks }
    }
}

/// Each value with its kind and length, so that no two rows look alike. A boolean is the
/// number that SQLite has for it.
fn hash(hasher: &mut Hasher, value: &Value<'_>) {
    let mut sized = |kind: u8, bytes: &[u8]| {
        hasher.update(&[kind]).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    match value {
        Value::Null => sized(0, &[]),
        Value::Bool(value) => sized(1, &i64::from(*value).to_le_bytes()),
        Value::Integer(number) => sized(1, &number.to_le_bytes()),
        Value::Text(text) => sized(2, text.as_bytes()),
        Value::Blob(bytes) => sized(3, bytes),
    }
}

/// Every row of a table, in the order of its key.
pub(super) fn each_row(
    connection: &Connection,
    table: &Table,
    take: &mut dyn FnMut(Vec<Value<'static>>) -> SqlResult<Next>,
) -> SqlResult<()> {
    let columns = table.columns();
    let order = table.key.iter().map(|key| ordered(connection, *key)).collect::<Vec<_>>().join(", ");
    let sql = format!("SELECT {} FROM {} ORDER BY {order}", columns.join(", "), table.name);
    let read = &mut |row: &Row<'_>| {
        let value = |at| row.get::<_, Value<'static>>(Column::At(at));
        take((0..columns.len()).map(value).collect::<SqlResult<_>>()?)
    };
    connection.each(&sql, params![], read)
}

fn ordered(connection: &Connection, key: Key) -> String {
    match (connection, key) {
        (Connection::Postgres(_), Key::Text(name)) => format!("{name} COLLATE \"C\""),
        (_, key) => key.column().to_owned(),
    }
}

/// What a table holds now.
pub(super) fn prove(
    connection: &Connection,
    table: &Table,
    told: &mut dyn FnMut(u64),
) -> SqlResult<TableProof> {
    let mut prover = Prover::new();
    each_row(connection, table, &mut |row| {
        prover.take(&row);
        told(prover.rows);
        Ok(Next::Wanted)
    })?;
    Ok(prover.finish(table))
}

/// The key of the first row in which two tables differ.
pub(super) fn first_difference(
    (one, of_one): (&Connection, &TableProof),
    (other, of_other): (&Connection, &TableProof),
    table: &Table,
) -> SqlResult<String> {
    let equal = of_one.marks.iter().zip(&of_other.marks).take_while(|(one, other)| one == other).count();
    let skip = equal as u64 * MARK_EVERY;
    let (of_one, of_other) = (window(one, table, skip)?, window(other, table, skip)?);
    let at = of_one.iter().zip(&of_other).take_while(|(one, other)| one == other).count();
    Ok(match (of_one.get(at), of_other.get(at)) {
        (Some((one, _)), Some((other, _))) if one != other => format!("{one}, where the other has {other}"),
        (Some((key, _)), _) | (None, Some((key, _))) => key.clone(),
        (None, None) => "a row that cannot be named".to_owned(),
    })
}

/// Keys and digests of the rows from a mark to the next.
fn window(connection: &Connection, table: &Table, skip: u64) -> SqlResult<Vec<(String, blake3::Hash)>> {
    let columns = table.columns();
    let (mut rows, mut at) = (Vec::new(), 0);
    each_row(connection, table, &mut |row| {
        at += 1;
        if at > skip {
            let mut hasher = Hasher::new();
            row.iter().for_each(|value| hash(&mut hasher, value));
            rows.push((key_of(table, &columns, &row), hasher.finalize()));
        }
        Ok(if rows.len() as u64 == MARK_EVERY { Next::Enough } else { Next::Wanted })
    })?;
    Ok(rows)
}

fn key_of(table: &Table, columns: &[&str], row: &[Value<'_>]) -> String {
    let shown = |key: &Key| {
        let place = columns.iter().position(|column| *column == key.column());
        match place.and_then(|place| row.get(place)) {
            Some(Value::Integer(number)) => format!("{} {number}", key.column()),
            Some(Value::Text(text)) => format!("{} {text}", key.column()),
            _ => key.column().to_owned(),
        }
    };
    table.key.iter().map(shown).collect::<Vec<_>>().join(", ")
}
