//! `congruent contract`: check a contract, or have rules suggested for one.

mod check;
mod suggest;

use super::Outcome;
use crate::cli::ContractCommand;

pub(super) fn run(command: &ContractCommand) -> anyhow::Result<Outcome> {
    match command {
        ContractCommand::Check(args) => check::run(args),
        ContractCommand::Suggest(args) => suggest::run(args),
    }
}
