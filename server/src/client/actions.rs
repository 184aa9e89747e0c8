//! `congruent-server action`.

use clap::{Args, Subcommand};

use super::decisions::OfArgs;
use super::{ConnectionArgs, output, with_connection};

/// Shows orders to platforms, and what became of them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server action list --group web
  congruent-server action show act_…")]
pub(crate) struct ActionArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: ActionCommand,
}

#[derive(Debug, Subcommand)]
enum ActionCommand {
    /// Lists actions, the newest first.
    List(OfArgs),
    /// Shows an action: its life, every delivery, and the order as the platform gets it.
    Show {
        /// The action's id.
        id: String,
    },
}

/// Runs the command that was asked for.
pub(crate) fn run(args: &ActionArgs) -> anyhow::Result<()> {
    with_connection(&args.connection, async |connection| match &args.command {
        ActionCommand::List(of) => {
            let answer = connection.get(&["actions"], &of.query()).await?;
            let columns = [
                ("id", "ID"),
                ("node", "NODE"),
                ("container", "CONTAINER"),
                ("target", "TARGET"),
                ("group", "GROUP"),
                ("action", "ACTION"),
                ("state", "STATE"),
                ("updated_at", "SINCE"),
                ("reason", "REASON"),
            ];
            output::list(connection.format, &answer, "actions", &columns, "no action, and none was held")
        }
        ActionCommand::Show { id } => {
            output::one(connection.format, &connection.get(&["actions", id], &[]).await?)
        }
    })
}
