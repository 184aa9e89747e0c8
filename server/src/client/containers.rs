//! `congruent-server container`.

use clap::{Args, Subcommand};

use super::node_list::{State, Verdict, word};
use super::{ConnectionArgs, Format, node_text, output, with_connection};

/// Shows the containers that run on nodes, each with a state of its own.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server container list --state divergent
  congruent-server container list --node web-1 --format json
  congruent-server container show web-1 3f0c…")]
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
    /// writable layer and its mounts, and what policy says of it.
    Show {
        /// The node that it runs on.
        node: String,
        /// Its id, whole.
        id: String,
    },
}

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
    /// Only what follows this one: `next` of the page before.
    #[arg(long, value_name = "NODE/ID")]
    after: Option<String>,
    /// How many at most, to 1000.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

impl ListArgs {
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", self.limit.to_string())];
        for (key, value) in [
            ("after", self.after.clone()),
            ("group", self.group.clone()),
            ("state", self.state.as_ref().and_then(word)),
            ("verdict", self.verdict.as_ref().and_then(word)),
        ] {
            query.extend(value.map(|value| (key, value)));
        }
        query
    }
}

/// Runs the command that was asked for.
pub(crate) fn run(args: &ContainerArgs) -> anyhow::Result<()> {
    with_connection(&args.connection, async |connection| match &args.command {
        ContainerCommand::List(args) => {
            let path = match &args.node {
                Some(node) => vec!["nodes", node, "containers"],
                None => vec!["containers"],
            };
            let answer = connection.get(&path, &args.query()).await?;
            let columns = [
                ("node", "NODE"),
                ("id", "ID"),
                ("name", "NAME"),
                ("image", "IMAGE"),
                ("state", "STATE"),
                ("since", "SINCE"),
                ("findings_total", "FINDINGS"),
                ("verdict", "VERDICT"),
            ];
            let empty = "no container is like that; nodes tell of theirs where their agent's configuration has \
                         `[containers]` with `enabled = true`";
            output::list(connection.format, &answer, "containers", &columns, empty)
        }
        ContainerCommand::Show { node, id } => {
            let answer = connection.get(&["nodes", node, "containers", id], &[]).await?;
            match connection.format {
                Format::Json => output::one(Format::Json, &answer),
                Format::Text => output::write(&node_text::container(&answer)),
            }
        }
    })
}
