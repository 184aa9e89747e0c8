//! Who acts on the collector: nodes and operators.
//!
//! A node makes its key itself and proves that it holds it. All else in its
//! certificate is ours: the id, the group behind it, the time. What stands in a
//! certificate is believed only as long as the enrolment behind it stands. An
//! operator has a token and a role, and says why; `api/auth` finds out who asks.

mod author;
mod authority;
mod certificates;
mod enroller;
mod error;
mod join;
mod networks;
mod operator;
mod peer;
mod proof;
mod server_certificate;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod verifier;

pub(crate) use author::{Author, MAX_REASON_CHARS, ReasonError};
pub(crate) use authority::{Authority, AuthorityError, AuthorityFiles, write_new};
pub(crate) use enroller::Enroller;
pub(crate) use error::EnrolError;
pub(crate) use join::JoinTokens;
pub(crate) use networks::Networks;
pub(crate) use operator::{CONFIGURED, Lapsed, Operator, Role, new_token};
pub(crate) use peer::Peer;
pub(crate) use tls::{Tls, TlsError};
pub(crate) use token::{NewToken, new_join_token};
