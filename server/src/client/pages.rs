//! Lists that are asked for a page at a time, and written as their pages come.

use clap::Args;
use congruent_protocol::path::escape;
use serde_json::Value;

use super::Format;
use super::connection::Connection;
use super::output::{self, Columns, Table};

/// How many items are asked for at once.
const PAGE: u64 = 1000;

/// How much of a list is wanted.
#[derive(Debug, Args)]
pub(super) struct PageArgs {
    /// Only what follows this one: where a list ends that was cut, it says which.
    #[arg(long, value_name = "LAST")]
    pub(super) after: Option<String>,
    /// How many at most. All, unless said otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// A list of the API.
pub(super) struct List<'a> {
    pub(super) path: Vec<&'a str>,
    /// The member of an answer that has the items.
    pub(super) key: &'static str,
    pub(super) columns: &'static Columns<'static>,
    /// Which items are meant, as a query.
    pub(super) filter: Vec<(&'static str, String)>,
    pub(super) pages: &'a PageArgs,
}

/// What is known of a list once its pages have come.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) count: u64,
    /// Of the first page; null where that has none.
    pub(super) totals: Value,
    /// What the rest is `--after`; none where nothing was left out.
    pub(super) next: Option<String>,
}

impl Listed {
    /// How to get at what was left out, to stand after what else is said.
    pub(super) fn rest(&self) -> String {
        self.next.as_ref().map_or_else(String::new, |next| {
            format!("; there are more: give --after {}, or a higher --limit", escape(next.as_bytes()))
        })
    }
}

impl List<'_> {
    /// Writes the list, with what `members` has as members of a JSON document, or what
    /// `summary` says under the table.
    pub(super) async fn write(
        &self,
        connection: &Connection,
        members: impl Fn(&Listed) -> Value,
        summary: impl FnOnce(&Listed) -> String,
    ) -> anyhow::Result<()> {
        match connection.format {
            Format::Json => {
                let mut document = Document::of(self.key);
                // What stands before the items must be known before they are written: where the
                // list goes on, which is nowhere unless --limit cuts it.
                let waits = self.pages.limit.is_some() && document.has_before(&members(&Listed::default()));
                let mut unwritten =
                    if waits { String::new() } else { document.begin(&members(&Listed::default())) };
                let pages = self.each_page(connection, |items| {
                    unwritten.push_str(&document.push(items));
                    if waits { Ok(true) } else { output::offer(&std::mem::take(&mut unwritten)) }
                });
                if let Some(listed) = pages.await? {
                    let members = members(&listed);
                    let begin = if waits { document.begin(&members) } else { String::new() };
                    output::write(&(begin + &unwritten + &document.end(&members)))?;
                }
            }
            Format::Text => {
                let mut table = Table::new(self.columns);
                let push = |items: &[Value]| match items {
                    [] => Ok(true),
                    items => output::offer(&table.push(items)),
                };
                if let Some(listed) = self.each_page(connection, push).await? {
                    output::write(&summary(&listed))?;
                }
            }
        }
        Ok(())
    }

    /// Gives every page to `take`, until it wants no more; none then.
    async fn each_page(
        &self,
        connection: &Connection,
        mut take: impl FnMut(&[Value]) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Option<Listed>> {
        let mut listed = Listed { next: self.pages.after.clone(), ..Listed::default() };
        loop {
            let limit = self.pages.limit.map_or(PAGE, |limit| (limit - listed.count).min(PAGE));
            let answer = connection.get(&self.path, &self.query(limit, listed.next.take())).await?;
            let items = answer[self.key].as_array().map(Vec::as_slice).unwrap_or_default();
            listed.count += items.len() as u64;
            if !answer["totals"].is_null() {
                listed.totals = answer["totals"].clone();
            }
            if !take(items)? {
                return Ok(None);
            }
            listed.next = answer["next"].as_str().map(str::to_owned);
            if listed.next.is_none() || self.pages.limit == Some(listed.count) {
                return Ok(Some(listed));
            }
        }
    }

    fn query(&self, limit: u64, after: Option<String>) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(after.map(|after| ("after", after)));
        query.extend(self.filter.iter().cloned());
        query
    }
}

/// One JSON document whose items come a page at a time. Its keys are sorted, as those of
/// every document.
#[derive(Debug)]
struct Document {
    key: &'static str,
    has_items: bool,
}

impl Document {
    fn of(key: &'static str) -> Self {
        Self { key, has_items: false }
    }

    /// Whether one of these members stands before the items.
    fn has_before(&self, members: &Value) -> bool {
        let keys = members.as_object().into_iter().flat_map(serde_json::Map::keys);
        keys.into_iter().any(|key| key.as_str() < self.key)
    }

    /// The document's beginning, with the members that stand before the items.
    fn begin(&self, members: &Value) -> String {
        let mut text = "{\n".to_owned();
        for (key, value) in
            members.as_object().into_iter().flatten().filter(|(key, _)| key.as_str() < self.key)
        {
            text.push_str(&format!("  {}: {},\n", Value::from(key.as_str()), indented(value, 2)));
        }
        text + &format!("  \"{}\": [", self.key)
    }

    fn push(&mut self, items: &[Value]) -> String {
        let mut text = String::new();
        for item in items {
            text.push_str(if std::mem::replace(&mut self.has_items, true) { ",\n" } else { "\n" });
            text.push_str(&format!("    {}", indented(item, 4)));
        }
        text
    }

    /// The rest, with the members that stand after the items.
    fn end(&self, members: &Value) -> String {
        let mut text = if self.has_items { "\n  ]" } else { "]" }.to_owned();
        for (key, value) in
            members.as_object().into_iter().flatten().filter(|(key, _)| key.as_str() > self.key)
        {
            text.push_str(&format!(",\n  {}: {}", Value::from(key.as_str()), indented(value, 2)));
        }
        text + "\n}\n"
    }
}

/// A value on lines of which all but the first begin with so many spaces.
fn indented(value: &Value, spaces: usize) -> String {
    format!("{value:#}").replace('\n', &format!("\n{}", " ".repeat(spaces)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pages_make_one_document() {
        let page = |ids: &[&str]| ids.iter().map(|id| json!({ "id": id, "a": null })).collect::<Vec<_>>();
        let members =
            json!({ "next": "c", "schema_version": 1, "totals": { "all": 3, "b": [] }, "truncated": true });
        for (key, has_before) in [("nodes", true), ("containers", false)] {
            for pages in [vec![page(&[])], vec![page(&["a\n\u{1b}", "b"]), page(&["c"])]] {
                let mut document = Document::of(key);
                assert_eq!(document.has_before(&members), has_before, "{key}");
                let mut text = document.begin(&members);
                text.extend(pages.iter().map(|page| document.push(page)));
                text.push_str(&document.end(&members));
                let mut expected = members.clone();
                expected[key] = pages.concat().into();
                assert_eq!(text, output::json(&expected), "as any other document");
            }
        }
    }
}
