//! `congruent-server operator`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::connection::{Connection, Content};
use super::{ConnectionArgs, Format, ReasonArgs, expiry, output, with_connection};
use crate::clock;
use crate::identity::Role;

/// Says who may ask the collector, and who may change it.
///
/// A viewer reads; an operator imports manifests and says which of them groups
/// accept; an admin creates operators and groups, and says whom groups trust.
#[derive(Debug, Args)]
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
            output::list(connection.format, &answer, "operators", &columns)
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
    let file = args.output.as_deref().map(TokenFile::create).transpose()?;
    let path = ["operators"];
    let answer = connection.change(Method::POST, &path, &args.reason.reason, Content::Json(wanted)).await;
    let mut answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            file.iter().for_each(TokenFile::remove);
            return Err(error.into());
        }
    };
    let token = answer["token"].as_str().unwrap_or_default().to_owned();
    if let (Some(mut file), Value::Object(members)) = (file, &mut answer) {
        members.remove("token");
        file.write(&token)?;
        return output::one(connection.format, &answer);
    }
    match connection.format {
        Format::Json => output::one(Format::Json, &answer),
        Format::Text => output::write(&format!("{token}\n")),
    }
}

/// A file for a token, made before the token is: one that cannot be written
/// would lose it.
struct TokenFile<'a> {
    path: &'a Path,
    file: fs::File,
}

impl<'a> TokenFile<'a> {
    fn create(path: &'a Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, file })
    }

    fn write(&mut self, token: &str) -> anyhow::Result<()> {
        let written = writeln!(self.file, "{token}").and_then(|()| self.file.sync_all());
        written.with_context(|| {
            format!(
                "the operator was created, but its token cannot be written to {}: revoke it, and create another",
                self.path.display()
            )
        })
    }

    fn remove(&self) {
        // It is empty; left over it is in the way, and no more.
        let _ = fs::remove_file(self.path);
    }
}
