//! Answers for people: tables and indented lines. What comes from outside is
//! escaped, since a terminal obeys what it is shown.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use congruent_protocol::path::escape;
use serde_json::Value;

use super::Format;

/// What stands where there is nothing.
const NOTHING: &str = "-";

/// Columns of a table, each the key of a member and its heading.
pub(super) type Columns<'a> = [(&'a str, &'a str)];

/// Writes an answer that is a list: the rows at `key`, in these columns. Where there
/// are none, `empty` says what to do.
pub(super) fn list(
    format: Format,
    answer: &Value,
    key: &str,
    columns: &Columns<'_>,
    empty: &str,
) -> anyhow::Result<()> {
    match format {
        Format::Json => write(&json(answer)),
        Format::Text => {
            let rows = answer[key].as_array().map(Vec::as_slice).unwrap_or_default();
            if rows.is_empty() {
                return write(&format!("{empty}\n"));
            }
            let mut text = Table::new(columns).push(rows);
            if answer["truncated"] == true {
                text.push_str("… and more: give a higher --limit\n");
            }
            write(&text)
        }
    }
}

/// Writes an answer that is one thing.
pub(super) fn one(format: Format, answer: &Value) -> anyhow::Result<()> {
    match format {
        Format::Json => write(&json(answer)),
        Format::Text => write(&lines(answer)),
    }
}

/// Writes to standard output; a pipe that was closed wants no more.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    offer(text).map(drop)
}

/// Writes to standard output; says whether more is wanted there.
pub(super) fn offer(text: &str) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to standard output"),
    }
}

/// An answer, as JSON.
pub(super) fn json(answer: &Value) -> String {
    format!("{answer:#}\n")
}

/// A table that is written a part at a time. Columns are as wide as the first part
/// needs; what is wider later on stands out.
pub(super) struct Table<'a> {
    columns: &'a Columns<'a>,
    /// None before the first part.
    widths: Option<Vec<usize>>,
}

impl<'a> Table<'a> {
    pub(super) fn new(columns: &'a Columns<'a>) -> Self {
        Self { columns, widths: None }
    }

    /// The next rows; the first come with the headings.
    pub(super) fn push(&mut self, rows: &[Value]) -> String {
        let heading = || self.columns.iter().map(|(_, heading)| (*heading).to_owned()).collect();
        let row = |row: &Value| self.columns.iter().map(|(key, _)| cell(&row[*key])).collect();
        let heading = self.widths.is_none().then(heading);
        let cells: Vec<Vec<String>> = heading.into_iter().chain(rows.iter().map(row)).collect();
        let width =
            |at: usize| cells.iter().map(|row: &Vec<String>| row[at].chars().count()).max().unwrap_or(0);
        let widths = self.widths.get_or_insert_with(|| (0..self.columns.len()).map(width).collect());
        let mut text = String::new();
        for row in &cells {
            let padded = row.iter().zip(widths.iter()).map(|(cell, &width)| format!("{cell:<width$}"));
            text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// A value within a line.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::String(text) => escape(text.as_bytes()).into_owned(),
        Value::Array(items) if items.is_empty() => NOTHING.to_owned(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        // What is accepted is known by name and version.
        Value::Object(members) if members.contains_key("root") => {
            format!("{} {}", cell(&value["name"]), cell(&value["version"]))
        }
        other => escape(other.to_string().as_bytes()).into_owned(),
    }
}

/// `key: value` lines; what is nested is indented.
fn lines(answer: &Value) -> String {
    let mut text = String::new();
    push_members(&mut text, answer, 0);
    text
}

fn push_members(text: &mut String, value: &Value, depth: usize) {
    let Value::Object(members) = value else { return };
    for (key, value) in members.iter().filter(|(key, _)| *key != "schema_version") {
        let (indent, key) = ("  ".repeat(depth), escape(key.as_bytes()));
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                text.push_str(&format!("{indent}{key}:\n"));
                push_members(text, value, depth + 1);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                text.push_str(&format!("{indent}{key}:\n"));
                for item in items {
                    push_members(text, item, depth + 1);
                    text.push_str(&format!("{indent}  --\n"));
                }
            }
            Value::String(block) if block.contains('\n') => {
                text.push_str(&format!("{indent}{key}:\n"));
                for line in block.lines() {
                    text.push_str(&format!("{indent}  {}\n", escape(line.as_bytes())));
                }
            }
            value => text.push_str(&format!("{indent}{key}: {}\n", cell(value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_are_aligned_and_inert() {
        let rows = [
            json!({ "name": "web", "is": [{ "name": "web", "version": "1", "root": "r" }] }),
            json!({ "name": "\u{1b}[2J", "is": [] }),
        ];
        let mut table = Table::new(&[("name", "NAME"), ("is", "IS")]);
        assert_eq!(table.push(&rows), "NAME     IS\nweb      web 1\n\\x1b[2J  -\n");
        let later = [json!({ "name": "a wide one", "is": 1 }), json!({ "name": "n", "is": 2 })];
        assert_eq!(table.push(&later), "a wide one  1\nn        2\n");
    }

    #[test]
    fn one_thing_is_shown_member_by_member() {
        let value = json!({
            "schema_version": 1, "a": null, "b": [{ "c": 1 }], "d": { "e": "x\ny" }, "f": ["p", "q"]
        });
        assert_eq!(lines(&value), "a: -\nb:\n  c: 1\n  --\nd:\n  e:\n    x\n    y\nf: p, q\n");
    }
}
