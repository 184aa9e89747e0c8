//! Why a policy cannot be loaded, or did not decide.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use congruent_protocol::verification::State;

/// Why a policy cannot be loaded, or did not decide. None of these is a verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    /// The folder, or one within it, cannot be listed.
    #[error("cannot list the policy folder {path}", path = .path.display())]
    ListFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read the policy file {path}", path = .path.display())]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing to load.
    #[error("the policy folder {path} holds no .rego file", path = .path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is beyond a limit.
    #[error("the policy folder {path} holds {limit}; split off what is not policy", path = .path.display())]
    TooMuch {
        /// The folder.
        path: PathBuf,
        /// Which limit, in words.
        limit: String,
    },
    /// A file is beyond the limit.
    #[error("the policy file {file} is over {limit} bytes; split it")]
    FileTooLarge {
        /// The file, from the policy's folder.
        file: String,
        /// The limit.
        limit: u64,
    },
    /// A file, or its name, is not text.
    #[error("the policy file {file} is not UTF-8, in name or content; write it as UTF-8")]
    NotText {
        /// The file, from the policy's folder, escaped.
        file: String,
    },
    /// A file is not Rego, or not v1.
    #[error("the policy file {place}: {message}; policies are written in Rego v1")]
    Parse {
        /// File, line and column.
        place: String,
        /// What is wrong there.
        message: String,
    },
    /// A `data.json` is not what it has to be.
    #[error("the policy data {file}: {message}")]
    Data {
        /// The file, from the policy's folder.
        file: String,
        /// What is wrong, and where.
        message: String,
    },
    /// The rules do not fit together.
    #[error("the policy does not compile: {place}: {message}")]
    Compile {
        /// File, line and column, where they are known.
        place: String,
        /// What is wrong there.
        message: String,
    },
    /// There is no rule to ask.
    #[error(
        "the policy has no rule `decision` in `package congruent`; define data.congruent.decision as an object of action, severity, reasons and controls"
    )]
    NoEntryPoint,
    /// It does not stand the check that is made of every policy.
    #[error("the policy gave no decision for the state `{state}` in the environment {environment:?}", state = .state.name())]
    SelfCheck {
        /// The state of the built-in input.
        state: State,
        /// Its environment.
        environment: String,
        /// Why.
        #[source]
        source: Box<PolicyError>,
    },
    /// The input contradicts itself.
    #[error("the input for {node:?} contradicts itself: {what}")]
    Contradiction {
        /// The node.
        node: String,
        /// How.
        what: &'static str,
    },
    /// A rule failed.
    #[error("the policy failed at {place}: {message}")]
    Evaluation {
        /// File, line and column, where they are known.
        place: String,
        /// What went wrong there.
        message: String,
    },
    /// It took too long.
    #[error("the policy did not decide within {limit:?}; look for a loop over findings within another")]
    TimeLimit {
        /// How long it may take.
        limit: Duration,
    },
    /// No rule applied.
    #[error(
        "the policy leaves data.congruent.decision undefined for the state `{state}` in the environment {environment:?}; give it a rule for that",
        state = .state.name()
    )]
    Undefined {
        /// The state that was asked about.
        state: State,
        /// The environment that was asked about.
        environment: String,
    },
    /// It decided for something that there is not.
    #[error(
        "the policy decided for the action {action:?}; there are `none`, `observe`, `quarantine` and `replace`"
    )]
    UnknownAction {
        /// What it wrote, escaped.
        action: String,
    },
    /// What it gave is not a decision.
    #[error("the policy's decision is not of the shape of decision.schema.json: {message}")]
    Shape {
        /// In what way.
        message: String,
    },
}
