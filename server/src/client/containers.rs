//! `congruent-server container`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::connection::Connection;
use super::node_list::{State, Verdict, word};
use super::output::Columns;
use super::pages::{List, Listed, PageArgs};
use super::{ConnectionArgs, Format, node_text, output, with_connection};
use crate::count::counted;

/// Shows the containers that run on nodes, each with a state of its own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server container list --state divergent
  congruent-server container list --node web-1 --format json
  congruent-server container show web-1 shop")]
pub(crate) struct ContainerArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: ContainerCommand,
}

#[derive(Debug, Subcommand)]
enum ContainerCommand {
    List(ListArgs),
    /// Shows a container: its state and since when, what differs in its layers, its
    /// writable layer and its mounts, and what policy says of it. Of one that runs no
    /// more it shows what is still known.
    Show {
        /// The node that it runs on.
        node: String,
        /// Its id, its name, or the beginning of its id. What runs is meant before what
        /// is over.
        container: String,
    },
}

const COLUMNS: &Columns<'_> = &[
    ("node", "NODE"),
    ("id", "ID"),
    ("name", "NAME"),
    ("image", "IMAGE"),
    ("state", "STATE"),
    ("since", "SINCE"),
    ("findings_total", "FINDINGS"),
    ("verdict", "VERDICT"),
];

/// Lists containers by node: all of them, or those to which every flag applies.
#[derive(Debug, Args)]
struct ListArgs {
    /// Only on this node.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only on nodes of this group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Only containers in this state.
    #[arg(long, value_name = "STATE", value_enum)]
    state: Option<State>,
    /// Only containers of which policy says this.
    #[arg(long, value_name = "VERDICT", value_enum)]
    verdict: Option<Verdict>,
    #[command(flatten)]
    pages: PageArgs,
}

impl ListArgs {
    fn filter(&self) -> Vec<(&'static str, String)> {
        let filter = [
            ("group", self.group.clone()),
            ("state", self.state.as_ref().and_then(word)),
            ("verdict", self.verdict.as_ref().and_then(word)),
        ];
        filter.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// Lists containers, a page at a time.
async fn list(connection: &Connection, args: &ListArgs) -> anyhow::Result<()> {
    let path = match &args.node {
        Some(node) => vec!["nodes", node, "containers"],
        None => vec!["containers"],
    };
    let list = List { path, key: "containers", columns: COLUMNS, filter: args.filter(), pages: &args.pages };
    let members = |listed: &Listed| json!({ "next": listed.next, "schema_version": 1, "truncated": listed.next.is_some() });
    list.write(connection, members, |listed| summary(listed, args)).await
}

/// What stands under the table.
fn summary(listed: &Listed, args: &ListArgs) -> String {
    match listed.count {
        // What came before it was shown.
        0 if args.pages.after.is_none() => {
            "no container is like that; nodes tell of theirs where their agent's configuration has \
             `[containers]` with `enabled = true`\n"
                .to_owned()
        }
        count => format!("{}{}\n", counted(count, "container", "containers"), listed.rest()),
    }
}

/// Runs the command that was asked for.
pub(crate) fn run(args: &ContainerArgs) -> anyhow::Result<()> {
    with_connection(&args.connection, async |connection| match &args.command {
        ContainerCommand::List(args) => list(&connection, args).await,
        ContainerCommand::Show { node, container } => {
            let answer = connection.get(&["nodes", node, "containers", container], &[]).await?;
            match connection.format {
                Format::Json => output::one(Format::Json, &answer),
                Format::Text => output::write(&node_text::container(&answer)),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_list_that_was_cut_says_how_to_go_on() {
        #[derive(Debug, clap::Parser)]
        struct Line {
            #[command(flatten)]
            list: ListArgs,
        }
        let cut = "1 container; there are more: give --after web-1/c1, or a higher --limit\n";
        for (flags, count, next, says) in [
            ("", 0, None, "no container is like that; nodes tell of theirs where"),
            ("--after=web-1/c1", 0, None, "0 containers\n"),
            ("", 2, None, "2 containers\n"),
            ("", 1, Some("web-1/c1"), cut),
        ] {
            let list = Line::parse_from(["list"].into_iter().chain(flags.split_whitespace())).list;
            let listed = Listed { count, next: next.map(str::to_owned), ..Listed::default() };
            let said = summary(&listed, &list);
            assert!(said.starts_with(says), "{flags}: {said}");
        }
    }
}
