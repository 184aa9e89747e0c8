//! `congruent-server node`.

use clap::{Args, Subcommand};
use reqwest::Method;

use super::connection::Content;
use super::{ConnectionArgs, ReasonArgs, output, with_connection};

/// Shows nodes, and ends enrolments.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Lists nodes.
    List {
        /// How many at most, to 1000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Shows a node.
    Show {
        /// The node's id.
        id: String,
    },
    /// Ends a node's enrolment, from its next request on. Its key joins never
    /// again; its name is free, and its group has room for another action.
    Revoke {
        /// The node's id.
        id: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

/// Runs the command that was asked for.
pub(crate) fn run(args: &NodeArgs) -> anyhow::Result<()> {
    with_connection(&args.connection, async |connection| match &args.command {
        NodeCommand::List { limit } => {
            let answer = connection.get(&["nodes"], &[("limit", limit.to_string())]).await?;
            let columns = [
                ("id", "ID"),
                ("group", "GROUP"),
                ("state", "STATE"),
                ("since", "SINCE"),
                ("last_seen", "LAST SEEN"),
                ("findings_total", "FINDINGS"),
            ];
            output::list(connection.format, &answer, "nodes", &columns)
        }
        NodeCommand::Show { id } => {
            let answer = connection.get(&["nodes", id], &[]).await?;
            output::one(connection.format, &answer)
        }
        NodeCommand::Revoke { id, reason } => {
            let path = ["nodes", id, "revoke"];
            let answer = connection.change(Method::POST, &path, &reason.reason, Content::Nothing).await?;
            output::one(connection.format, &answer)
        }
    })
}
