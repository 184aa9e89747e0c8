//! `congruent keygen`: a key pair, in the files that OpenSSL writes.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use congruent_protocol::key::SecretKey;

use super::Outcome;
use crate::cli::Keygen;

pub(super) fn run(args: &Keygen) -> anyhow::Result<Outcome> {
    let public = args.public.clone().unwrap_or_else(|| beside(&args.output));
    if public == args.output {
        bail!(
            "the private and the public key cannot both be {}; name another with --public",
            public.display()
        );
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the kernel gives no random numbers")?;
    let key = SecretKey::from_seed(seed);
    write_new(&args.output, 0o600, &key.to_pem())?;
    // Without its public half the new key is of no use, and would be in the way.
    if let Err(error) = write_new(&public, 0o644, &key.public().to_pem()) {
        let _ = std::fs::remove_file(&args.output);
        return Err(error);
    }
    let mut err = std::io::stderr();
    writeln!(err, "private key {} (keep it secret)", args.output.display())?;
    writeln!(err, "public key  {}", public.display())?;
    writeln!(err, "fingerprint {}", key.public().id())?;
    Ok(Outcome::Clean)
}

/// `signer.pem` → `signer.pub.pem`, `signer` → `signer.pub.pem`.
fn beside(private: &Path) -> PathBuf {
    let mut name = private.as_os_str().to_owned();
    if private.extension().is_some_and(|extension| extension == "pem") {
        name = private.with_extension("").into_os_string();
    }
    name.push(".pub.pem");
    name.into()
}

fn write_new(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key is in the way of the next try.
        let _ = std::fs::remove_file(path);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}
