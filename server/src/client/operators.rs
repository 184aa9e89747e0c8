//! `congruent-server operator`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::connection::{Connection, Content};
use super::{ConnectionArgs, ReasonArgs, expiry, given_once, output, with_connection};
use crate::clock;
use crate::identity::Role;

/// Says who may ask the collector, and who may change it.
///
/// A viewer reads; an operator imports manifests and says which of them groups
/// accept; an admin creates operators and groups, and says whom groups trust.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server operator create alice --role operator --ttl 90d --output alice.token --reason 'on call'
  congruent-server operator revoke alice --reason 'has left'")]
pub(crate) struct OperatorArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: OperatorCommand,
}

#[derive(Debug, Subcommand)]
enum OperatorCommand {
    Create(CreateArgs),
    /// Lists every operator, also those that were revoked.
    List,
    Revoke(RevokeArgs),
}

/// Creates an operator, and gives its token: this once, and never again.
#[derive(Debug, Args)]
struct CreateArgs {
    /// The operator's name. None is used twice.
    name: String,
    /// What the operator may do.
    #[arg(long, value_name = "ROLE", value_enum)]
    role: Role,
    /// When the token ends: a period such as 90d, or a time. Never, unless said
    /// otherwise.
    #[arg(long, value_name = "PERIOD")]
    ttl: Option<String>,
    /// The file that the token is written to, readable for its owner only; it
    /// must not be there yet. By default standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Ends an operator's token at once.
#[derive(Debug, Args)]
struct RevokeArgs {
    /// The operator's name.
    name: String,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Runs the command that was asked for.
pub(crate) fn run(args: &OperatorArgs) -> anyhow::Result<()> {
    with_connection(&args.connection, async |connection| match &args.command {
        OperatorCommand::Create(args) => create(&connection, args).await,
        OperatorCommand::List => {
            let answer = connection.get(&["operators"], &[]).await?;
            let columns = [
                ("name", "NAME"),
                ("role", "ROLE"),
                ("created_at", "CREATED"),
                ("created_by", "BY"),
                ("expires_at", "EXPIRES"),
                ("revoked_at", "REVOKED"),
            ];
            output::list(connection.format, &answer, "operators", &columns, "no operator yet")
        }
        OperatorCommand::Revoke(RevokeArgs { name, reason }) => {
            let path = ["operators", name];
            let answer = connection.change(Method::DELETE, &path, &reason.reason, Content::Nothing).await?;
            output::one(connection.format, &answer)
        }
    })
}

async fn create(connection: &Connection, args: &CreateArgs) -> anyhow::Result<()> {
    let expires_at = args.ttl.as_deref().map(|text| expiry::read("--ttl", text, clock::system()()));
    let wanted = json!({ "name": args.name, "role": args.role, "expires_at": expires_at.transpose()? });
    let (reason, file) = (&args.reason.reason, args.output.as_deref());
    given_once::create(connection, &["operators"], reason, wanted, file).await
}
