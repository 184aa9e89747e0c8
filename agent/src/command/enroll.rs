//! `congruent enroll`: makes the node known to a collector, once.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use congruent_protocol::enrolment::{Secret, code};
use congruent_protocol::manifest::STATE_DIRECTORY;
use congruent_protocol::path::escape;
use jiff::Timestamp;

use super::Outcome;
use crate::cli::Enroll as Args;
use crate::config::{self, Config, host_name};
use crate::enrolment::{EnrolError, Enrolment, EnrolmentFiles, Joining, join, renew};
use crate::regular;

const DEFAULT_CONFIG: &str = "/etc/congruent/agent.toml";
/// The largest file that holds a token.
const MAX_TOKEN_BYTES: u64 = 4096;

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    // Fails only where a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let place = Place::of(args)?;
    let node = args.node.clone().or(place.node).unwrap_or_else(host_name);
    let files = EnrolmentFiles::new(&place.state_directory);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let token = || read_token(&args.token_file);
    let said = runtime.block_on(enroll(args, node, &files, token))?;
    writeln!(std::io::stdout(), "{said}")?;
    Ok(Outcome::Clean)
}

/// Where the agent keeps its state, and what its configuration calls the node.
struct Place {
    state_directory: PathBuf,
    node: Option<String>,
}

impl Place {
    fn of(args: &Args) -> anyhow::Result<Self> {
        if let Some(state_directory) = &args.state_directory {
            return Ok(Self { state_directory: state_directory.clone(), node: None });
        }
        let given = args.config.as_deref();
        let config = given.or_else(|| Some(Path::new(DEFAULT_CONFIG)).filter(|config| config.exists()));
        let Some(config) = config else {
            return Ok(Self { state_directory: PathBuf::from(STATE_DIRECTORY), node: None });
        };
        let config::Place { state_directory, node } = Config::place(config)?;
        Ok(Self { state_directory, node })
    }
}

/// Enrols the node, unless it is; gives what came of it.
async fn enroll(
    args: &Args,
    node: String,
    files: &EnrolmentFiles,
    token: impl FnOnce() -> anyhow::Result<Secret>,
) -> anyhow::Result<String> {
    let joining = |token| Joining::new(&args.server, &args.ca_fingerprint, token, node.clone());
    let Some(enrolment) = files.read()? else {
        let joined = join(&joining(token()?)?, files).await?;
        return Ok(tell("enrolled", &joined));
    };
    let asked = joining(Secret::new(String::new()))?;
    refuse_other(&enrolment, &asked, args.node.is_some())?;
    let now = Timestamp::now();
    if now < enrolment.renew_at {
        return Ok(tell("already enrolled", &enrolment));
    }
    match renew(files, &enrolment).await {
        Ok(renewed) => Ok(tell("already enrolled, and renewed the certificate", &renewed)),
        Err(refused) if refused.code() == Some(code::REVOKED) => Err(refused.into()),
        // It is good as it is, for now.
        Err(refused) if now < enrolment.expires_at => {
            let said = tell("already enrolled", &enrolment);
            Ok(format!(
                "{said}\nthe certificate was to be renewed, and is not: {:#}",
                anyhow::Error::new(refused)
            ))
        }
        // Too late to renew: the key that is known joins once more.
        Err(_) => {
            let joined = join(&joining(token()?)?, files).await?;
            Ok(tell("enrolled again", &joined))
        }
    }
}

/// What is enrolled stays so: under another name or elsewhere it would be another
/// node, and somebody has to mean that.
fn refuse_other(enrolment: &Enrolment, asked: &Joining, is_named: bool) -> Result<(), EnrolError> {
    if enrolment.server != asked.server() {
        let (enrolled, asked) = (enrolment.server.clone(), asked.server().to_owned());
        return Err(EnrolError::Elsewhere { enrolled, asked });
    }
    if is_named && enrolment.node != asked.node() {
        let (enrolled, asked) = (enrolment.node.clone(), asked.node().to_owned());
        return Err(EnrolError::OtherName { enrolled, asked });
    }
    Ok(())
}

fn tell(what: &str, enrolment: &Enrolment) -> String {
    let Enrolment { node, group, agents_url, expires_at, .. } = enrolment;
    format!(
        "{what} as {}, in the group {}; reports go to {agents_url}, and the certificate lasts until {expires_at}",
        escape(node.as_bytes()),
        escape(group.as_bytes())
    )
}

fn read_token(path: &Path) -> anyhow::Result<Secret> {
    let shown = path.display();
    let bytes =
        regular::read(path, MAX_TOKEN_BYTES).with_context(|| format!("cannot read the token in {shown}"))?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("{shown} does not hold one word, which a join token is");
    }
    Ok(Secret::new(token.to_owned()))
}
