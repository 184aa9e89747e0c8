//! Who nodes are: the certificate authority, certificates, joining and revocation.
//!
//! A node makes its key itself and proves that it holds it. All else in its
//! certificate is ours: the id, the group behind it, the time. What stands in a
//! certificate is believed only as long as the enrolment behind it stands.

mod authority;
mod certificates;
mod enroller;
mod error;
mod join;
mod networks;
mod peer;
mod proof;
mod server_certificate;
#[cfg(test)]
mod tests;
mod tls;
mod token;
mod verifier;

pub(crate) use authority::{Authority, AuthorityError, AuthorityFiles, write_new};
pub(crate) use enroller::Enroller;
pub(crate) use error::EnrolError;
pub(crate) use join::JoinTokens;
pub(crate) use networks::Networks;
pub(crate) use peer::Peer;
pub(crate) use tls::{Tls, TlsError};
pub(crate) use token::{NewToken, new_join_token};
