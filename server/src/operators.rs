//! The operators' tokens, in memory: who asks is known without the store, so that
//! nobody keeps it busy with tokens that are none. Every change is committed
//! first, and stands here before the next write.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;

use crate::config::TokenHash;
use crate::identity::{Lapsed, Operator};
use crate::store::OperatorRow;

/// Every operator of the store, by the digest of the token.
#[derive(Default)]
pub(crate) struct Operators(RwLock<HashMap<TokenHash, OperatorRow>>);

impl Operators {
    /// Whose token it is, or was; none where it is nobody's.
    pub(crate) fn admit(&self, token: &TokenHash, now: Timestamp) -> Option<Result<Operator, Lapsed>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned();
        known.map(|row| row.admit(now))
    }

    /// Takes an operator in as it stands now.
    pub(crate) fn put(&self, row: OperatorRow) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(row.token, row);
    }
}
