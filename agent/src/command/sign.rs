//! `congruent sign`: add a signature to a baked manifest.
//!
//! The manifest is read whole first: nothing is signed that `verify` would not
//! take. Its payload is copied to the letter, so that earlier signatures hold.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail};
use congruent_protocol::key::PublicKey;
use congruent_protocol::manifest::{Envelope, Manifest, write_envelope};

use super::{Outcome, read_secret_key};
use crate::atomic;
use crate::cli::Sign;
use crate::output::counted;
use crate::regular;

pub(super) fn run(args: &Sign) -> anyhow::Result<Outcome> {
    let shown = args.manifest.display();
    // Two at once would each keep only its own signature.
    let _lock = args.export.is_none().then(|| atomic::lock(args.output.as_ref().unwrap_or(&args.manifest)));
    let _lock = _lock.transpose()?;
    let mut file =
        regular::open(&args.manifest).with_context(|| format!("cannot open the manifest {shown}"))?;
    let unusable = || format!("cannot use the manifest {shown}");
    let manifest = Manifest::read_unchecked(&mut file).with_context(unusable)?;
    let mut envelope = Manifest::read_envelope(&mut file).with_context(unusable)?;
    if let Some(output) = &args.export {
        let message = envelope.message().with_context(unusable)?;
        atomic::check_output("--export", output)?;
        atomic::write(output, |out| Ok(out.write_all(&message)?))?;
        writeln!(io::stderr(), "wrote what is to be signed to {}", output.display())?;
        return Ok(Outcome::Clean);
    }
    let before = envelope.claimed_keys().len();
    for path in &args.key {
        let key = read_secret_key(path)?;
        refuse_second(&envelope, &key.public(), &args.manifest)?;
        envelope.sign(&key)?;
    }
    if let (Some(signature), Some(public)) = (&args.signature, &args.public) {
        let pem = regular::read_text(public)
            .with_context(|| format!("cannot read the public key {}", public.display()))?;
        let key = PublicKey::from_pem(&pem).with_context(|| format!("cannot use {}", public.display()))?;
        refuse_second(&envelope, &key, &args.manifest)?;
        let bytes = regular::read(signature, regular::MAX_TEXT_BYTES)
            .with_context(|| format!("cannot read the signature {}", signature.display()))?;
        envelope
            .add_signature(&key, &bytes)
            .with_context(|| format!("cannot use the signature {}", signature.display()))?;
    }
    let output = args.output.as_ref().unwrap_or(&args.manifest);
    atomic::check_output("--output", output)?;
    let sections = manifest.all_sections(&file)?;
    atomic::write(output, |out| Ok(write_envelope(out, &envelope, sections)?))?;
    let keys = envelope.claimed_keys();
    let mut err = io::stderr();
    for key in &keys[before..] {
        writeln!(err, "signed by {key}")?;
    }
    writeln!(err, "{} now has {}", output.display(), counted(keys.len() as u64, "signature", "signatures"))?;
    Ok(Outcome::Clean)
}

fn refuse_second(envelope: &Envelope, key: &PublicKey, manifest: &Path) -> anyhow::Result<()> {
    if envelope.signed_by(std::slice::from_ref(key))?.is_empty() {
        return Ok(());
    }
    bail!("{} is signed by {} already", manifest.display(), key.id())
}
