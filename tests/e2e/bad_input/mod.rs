//! Bad input: each gets a clear sentence and the right exit code or status, and
//! nothing is lost by it.

mod bake;
mod bomb;
mod config;
mod manifest;
mod report;

use congruent_tests::program::Ended;

/// Holds a command that must refuse to its exit code, to the words that its
/// reader needs, and to silence on stdout.
pub(crate) fn check_refusal(what: &str, ended: &Ended, says: &[&str]) {
    assert_eq!(ended.code, Some(2), "{what}: {}{}", ended.text(), ended.stderr);
    assert!(ended.stdout.is_empty(), "{what}: {}", ended.text());
    for word in says {
        assert!(ended.stderr.contains(word), "{what}: {word:?} is not in: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{what}: {}", ended.stderr);
}
