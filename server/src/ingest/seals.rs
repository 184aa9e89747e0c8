//! The keys that seal reports, as far as they have come.
//!
//! Each is derived from the one before it, from the first on, which the store has.
//! Deriving them anew for every report would take longer and longer, so that the
//! newest of each chain is kept in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use congruent_protocol::seal::{OutOfReach, SEAL_KEY_BYTES, SealKey};

/// The chains whose newest key is kept; with more, some are derived again.
const MAX_CHAINS: usize = 200_000;

/// The newest key of each chain.
#[derive(Debug, Default)]
pub(crate) struct Seals {
    newest: Mutex<HashMap<String, SealKey>>,
}

impl Seals {
    /// The key that seals report `number` of a chain, which began with `first` and is
    /// known up to report `stored`. Beyond that it is not moved too far for one that
    /// nothing has proven.
    pub(crate) fn key(
        &self,
        chain: &str,
        first: &[u8; SEAL_KEY_BYTES],
        stored: u64,
        number: u64,
    ) -> Result<SealKey, OutOfReach> {
        let known = {
            let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.get(chain).map(|key| SealKey::new(key.number(), *key.as_bytes()))
        };
        let mut key = known.filter(|key| key.number() <= number).unwrap_or_else(|| SealKey::new(1, *first));
        while key.number() < stored.min(number) {
            key.advance();
        }
        key.advance_to(number)?;
        Ok(key)
    }

    /// The number of the key of a chain that is kept, if one is.
    pub(crate) fn newest(&self, chain: &str) -> Option<u64> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).get(chain).map(SealKey::number)
    }

    /// Keeps a key that a seal has fitted. What is not proven moves nothing.
    pub(crate) fn keep(&self, chain: &str, key: SealKey) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() >= MAX_CHAINS {
            newest.clear();
        }
        if newest.get(chain).is_none_or(|known| known.number() < key.number()) {
            newest.insert(chain.to_owned(), key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use congruent_protocol::seal::MAX_ADVANCE;

    #[test]
    fn keys_are_the_same_whatever_is_kept() {
        let (seals, first) = (Seals::default(), [3; SEAL_KEY_BYTES]);
        let derived = |number| {
            let mut key = SealKey::new(1, first);
            key.advance_to(number).unwrap();
            *key.as_bytes()
        };
        for number in [1, 7, 3, 8, 8] {
            let key = seals.key("chain", &first, 0, number).unwrap();
            assert_eq!(key.as_bytes(), &derived(number), "{number}");
            seals.keep("chain", key);
        }
        assert!(seals.key("chain", &first, 0, u64::MAX).is_err());
        let (far, anew) = (MAX_ADVANCE + 10, Seals::default());
        assert!(anew.key("chain", &first, 0, far).is_err(), "nothing has come as far");
        assert_eq!(anew.key("chain", &first, far - 1, far).unwrap().number(), far);
    }
}
