//! Ways to join: what a node must show to be admitted to a group.
//!
//! [`JoinMethod`] is the seam for further ones, such as a cloud's instance
//! identity or a service account's token; join tokens are the one there is.

use std::net::IpAddr;
use std::pin::Pin;

use congruent_protocol::enrolment::Evidence;
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::config::TokenHash;
use crate::count::counted;
use crate::store::{JoinTokenRow, JoinUses, Store, StoreError};

/// Over how long joins are counted for a token's rate.
const RATE_WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// How many refusals of one token are kept with the node that asked; all are counted.
const MAX_REFUSALS_KEPT: u64 = 100;

/// Who wants to join.
#[derive(Debug, Clone)]
pub(crate) struct Applicant {
    /// The name that it wants.
    pub(crate) node: String,
    /// Its key's fingerprint; that it holds the key is proven.
    pub(crate) key: String,
    /// Where it asks from.
    pub(crate) address: IpAddr,
}

/// That a node may join, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admission {
    /// The group that it is to be in.
    pub(crate) group: String,
    /// What it was admitted by: the token's id.
    pub(crate) by: String,
}

/// Why a node may not join.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error("the join token is not known here; make one with `congruent-server token create`")]
    Unknown,
    #[error("the join token {id} was good until {at}; make another with `congruent-server token create`")]
    Expired { id: String, at: Timestamp },
    #[error("the join token {id} was revoked; make another with `congruent-server token create`")]
    Revoked { id: String },
    #[error(
        "the join token {id} was used by another key, for the node {node:?}; make another, and if nobody of yours \
         used it, revoke that node"
    )]
    Used { id: String, node: String },
    #[error("the join token {id} is bound to {networks}, and this asks from {address}")]
    Elsewhere { id: String, networks: String, address: IpAddr },
    #[error(
        "with the token {id} no more than {} may join within a minute; try again later", counted((*limit).into(), "node", "nodes")
    )]
    TooMany { id: String, limit: u32 },
    #[error("the collector cannot look the join token up")]
    Store(#[source] StoreError),
}

/// What a method comes to, when it has looked.
pub(crate) type Admitting<'a> = Pin<Box<dyn Future<Output = Result<Admission, JoinError>> + Send + 'a>>;

/// A way to join. Once it has admitted a key, it admits that key again for as long
/// as its evidence holds, so that a node which lost the answer can ask again.
pub(crate) trait JoinMethod: Send + Sync {
    /// Admits an applicant on its evidence.
    fn admit<'a>(&'a self, evidence: &'a Evidence, applicant: &'a Applicant) -> Admitting<'a>;
}

/// Join tokens, kept in the store as hashes.
pub(crate) struct JoinTokens {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

impl JoinMethod for JoinTokens {
    fn admit<'a>(&'a self, evidence: &'a Evidence, applicant: &'a Applicant) -> Admitting<'a> {
        let Evidence::Token(token) = evidence;
        let hash = TokenHash::of(token.reveal().trim());
        Box::pin(self.use_up(hash, applicant.clone()))
    }
}

impl JoinTokens {
    /// Binds the token to the applicant's key, in one transaction.
    async fn use_up(&self, hash: TokenHash, applicant: Applicant) -> Result<Admission, JoinError> {
        let now = (self.clock)();
        // Whoever guesses takes nothing of the writer's time, which is everybody's.
        let known = self.store.read("look a join token up", move |view| view.join_token_of(&hash));
        if known.await.map_err(JoinError::Store)?.is_none() {
            return Err(JoinError::Unknown);
        }
        let using = self.store.write("use a join token", move |tx| {
            let Some(token) = tx.join_token_of(&hash)? else { return Ok(Err(JoinError::Unknown)) };
            let at_most = token.max_per_minute.unwrap_or(0);
            let uses = tx.join_uses(&token.id, &applicant.key, now - RATE_WINDOW, at_most)?;
            let judged = judge(&token, &uses, &applicant, now);
            match &judged {
                Ok(_) => tx.insert_join_use(&token.id, &applicant.key, &applicant.node, now)?,
                Err(refused) => {
                    tx.note_join_refusal(&token.id)?;
                    // Whoever brings a token knows it. A leaked one must not fill
                    // the disk, so that the first refusals serve as evidence.
                    if token.refused < MAX_REFUSALS_KEPT {
                        let message = refused.to_string();
                        tx.insert_refusal(&applicant.node, now, refused.code(), &message)?;
                    }
                }
            }
            Ok(judged)
        });
        using.await.map_err(JoinError::Store)?
    }
}

/// Whether a token admits an applicant.
fn judge(
    token: &JoinTokenRow,
    uses: &JoinUses,
    applicant: &Applicant,
    now: Timestamp,
) -> Result<Admission, JoinError> {
    let id = token.id.clone();
    if token.revoked_at.is_some() {
        return Err(JoinError::Revoked { id });
    }
    if now >= token.expires_at {
        return Err(JoinError::Expired { id, at: token.expires_at });
    }
    if !token.networks.admit(applicant.address) {
        let (networks, address) = (token.networks.to_string(), applicant.address);
        return Err(JoinError::Elsewhere { id, networks, address });
    }
    // Only new keys count: a key that has joined may always ask again.
    if !uses.by_this_key {
        if let Some(node) = uses.first_node.clone().filter(|_| !token.is_reusable) {
            return Err(JoinError::Used { id, node });
        }
        if let Some(limit) = token.max_per_minute.filter(|limit| uses.recent >= u64::from(*limit)) {
            return Err(JoinError::TooMany { id, limit });
        }
    }
    Ok(Admission { group: token.group.clone(), by: id })
}

impl JoinError {
    /// The word for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "token-unknown",
            Self::Expired { .. } => "token-expired",
            Self::Revoked { .. } => "token-revoked",
            Self::Used { .. } => "token-used",
            Self::Elsewhere { .. } => "network-refused",
            Self::TooMany { .. } => "rate-limited",
            Self::Store(_) => "store-unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{NewToken, new_join_token};
    use crate::testing::time;

    const NOW: &str = "2026-03-01T12:00:00Z";

    fn check(is_reusable: bool, change: impl FnOnce(&mut JoinTokenRow, &mut JoinUses), expected: &str) {
        let token = NewToken {
            group: "web".to_owned(),
            life: SignedDuration::from_mins(15),
            is_reusable,
            max_per_minute: is_reusable.then_some(2),
            networks: serde_json::from_str(r#"["10.0.0.0/8", "::1"]"#).unwrap(),
            by: "anna".to_owned(),
            reason: "a test".to_owned(),
        };
        let (_, mut row) = new_join_token(token, time(NOW)).unwrap();
        let mut uses = JoinUses { by_this_key: false, first_node: None, recent: 0 };
        change(&mut row, &mut uses);
        let applicant = Applicant {
            node: "web-1".to_owned(),
            key: "sha256:00".to_owned(),
            address: "::ffff:10.1.2.3".parse().unwrap(),
        };
        let judged = judge(&row, &uses, &applicant, time(NOW));
        let came_to = judged.map_or_else(|refused| refused.code().to_owned(), |admission| admission.group);
        assert_eq!(came_to, expected, "reusable: {is_reusable}");
    }

    #[test]
    fn a_token_admits_one_key_or_as_many_as_it_says() {
        let used = |uses: &mut JoinUses| uses.first_node = Some("web-0".to_owned());
        for reusable in [false, true] {
            check(reusable, |_, _| {}, "web");
            check(reusable, |row, _| row.expires_at = time(NOW), "token-expired");
            check(reusable, |row, _| row.revoked_at = Some(time(NOW)), "token-revoked");
            check(
                reusable,
                |row, _| row.networks = serde_json::from_str(r#"["10.2.0.0/16"]"#).unwrap(),
                "network-refused",
            );
            check(reusable, |row, _| row.networks = serde_json::from_str("[]").unwrap(), "web");
            check(
                reusable,
                |_, uses| {
                    *uses = JoinUses { by_this_key: true, first_node: Some("web-1".to_owned()), recent: 9 }
                },
                "web",
            );
        }
        check(false, |_, uses| used(uses), "token-used");
        check(true, |_, uses| used(uses), "web");
        check(true, |_, uses| uses.recent = 1, "web");
        check(true, |_, uses| uses.recent = 2, "rate-limited");
    }

    #[test]
    fn networks_are_read_or_refused_by_name() {
        let read = |text| serde_json::from_str::<crate::identity::networks::Networks>(text);
        assert_eq!(read(r#"["10.0.0.1","fd00::/8"]"#).unwrap().to_string(), "10.0.0.1/32, fd00::/8");
        assert!(read(r#"["10.0.0.0/33"]"#).unwrap_err().to_string().contains("such as 10.0.0.0/8"));
    }
}
