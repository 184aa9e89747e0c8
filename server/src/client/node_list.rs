//! `congruent-server node list`: every page of a list, written as it comes.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::connection::Connection;
use super::output::Columns;
use super::pages::{List, Listed, PageArgs};
use crate::count::counted;

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
    #[command(flatten)]
    pages: PageArgs,
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

impl ListArgs {
    fn filter(&self) -> Vec<(&'static str, String)> {
        let filter = [
            ("state", self.state.as_ref().and_then(word)),
            ("group", self.group.clone()),
            ("verdict", self.verdict.as_ref().and_then(word)),
            ("prefix", self.prefix.clone()),
            ("name", self.name.clone()),
            ("silent_for", self.silent_for.clone()),
            ("revoked", self.revoked.then(|| "true".to_owned())),
        ];
        filter.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// A value as it stands in a query: as on the command line.
pub(super) fn word(value: &impl ValueEnum) -> Option<String> {
    Some(value.to_possible_value()?.get_name().to_owned())
}

/// Lists nodes, a page at a time.
pub(super) async fn list(connection: &Connection, args: &ListArgs) -> anyhow::Result<()> {
    let list = List {
        path: vec!["nodes"],
        key: "nodes",
        columns: COLUMNS,
        filter: args.filter(),
        pages: &args.pages,
    };
    let members = |listed: &Listed| {
        let (next, truncated) = (&listed.next, listed.next.is_some());
        json!({ "next": next, "schema_version": 1, "totals": listed.totals, "truncated": truncated })
    };
    list.write(connection, members, |listed| summary(listed, args)).await
}

/// What stands under the table.
fn summary(listed: &Listed, args: &ListArgs) -> String {
    let (count, rest) = (listed.count, listed.rest());
    // Only the first page has totals.
    if args.pages.after.is_some() {
        return format!("{}{rest}\n", counted(count, "node", "nodes"));
    }
    let in_state = |state: &str| listed.totals[state].as_u64().unwrap_or_default();
    if count == 0 && args.filter().is_empty() {
        return "no node is enrolled yet: `congruent-server token create --group NAME --reason …` makes a join \
             token, and `congruent enroll` on the node uses it\n"
            .to_owned();
    }
    if count == 0 {
        return match in_state("all") {
            0 => "no node is like that\n".to_owned(),
            1 => "no node is like that; with fewer flags there is 1\n".to_owned(),
            all => format!("no node is like that; with fewer flags there are {all}\n"),
        };
    }
    let states = ["congruent", "divergent", "incomplete", "silent", "unknown"];
    let states = states.iter().filter(|state| in_state(state) > 0);
    let states: Vec<_> = states.map(|state| format!("{} {state}", in_state(state))).collect();
    match in_state("all") {
        all if all == count => {
            format!("{}: {}{rest}\n", counted(count, "node", "nodes"), states.join(", "))
        }
        all => {
            format!("{count} of {}; of all {}{rest}\n", counted(all, "node", "nodes"), states.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_say_how_many_there_are_and_what_to_do() {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            list: ListArgs,
        }
        for (flags, count, totals, next, says) in [
            ("", 0, json!({ "all": 0 }), None, "no node is enrolled yet: `congruent-server token create"),
            ("--group=db", 0, json!({ "all": 0 }), None, "no node is like that"),
            (
                "--state=silent",
                0,
                json!({ "all": 2, "unknown": 2 }),
                None,
                "no node is like that; with fewer",
            ),
            (
                "",
                3,
                json!({ "all": 3, "congruent": 2, "silent": 1 }),
                None,
                "3 nodes: 2 congruent, 1 silent\n",
            ),
            (
                "--limit=1",
                1,
                json!({ "all": 3, "congruent": 3 }),
                Some("web\n1"),
                "1 of 3 nodes; of all 3 congruent; there are more: give --after web\\x0a1, or a higher --limit\n",
            ),
            ("", 1, json!({ "all": 1, "silent": 1 }), None, "1 node: 1 silent\n"),
            (
                "--state=silent",
                0,
                json!({ "all": 1, "unknown": 1 }),
                None,
                "no node is like that; with fewer flags there is 1\n",
            ),
            ("--after=web-1", 2, json!(null), None, "2 nodes\n"),
            ("--after=web-1", 1, json!(null), Some("web-2"), "1 node; there are more: give --after web-2"),
        ] {
            let flags = ["list"].into_iter().chain(flags.split(' ').filter(|flag| !flag.is_empty()));
            let args = <Line as clap::Parser>::parse_from(flags).list;
            let said = summary(&Listed { count, totals, next: next.map(str::to_owned) }, &args);
            assert!(said.starts_with(says), "{said}");
        }
    }
}
