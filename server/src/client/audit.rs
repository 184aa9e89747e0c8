//! `congruent-server audit`.

use clap::{Args, Subcommand};

use super::{ConnectionArgs, output, with_connection};

/// Shows who changed what, when and why.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server audit list --limit 20
  congruent-server audit list --format json --before 4711")]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Lists changes, and calls that were refused for want of a role, the newest first.
    List {
        /// How many at most, to 1000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        /// Only what is older than the record of this id.
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
    },
}

/// Runs the command that was asked for.
pub(crate) fn run(args: &AuditArgs) -> anyhow::Result<()> {
    let AuditCommand::List { limit, before } = args.command;
    with_connection(&args.connection, async |connection| {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(before.map(|before| ("before", before.to_string())));
        let answer = connection.get(&["audit"], &query).await?;
        let columns = [
            ("id", "ID"),
            ("at", "AT"),
            ("operator", "OPERATOR"),
            ("action", "ACTION"),
            ("object", "OBJECT"),
            ("count", "COUNT"),
            ("reason", "REASON"),
        ];
        output::list(connection.format, &answer, "audit", &columns, "nothing is on record that is older")
    })
}
