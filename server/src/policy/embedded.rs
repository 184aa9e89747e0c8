//! The policy that is shipped: every source of `policies/`, by its path there.
//!
//! A test holds this list to the folder.

use super::source::Source;

macro_rules! sources {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../policies/", $path)))),*]
    };
}

/// The sources, sorted by path.
pub(super) fn sources() -> Vec<Source> {
    sources!["rules/decision.rego"]
        .map(|(path, text)| Source { path: path.to_owned(), text: text.to_owned() })
        .into()
}
