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
    sources![
        "lib/findings.rego",
        "lib/gaps.rego",
        "lib/layers.rego",
        "lib/paths.rego",
        "lib/text.rego",
        "rules/congruent.rego",
        "rules/controls.rego",
        "rules/decision.rego",
        "rules/divergent.rego",
        "rules/environment.rego",
        "rules/incomplete.rego",
        "rules/silent.rego",
        "rules/unknown.rego",
    ]
    .map(|(path, text)| Source { path: path.to_owned(), text: text.to_owned() })
    .into()
}
