//! The scan: one pass over a file's first bytes for all that keys and tokens
//! begin with.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::credentials::{self, TOKENS};
use super::{Hit, Lint, Look, add, keys};

/// Every needle: those of keys, then those of tokens, so that a match's index
/// says which it is.
static NEEDLES: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostFirst)
        .kind(Some(AhoCorasickKind::DFA))
        .build(keys::NEEDLES.iter().copied().chain(TOKENS.iter().map(|token| token.begins)))
        .expect("a few short needles always build")
});

pub(super) fn look(look: Look<'_>, hits: &mut Vec<Hit>) {
    if look.head.is_empty() {
        return;
    }
    keys::look(look, hits);
    for found in NEEDLES.find_iter(look.head) {
        let index = found.pattern().as_usize();
        let (lint, detail) = match index.checked_sub(keys::NEEDLES.len()) {
            None => (Lint::PrivateKey, keys::at(look.head, found.start())),
            Some(token) => (Lint::Credential, credentials::at(look.head, found.start(), &TOKENS[token])),
        };
        if let Some(detail) = detail {
            add(hits, lint, detail);
        }
    }
}

/// Whether bytes look drawn at random, as a secret's do, and not like a
/// placeholder such as `xxxxxxxx`, `0123456789` or `your-token-here`.
pub(super) fn is_random(bytes: &[u8]) -> bool {
    let distinct = bytes.iter().fold(0_u128, |seen, &b| seen | 1 << (b & 127)).count_ones() as usize;
    let rising = bytes.windows(2).filter(|pair| pair[0].wrapping_add(1) == pair[1]).count();
    let is_word = |b: &u8| b.is_ascii_lowercase() || matches!(b, b'-' | b'_' | b'.' | b'/');
    distinct >= (bytes.len() / 3).clamp(8, 12)
        && rising * 3 < bytes.len()
        && !bytes.iter().all(is_word)
        && !bytes.iter().all(u8::is_ascii_digit)
}
