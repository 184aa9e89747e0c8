//! `congruent-server decision`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{ConnectionArgs, output, with_connection};

/// Shows what policy said of nodes, and what it was asked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server decision list --node web-1
  congruent-server decision show 4711 --format json")]
pub(crate) struct DecisionArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: DecisionCommand,
}

#[derive(Debug, Subcommand)]
enum DecisionCommand {
    /// Lists decisions, the newest first.
    List(OfArgs),
    /// Shows a decision and its input, byte for byte what policy was asked.
    Show {
        /// The decision's id.
        id: String,
    },
}

/// Of which node or group.
#[derive(Debug, Args)]
pub(super) struct OfArgs {
    /// Only of this node.
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Only of this group.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// How many at most, to 1000.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

impl OfArgs {
    /// What the API is asked for.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("limit", self.limit.to_string())];
        query.extend(self.node.clone().map(|node| ("node", node)));
        query.extend(self.group.clone().map(|group| ("group", group)));
        query
    }
}

/// Runs the command that was asked for.
pub(crate) fn run(args: &DecisionArgs) -> anyhow::Result<()> {
    with_connection(&args.connection, async |connection| match &args.command {
        DecisionCommand::List(of) => {
            let mut answer = connection.get(&["decisions"], &of.query()).await?;
            if connection.format == super::Format::Text {
                answer["decisions"].as_array_mut().into_iter().flatten().for_each(flatten);
            }
            let columns = [
                ("id", "ID"),
                ("at", "AT"),
                ("node", "NODE"),
                ("container", "CONTAINER"),
                ("group", "GROUP"),
                ("state", "STATE"),
                ("verdict", "VERDICT"),
                ("severity", "SEVERITY"),
                ("reasons", "REASONS"),
            ];
            output::list(connection.format, &answer, "decisions", &columns, "no decision yet")
        }
        DecisionCommand::Show { id } => {
            output::one(connection.format, &connection.get(&["decisions", id], &[]).await?)
        }
    })
}

/// Brings what stands deeper to where a table looks for it.
fn flatten(row: &mut Value) {
    row["verdict"] = row["decision"]["action"].clone();
    row["severity"] = row["decision"]["severity"].clone();
    row["reasons"] = match &row["decision"] {
        Value::Null => row["policy_error"].clone(),
        decision => decision["reasons"].clone(),
    };
}
