//! Keeping what the collector knows: backups, their restoration, and copies from one
//! database to another. None of it runs in a collector; each is a command of its own.

mod backup;
mod carry;
mod progress;
mod record;
mod restore;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand, ValueHint};

use crate::cli::say;
use crate::config::Config;
use crate::count::counted;
use crate::store::{self, Source, TableProof};
use crate::{clock, serve};
use carry::{Carried, carry};
use progress::Meter;

/// Makes a backup, also while the collector runs.
///
/// It is a folder with the database as it stood at one time, as a file of SQLite whatever
/// the database is, the imported manifests and large reports, and a record of the digests of all of it. The
/// copy is checked before the folder has its name.
///
/// What it does NOT have, and what you keep elsewhere: the configuration, the authority's
/// key (`ca.key` or your own), operators' and webhooks' secrets, and manifests and keys
/// that the configuration names. It has what seals nodes' reports: keep it as secret as the
/// database.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  congruent-server backup --config server.toml --output /backup/congruent-$(date +%F)")]
pub(crate) struct BackupArgs {
    /// The collector's configuration, which names the database.
    #[arg(long, value_name = "FILE", env = "CONGRUENT_CONFIG", value_hint = ValueHint::FilePath)]
    config: PathBuf,
    /// The folder to make; it must not be there.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    output: PathBuf,
}

/// Restores a backup into the place that the configuration names, which must be empty.
///
/// Everything in the backup is held to its digests before anything is written. One of an
/// older version is brought up to date; one of a newer version is refused. Nodes go on by
/// themselves: what they report next tells of the reports that the backup does not have.
/// What was revoked after the backup stands again, and is to be revoked again.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  congruent-server restore --config server.toml --input /backup/congruent-2026-03-01")]
pub(crate) struct RestoreArgs {
    /// The collector's configuration, which names the database.
    #[arg(long, value_name = "FILE", env = "CONGRUENT_CONFIG", value_hint = ValueHint::FilePath)]
    config: PathBuf,
    /// The backup's folder.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    input: PathBuf,
}

/// Works on a database as a whole.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    Copy(CopyArgs),
}

/// Copies everything to another database, such as from SQLite to PostgreSQL, and proves it.
///
/// The collector must be stopped: a file of SQLite that is in use is refused. The other
/// database must be empty, and no collector uses it until all is there. Afterwards every
/// row of every table is read on both sides; what is printed is each table's
/// number of rows and the digest over them. Imported manifests and large reports are files, or
/// objects in a bucket: those that the place named by --to does not have are copied there;
/// with --to-database they stay where they are.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("target").required(true).args(["to", "to_database"]))]
#[command(after_help = "\
Examples:
  congruent-server store copy --from server.toml --to postgres.toml
  congruent-server store copy --from server.toml \\
    --to-database postgresql://congruent@db.example.org/congruent \\
    --password-file db.password --database-ca db-ca.pem")]
struct CopyArgs {
    /// The configuration that names the database to be copied.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    from: PathBuf,
    /// A configuration that names the database to copy to.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    to: Option<PathBuf>,
    /// The database to copy to: a file, or an address of PostgreSQL.
    #[arg(long, value_name = "URL")]
    to_database: Option<String>,
    /// Holds the password for --to-database.
    #[arg(long, value_name = "FILE", requires = "to_database", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,
    /// The authority of the certificate of --to-database, in PEM.
    #[arg(long, value_name = "FILE", requires = "to_database", value_hint = ValueHint::FilePath)]
    database_ca: Option<PathBuf>,
    /// Lets go of what a copy left that was begun and not finished. What is whole is never
    /// replaced.
    #[arg(long)]
    replace_unfinished: bool,
}

pub(crate) fn backup(args: &BackupArgs) -> anyhow::Result<()> {
    serve::install_crypto();
    let (database, blobs) = Config::places_of(&args.config)?;
    let mut meter = Meter::new();
    let record = backup::make(&database, &blobs, &args.output, clock::system()(), &mut meter)?;
    meter.done();
    say(&record.told(&args.output))
}

pub(crate) fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    serve::install_crypto();
    let (database, blobs) = Config::places_of(&args.config)?;
    let mut meter = Meter::new();
    let record = restore::from(&args.input, &database, &blobs, clock::system()(), &mut meter)?;
    meter.done();
    let rows: u64 = record.tables.iter().map(|table| table.rows).sum();
    let missing: String =
        record.missing.iter().map(|name| format!("\nmissing, as it was in the backup: {name}")).collect();
    say(&format!(
        "restored {}, {}, as of {}, to {database}\nwhat was revoked since then stands again: \
         revoke it again{missing}",
        counted(rows, "row", "rows"),
        record.told_blobs(),
        record.made_at
    ))
}

pub(crate) fn store(args: &StoreArgs) -> anyhow::Result<()> {
    serve::install_crypto();
    let StoreCommand::Copy(args) = &args.command;
    let (from, blobs) = Config::places_of(&args.from)?;
    let (to, to_blobs) = match (&args.to, &args.to_database) {
        (Some(config), _) => {
            let (database, blobs) = Config::places_of(config)?;
            (database, Some(blobs))
        }
        (None, Some(stated)) => {
            let (password, authority) = (args.password_file.as_deref(), args.database_ca.as_deref());
            (Config::database_at(stated, password, authority)?, None)
        }
        (None, None) => anyhow::bail!("give --to or --to-database"),
    };
    let source = Source::alone(&from)?;
    // Before the other database may be used.
    let carried = to_blobs.map(|to| carry(&from, &blobs, &to)).transpose()?;
    let mut meter = Meter::new();
    let proofs = store::copy(&source, &to, args.replace_unfinished, &mut |progress| meter.tell(progress))
        .with_context(|| format!("cannot copy {from} to {to}"))?;
    meter.done();
    say(&table_of(&proofs))?;
    if let Some(carried) = carried.filter(|carried| *carried != Carried::default()) {
        say(&carried.told())?;
    }
    say(&format!("{to} holds all that {from} holds"))
}

/// A line for each table.
fn table_of(proofs: &[TableProof]) -> String {
    let line = |proof: &TableProof| format!("{:<15} {:>10} blake3:{}", proof.table, proof.rows, proof.digest);
    proofs.iter().map(line).collect::<Vec<_>>().join("\n")
}
