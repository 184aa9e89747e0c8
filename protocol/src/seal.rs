//! Seals: a chain of keys that only goes forward.
//!
//! Whoever breaks into a node finds its signing key, and could sign another past.
//! So each report is also sealed, by a key that is used once: the next one is
//! derived from it, and then it is forgotten. The first is shared with the
//! collector at enrolment, which can derive each. What was sealed before a
//! break-in can be left out then, which the numbers show, but not made anew.
//!
//! The scheme is that of Bellare and Yee, "Forward-Security in Private-Key
//! Cryptography" (2003), section 4: a forward-secure MAC from a forward-secure
//! generator. Both derivations are BLAKE3's `derive_key`, the MAC is its keyed hash.

use std::fmt;

use zeroize::Zeroize;

/// The length of a seal's key, in bytes.
pub const SEAL_KEY_BYTES: usize = 32;
/// How far a key is moved forward at once. It takes about a tenth of a second; no
/// chain that is reported at all has such a gap.
pub const MAX_ADVANCE: u64 = 1 << 20;

const NEXT_KEY: &str = "congruent 2026-11-26 seal: the next key";
const TAG_KEY: &str = "congruent 2026-11-26 seal: the key of this tag";

/// The key that seals the report with its number.
pub struct SealKey {
    number: u64,
    key: [u8; SEAL_KEY_BYTES],
}

/// What a key makes of a report's payload.
pub type SealTag = [u8; 32];

/// A number that a key cannot be moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seal's key is at number {at}, and cannot seal number {wanted}")]
pub struct OutOfReach {
    /// Where the key is.
    pub at: u64,
    /// Where it was to go.
    pub wanted: u64,
}

impl SealKey {
    /// The key for report `number`, from 1.
    pub fn new(number: u64, key: [u8; SEAL_KEY_BYTES]) -> Self {
        Self { number, key }
    }

    /// Which report it seals.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its bytes, to be kept as a secret.
    pub fn as_bytes(&self) -> &[u8; SEAL_KEY_BYTES] {
        &self.key
    }

    /// The seal of a report's payload.
    pub fn tag(&self, payload: &[u8]) -> SealTag {
        let mut key = blake3::derive_key(TAG_KEY, &self.key);
        let tag = blake3::keyed_hash(&key, payload);
        key.zeroize();
        *tag.as_bytes()
    }

    /// Whether `tag` is its seal of `payload`, in constant time.
    pub fn fits(&self, payload: &[u8], tag: &SealTag) -> bool {
        // BLAKE3's hashes are compared in constant time.
        blake3::Hash::from_bytes(self.tag(payload)) == blake3::Hash::from_bytes(*tag)
    }

    /// Moves on to the next report; this key is gone then.
    pub fn advance(&mut self) {
        let next = blake3::derive_key(NEXT_KEY, &self.key);
        self.key.zeroize();
        self.key = next;
        self.number += 1;
    }

    /// Moves forward to report `number`.
    ///
    /// # Errors
    /// When that is behind, or further ahead than [`MAX_ADVANCE`].
    pub fn advance_to(&mut self, number: u64) -> Result<(), OutOfReach> {
        let out_of_reach = OutOfReach { at: self.number, wanted: number };
        let steps = number.checked_sub(self.number).filter(|steps| *steps <= MAX_ADVANCE);
        for _ in 0..steps.ok_or(out_of_reach)? {
            self.advance();
        }
        Ok(())
    }
}

impl Drop for SealKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealKey").field("number", &self.number).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    fn first() -> SealKey {
        SealKey::new(1, [7; SEAL_KEY_BYTES])
    }

    /// Changing these is a new format: every chain would break.
    #[test]
    fn seals_are_frozen() {
        let mut key = first();
        let tag = |key: &SealKey| HEXLOWER.encode(&key.tag(b"report"));
        assert_eq!(tag(&key), "4dbb338274cc4d799fe5075fa4b8feeba1a5a005d2637259d03f9a4a280c4cae");
        key.advance();
        assert_eq!(tag(&key), "ec6334b2fe45328fb721921d5ab0a278ea8886c66f977b39ddbd65ea795e7d76");
    }

    #[test]
    fn a_tag_is_of_one_payload_and_one_number() {
        let (mut here, mut there) = (first(), first());
        there.advance_to(5).unwrap();
        for _ in 0..4 {
            here.advance();
        }
        assert_eq!((here.number(), here.as_bytes()), (5, there.as_bytes()));
        let tag = here.tag(b"a");
        assert!(there.fits(b"a", &tag));
        assert!(!there.fits(b"b", &tag));
        there.advance();
        assert!(!there.fits(b"a", &tag));
    }

    #[test]
    fn keys_only_go_forward_and_not_too_far() {
        let mut key = first();
        key.advance_to(3).unwrap();
        for wanted in [2, 3 + MAX_ADVANCE + 1, u64::MAX] {
            assert_eq!(key.advance_to(wanted), Err(OutOfReach { at: 3, wanted }));
        }
        assert_eq!(format!("{key:?}"), "SealKey { number: 3, .. }");
    }
}
