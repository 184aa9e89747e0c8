//! `congruent-server node list`: every page of a list, written as it comes.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Format;
use super::connection::Connection;
use super::output::{self, Columns, Table};

/// How many nodes are asked for at once.
const PAGE: u64 = 1000;

const COLUMNS: &Columns<'_> = &[
    ("id", "ID"),
    ("group", "GROUP"),
    ("state", "STATE"),
    ("since", "SINCE"),
    ("last_seen", "LAST SEEN"),
    ("findings_total", "FINDINGS"),
    ("verdict", "VERDICT"),
];

/// Lists nodes by name: all of them, or those to which every flag applies.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only nodes in this state.
    #[arg(long, value_name = "STATE", value_enum)]
    state: Option<State>,
    /// Only nodes of this group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Only nodes of which policy says this.
    #[arg(long, value_name = "VERDICT", value_enum)]
    verdict: Option<Verdict>,
    /// Only nodes whose names begin so; this is the quickest way to find some of many.
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Only nodes whose names are like this: `*` stands for anything and `?` for one
    /// character; without either it is a part of the name. Case does not matter.
    #[arg(long, value_name = "PATTERN")]
    name: Option<String>,
    /// Only nodes that nothing was heard of for so long, such as 10m.
    #[arg(long, value_name = "PERIOD")]
    silent_for: Option<String>,
    /// Nodes whose enrolment was revoked, instead of those that are enrolled.
    #[arg(long)]
    revoked: bool,
    /// How many at most. All, unless said otherwise.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum State {
    Congruent,
    Divergent,
    Incomplete,
    Silent,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Verdict {
    None,
    Observe,
    Quarantine,
    Replace,
}

/// What is known of a list once its pages have come.
#[derive(Debug, Default)]
struct Listed {
    nodes: u64,
    totals: Value,
    truncated: bool,
}

impl ListArgs {
    fn query(&self, limit: u64, after: Option<String>) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", limit.to_string())];
        for (key, value) in [
            ("after", after),
            ("state", self.state.as_ref().and_then(word)),
            ("group", self.group.clone()),
            ("verdict", self.verdict.as_ref().and_then(word)),
            ("prefix", self.prefix.clone()),
            ("name", self.name.clone()),
            ("silent_for", self.silent_for.clone()),
            ("revoked", self.revoked.then(|| "true".to_owned())),
        ] {
            query.extend(value.map(|value| (key, value)));
        }
        query
    }

    fn has_filter(&self) -> bool {
        self.query(1, None).len() > 1
    }
}

/// A value as it stands in a query: as on the command line.
pub(super) fn word(value: &impl ValueEnum) -> Option<String> {
    Some(value.to_possible_value()?.get_name().to_owned())
}

/// Lists nodes, a page at a time.
pub(super) async fn list(connection: &Connection, args: &ListArgs) -> anyhow::Result<()> {
    match connection.format {
        Format::Json => {
            let mut document = Document::default();
            let pages = each_page(connection, args, |nodes| output::offer(&document.push(nodes))).await?;
            if let Some(listed) = pages {
                output::write(&document.end(&listed))?;
            }
        }
        Format::Text => {
            let mut table = Table::new(COLUMNS);
            let push = |nodes: &[Value]| match nodes {
                [] => Ok(true),
                nodes => output::offer(&table.push(nodes)),
            };
            if let Some(listed) = each_page(connection, args, push).await? {
                output::write(&summary(&listed, args))?;
            }
        }
    }
    Ok(())
}

/// Gives every page to `take`, until it wants no more; none then.
async fn each_page(
    connection: &Connection,
    args: &ListArgs,
    mut take: impl FnMut(&[Value]) -> anyhow::Result<bool>,
) -> anyhow::Result<Option<Listed>> {
    let mut listed = Listed::default();
    let mut after = None;
    loop {
        let limit = args.limit.map_or(PAGE, |limit| (limit - listed.nodes).min(PAGE));
        let answer = connection.get(&["nodes"], &args.query(limit, after)).await?;
        let nodes = answer["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        listed.nodes += nodes.len() as u64;
        if !answer["totals"].is_null() {
            listed.totals = answer["totals"].clone();
        }
        if !take(nodes)? {
            return Ok(None);
        }
        after = answer["next"].as_str().map(str::to_owned);
        listed.truncated = after.is_some();
        if after.is_none() || args.limit == Some(listed.nodes) {
            return Ok(Some(listed));
        }
    }
}

/// What stands under the table.
fn summary(listed: &Listed, args: &ListArgs) -> String {
    let count = |state: &str| listed.totals[state].as_u64().unwrap_or_default();
    if listed.nodes == 0 && !args.has_filter() {
        return "no node is enrolled yet: `congruent-server token create --group NAME --reason …` makes a join \
             token, and `congruent enroll` on the node uses it\n"
            .to_owned();
    }
    if listed.nodes == 0 {
        return match count("all") {
            0 => "no node is like that\n".to_owned(),
            all => format!("no node is like that; with fewer flags there are {all}\n"),
        };
    }
    let states = ["congruent", "divergent", "incomplete", "silent", "unknown"];
    let states = states.iter().filter(|state| count(state) > 0);
    let states: Vec<_> = states.map(|state| format!("{} {state}", count(state))).collect();
    let more = if listed.truncated { "; there are more: give a higher --limit" } else { "" };
    let listed = listed.nodes;
    match count("all") {
        all if all == listed => format!("{listed} nodes: {}{more}\n", states.join(", ")),
        all => format!("{listed} of {all} nodes; of all {}{more}\n", states.join(", ")),
    }
}

/// One JSON document whose nodes come a page at a time; its keys are sorted.
#[derive(Debug, Default)]
struct Document {
    has_nodes: bool,
    is_begun: bool,
}

impl Document {
    fn push(&mut self, nodes: &[Value]) -> String {
        let mut text = String::new();
        if !std::mem::replace(&mut self.is_begun, true) {
            text.push_str("{\n  \"nodes\": [");
        }
        for node in nodes {
            text.push_str(if std::mem::replace(&mut self.has_nodes, true) { ",\n" } else { "\n" });
            text.push_str(&format!("    {}", indented(node, 4)));
        }
        text
    }

    fn end(&self, listed: &Listed) -> String {
        let rest = json!({ "schema_version": 1, "totals": listed.totals, "truncated": listed.truncated });
        let close = if self.has_nodes { "\n  ]," } else { "]," };
        let rest = format!("{rest:#}");
        format!("{close}{}\n", rest.strip_prefix('{').unwrap_or(&rest))
    }
}

/// A value on lines of which all but the first begin with so many spaces.
fn indented(value: &Value, spaces: usize) -> String {
    format!("{value:#}").replace('\n', &format!("\n{}", " ".repeat(spaces)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_make_one_document() {
        let page = |ids: &[&str]| ids.iter().map(|id| json!({ "id": id, "a": null })).collect::<Vec<_>>();
        for pages in [vec![page(&[])], vec![page(&["a\n\u{1b}", "b"]), page(&["c"])]] {
            let mut document = Document::default();
            let mut text: String = pages.iter().map(|page| document.push(page)).collect();
            let listed = Listed { nodes: 3, totals: json!({ "all": 3 }), truncated: false };
            text.push_str(&document.end(&listed));
            let expected = json!({
                "nodes": pages.concat(), "schema_version": 1, "totals": { "all": 3 }, "truncated": false
            });
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected, "{text}");
            if !pages[0].is_empty() {
                assert_eq!(text, output::json(&expected), "as any other document");
            }
        }
    }

    #[test]
    fn summaries_say_how_many_there_are_and_what_to_do() {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            list: ListArgs,
        }
        for (flags, nodes, totals, truncated, says) in [
            ("", 0, json!({ "all": 0 }), false, "no node is enrolled yet: `congruent-server token create"),
            ("--group=db", 0, json!({ "all": 0 }), false, "no node is like that"),
            (
                "--state=silent",
                0,
                json!({ "all": 2, "unknown": 2 }),
                false,
                "no node is like that; with fewer",
            ),
            (
                "",
                3,
                json!({ "all": 3, "congruent": 2, "silent": 1 }),
                false,
                "3 nodes: 2 congruent, 1 silent\n",
            ),
            (
                "--limit=1",
                1,
                json!({ "all": 3, "congruent": 3 }),
                true,
                "1 of 3 nodes; of all 3 congruent; there are more",
            ),
        ] {
            let flags = ["list"].into_iter().chain(flags.split(' ').filter(|flag| !flag.is_empty()));
            let args = <Line as clap::Parser>::parse_from(flags).list;
            let said = summary(&Listed { nodes, totals, truncated }, &args);
            assert!(said.starts_with(says), "{said}");
        }
    }
}
