//! `congruent-server manifest`.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use congruent_protocol::manifest::Manifest;
use reqwest::Method;
use serde_json::{Value, json};

use super::connection::{Connection, Content};
use super::{ConnectionArgs, Format, ReasonArgs, output, with_connection};
use crate::manifests::MAX_MANIFEST_BYTES;

/// Imports manifests, so that groups can accept them.
///
/// An imported manifest is known, and no more: nodes are held to it once a group
/// accepts it, by the group's own keys. ROOT is a tree root or, where several
/// files have it, the digest of one.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  congruent-server manifest import web-1.4.2.manifest --reason 'release 1.4.2'
  congruent-server manifest list
  congruent-server manifest withdraw blake3:… --reason 'CVE-2026-1234'")]
pub(crate) struct ManifestArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: ManifestCommand,
}

#[derive(Debug, Subcommand)]
enum ManifestCommand {
    /// Imports manifests; twice is as once. One that was withdrawn stands again.
    Import {
        /// The manifests' files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Lists imported manifests, the newest first.
    List {
        /// How many at most, to 1000.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Shows what is known of a manifest.
    Show {
        /// Its root, or its file's digest.
        root: String,
    },
    /// Lets no group accept a manifest from now on; its file stays, as evidence.
    Withdraw {
        /// Its root, or its file's digest.
        root: String,
        #[command(flatten)]
        reason: ReasonArgs,
    },
}

/// What to do where there are none.
const EMPTY: &str = "no manifest yet; `congruent-server manifest import FILE --reason …` brings one in";

/// Runs the command that was asked for.
pub(crate) fn run(args: &ManifestArgs) -> anyhow::Result<()> {
    with_connection(&args.connection, async |connection| match &args.command {
        ManifestCommand::Import { files, reason } => import(&connection, files, &reason.reason).await,
        ManifestCommand::List { limit } => {
            let answer = connection.get(&["manifests"], &[("limit", limit.to_string())]).await?;
            list(&connection, &answer)
        }
        ManifestCommand::Show { root } => {
            output::one(connection.format, &connection.get(&["manifests", root], &[]).await?)
        }
        ManifestCommand::Withdraw { root, reason } => {
            let path = ["manifests", root];
            let answer = connection.change(Method::DELETE, &path, &reason.reason, Content::Nothing).await?;
            output::one(connection.format, &answer)
        }
    })
}

async fn import(connection: &Connection, files: &[PathBuf], reason: &str) -> anyhow::Result<()> {
    let mut imported = Vec::new();
    for path in files {
        let failed = || format!("cannot import {}", path.display());
        let (root, bytes) = read(path).with_context(failed)?;
        let path = ["manifests", &root];
        let sent = connection.change(Method::PUT, &path, reason, Content::Bytes(bytes)).await;
        imported.push(sent.with_context(failed)?);
    }
    match (connection.format, imported.as_slice()) {
        (Format::Json, [one]) => output::one(Format::Json, one),
        _ => list(connection, &json!({ "manifests": imported })),
    }
}

fn list(connection: &Connection, answer: &Value) -> anyhow::Result<()> {
    let columns = [
        ("name", "NAME"),
        ("version", "VERSION"),
        ("kind", "KIND"),
        ("entries", "ENTRIES"),
        ("root", "ROOT"),
        ("withdrawn_at", "WITHDRAWN"),
    ];
    output::list(connection.format, answer, "manifests", &columns, EMPTY)
}

/// A manifest's root and bytes. The collector checks the rest.
fn read(path: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let file = File::open(path).context("cannot open the manifest")?;
    file.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes).context("cannot read the manifest")?;
    ensure!(
        bytes.len() as u64 <= MAX_MANIFEST_BYTES,
        "the manifest is over {MAX_MANIFEST_BYTES} bytes, which no collector takes"
    );
    let manifest = Manifest::read_statement(&mut Cursor::new(&bytes))?;
    Ok((manifest.predicate().root.to_string(), bytes))
}
