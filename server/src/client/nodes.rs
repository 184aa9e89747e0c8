//! `congruent-server node`.

use clap::{Args, Subcommand};
use reqwest::Method;

use super::connection::Content;
use super::node_list::{ListArgs, list};
use super::{ConnectionArgs, Format, ReasonArgs, node_text, output, with_connection};

/// Shows nodes, ends their enrolments, and forgets those that are gone.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server node list --state divergent
  congruent-server node list --group web --name '*-canary' --format json
  congruent-server node show web-1
  congruent-server node revoke web-1 --reason 'its key may be known'
  congruent-server node forget web-1 --revoke --reason 'scaled in'")]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    List(ListArgs),
    /// Shows a node: its state and since when, what was seen and what was not, what
    /// policy says of it, and how it enrolled.
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
    Forget(ForgetArgs),
}

/// Forgets a node that is gone for good: no list has it any more, and nobody waits for
/// its reports.
///
/// What it reported, what was decided and the audit stay. Whoever enrols under its name
/// begins anew. A node that is enrolled is refused unless --revoke is given: a machine
/// that runs on, and that no list shows, would be watched by nobody.
#[derive(Debug, Args)]
struct ForgetArgs {
    /// The node's id.
    id: String,
    /// Revoke its enrolment as well, where it is enrolled.
    #[arg(long)]
    revoke: bool,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Runs the command that was asked for.
pub(crate) fn run(args: &NodeArgs) -> anyhow::Result<()> {
    with_connection(&args.connection, async |connection| match &args.command {
        NodeCommand::List(args) => list(&connection, args).await,
        NodeCommand::Show { id } => {
            let answer = connection.get(&["nodes", id], &[]).await?;
            match connection.format {
                Format::Json => output::one(Format::Json, &answer),
                Format::Text => output::write(&node_text::node(&answer)),
            }
        }
        NodeCommand::Revoke { id, reason } => {
            let path = ["nodes", id, "revoke"];
            let answer = connection.change(Method::POST, &path, &reason.reason, Content::Nothing).await?;
            output::one(connection.format, &answer)
        }
        NodeCommand::Forget(ForgetArgs { id, revoke, reason }) => {
            let query = [("revoke", revoke.to_string())];
            let answer = connection.delete(&["nodes", id], &query, &reason.reason).await?;
            output::one(connection.format, &answer)
        }
    })
}
