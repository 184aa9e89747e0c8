//! `congruent-server token`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::connection::Content;
use super::{ConnectionArgs, ReasonArgs, expiry, given_once, output, with_connection};
use crate::clock;

/// Makes join tokens, with which nodes enrol.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server token create --group web --ttl 15m --output web-1.join --reason 'web-1 is new'
  congruent-server token create --group web --reusable --from 10.0.0.0/8 --ttl 90d --reason 'launch template'
  congruent-server token revoke jt_… --reason 'the template was replaced'")]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: TokenCommand,
}

/// What to do where there are none.
const EMPTY: &str = "no join token yet; `congruent-server token create --group NAME --reason …` makes one";

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Create(CreateArgs),
    /// Lists tokens, the newest first: never the tokens themselves.
    List {
        /// How many at most, to 1000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Lets nobody join with a token from now on; who has joined stays.
    Revoke {
        /// The token's id, as it is listed.
        id: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

/// Makes a join token, and gives it: this once, and never again.
///
/// It serves one node, unless it is reusable: a launch template, say, has one
/// that is, and is best bound to a network and a rate.
#[derive(Debug, Args)]
struct CreateArgs {
    /// The group that nodes join with it.
    #[arg(long, value_name = "NAME")]
    group: String,
    /// When it ends: a period such as 15m, or a time.
    #[arg(long, value_name = "PERIOD", default_value = "15m")]
    ttl: String,
    /// Let several nodes join with it.
    #[arg(long)]
    reusable: bool,
    /// How many nodes may join with it within a minute.
    #[arg(long, value_name = "N", requires = "reusable")]
    max_per_minute: Option<u32>,
    /// The network that nodes must join from, such as 10.0.0.0/8. May be given
    /// several times.
    #[arg(long, value_name = "CIDR")]
    from: Vec<String>,
    /// The file that the token is written to, readable for its owner only; it
    /// must not be there yet. By default standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reason: ReasonArgs,
}

/// Runs the command that was asked for.
pub(crate) fn run(args: &TokenArgs) -> anyhow::Result<()> {
    with_connection(&args.connection, async |connection| match &args.command {
        TokenCommand::Create(args) => {
            let now = clock::system()();
            let life = expiry::read("--ttl", &args.ttl, now)?.duration_since(now);
            let wanted = json!({
                "group": args.group, "ttl": life, "reusable": args.reusable,
                "max_per_minute": args.max_per_minute, "from": args.from
            });
            let (reason, file) = (&args.reason.reason, args.output.as_deref());
            given_once::create(&connection, &["tokens"], reason, wanted, file).await
        }
        TokenCommand::List { limit } => {
            let answer = connection.get(&["tokens"], &[("limit", limit.to_string())]).await?;
            let columns = [
                ("id", "ID"),
                ("group", "GROUP"),
                ("created_by", "BY"),
                ("expires_at", "EXPIRES"),
                ("reusable", "REUSABLE"),
                ("from", "FROM"),
                ("uses", "USES"),
                ("refused", "REFUSED"),
                ("revoked_at", "REVOKED"),
            ];
            output::list(connection.format, &answer, "tokens", &columns, EMPTY)
        }
        TokenCommand::Revoke { id, reason } => {
            let path = ["tokens", id];
            let answer = connection.change(Method::DELETE, &path, &reason.reason, Content::Nothing).await?;
            output::one(connection.format, &answer)
        }
    })
}
