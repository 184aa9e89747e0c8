//! Operators: people and programs that ask the collector, or change it.

use std::fmt;

use clap::ValueEnum;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The name of the operator whose token the configuration names.
pub(crate) const CONFIGURED: &str = "config";
/// What operators' tokens begin with, so that scanners for secrets know them.
const TOKEN_PREFIX: &str = "congruent-operator-";

/// What an operator may do; each role may do all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// Reads.
    Viewer,
    /// Runs the fleet: imports manifests, says which ones groups accept.
    Operator,
    /// Says who may, and whom to trust: operators, new groups, groups' keys.
    Admin,
}

impl Role {
    /// The word for it, in JSON and in text.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) name: String,
    pub(crate) role: Role,
}

impl Operator {
    /// The one whose token the configuration names: there from the start.
    pub(crate) fn configured() -> Self {
        Self { name: CONFIGURED.to_owned(), role: Role::Admin }
    }
}

/// Why a token that is known lets nobody in any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lapsed {
    #[error("the token of operator {name:?} expired at {at}; have an admin create another operator")]
    Expired { name: String, at: Timestamp },
    #[error("the token of operator {name:?} was revoked at {at}; have an admin create another operator")]
    Revoked { name: String, at: Timestamp },
}

/// A token that nobody can guess: 32 random bytes.
///
/// # Errors
/// When the kernel gives no random numbers.
pub(crate) fn new_token() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{TOKEN_PREFIX}{}", HEXLOWER.encode(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_have_one_word() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
            assert_eq!(role.to_possible_value().unwrap().get_name(), role.name());
        }
    }

    #[test]
    fn tokens_are_one_word_and_never_the_same() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.len(), TOKEN_PREFIX.len() + 64);
        assert!(one.bytes().all(|b| b.is_ascii_graphic()));
    }
}
