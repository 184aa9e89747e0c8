//! Join tokens as they are made: 32 random bytes that only their holder knows.

use congruent_protocol::enrolment::Secret;
use data_encoding::BASE32_NOPAD;
use jiff::SignedDuration;
use uuid::Uuid;

use super::networks::Networks;
use crate::clock::after;
use crate::config::TokenHash;
use crate::store::JoinTokenRow;

/// What a join token begins with, so that one that leaked is known for what it is.
const PREFIX: &str = "cjt_";

/// What a join token is to be good for.
#[derive(Debug, Clone)]
pub(crate) struct NewToken {
    pub(crate) group: String,
    pub(crate) life: SignedDuration,
    /// Whether several nodes may join with it.
    pub(crate) is_reusable: bool,
    /// How many may in a minute; any number unless said otherwise.
    pub(crate) max_per_minute: Option<u32>,
    /// From where; from anywhere where there are none.
    pub(crate) networks: Networks,
    /// Who makes it, and why.
    pub(crate) by: String,
    pub(crate) reason: String,
}

/// A join token and what is kept of it, which does not have the token.
pub(crate) fn new_join_token(
    token: NewToken,
    now: jiff::Timestamp,
) -> Result<(Secret, JoinTokenRow), getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let text = format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase());
    let row = JoinTokenRow {
        id: format!("jt_{}", Uuid::new_v4().simple()),
        hash: TokenHash::of(&text),
        group: token.group,
        created_at: now,
        created_by: token.by,
        reason: token.reason,
        expires_at: after(now, token.life),
        is_reusable: token.is_reusable,
        max_per_minute: token.max_per_minute,
        networks: token.networks,
        revoked_at: None,
        refused: 0,
    };
    Ok((Secret::new(text), row))
}
