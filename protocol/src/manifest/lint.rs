//! What lint found at bake time, as the signed statement carries it.
//!
//! Lints are named by text, not by an enumeration: a later version of bake may
//! know more of them, and its manifests must stay readable. Whoever prints what
//! stands here escapes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::path::{PathError, TreePath, WireBytes};
use crate::strict_json::present;

/// What lint found in an image when it was baked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LintReport {
    /// How many findings there were, by lint; those allowed are not among them.
    pub counts: BTreeMap<String, u64>,
    /// The findings, in tree order. Fewer than counted where there were very many.
    pub findings: Vec<LintFinding>,
    /// What whoever baked chose to allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<LintAllowance>,
}

/// One thing that every copy of the image has and had better not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireFinding", into = "WireFinding")]
pub struct LintFinding {
    /// The lint's name, such as `private-key`.
    pub lint: String,
    /// Where, from the image's root.
    pub path: TreePath,
    /// What was seen there; never the secret itself.
    pub detail: String,
}

/// Findings of one lint that were expected, by their paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LintAllowance {
    /// The lint's name, or `all`.
    pub lint: String,
    /// A glob over the whole path, with the contract's meaning.
    pub path: String,
    /// How many findings it covered.
    pub covered: u64,
}

/// A finding's JSON members; flattening a path would let unknown ones in.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireFinding {
    lint: String,
    path: String,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    detail: String,
}

impl TryFrom<WireFinding> for LintFinding {
    type Error = PathError;

    fn try_from(wire: WireFinding) -> Result<Self, PathError> {
        let bytes = WireBytes { text: wire.path, bytes: wire.path_bytes }.to_bytes()?;
        Ok(Self { lint: wire.lint, path: TreePath::new(bytes)?, detail: wire.detail })
    }
}

impl From<LintFinding> for WireFinding {
    fn from(finding: LintFinding) -> Self {
        let WireBytes { text, bytes } = WireBytes::from_bytes(finding.path.as_bytes());
        Self { lint: finding.lint, path: text, path_bytes: bytes, detail: finding.detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VECTOR: &str = concat!(
        r#"{"counts":{"later-lint":2,"setuid":1},"findings":["#,
        r#"{"lint":"setuid","path":"/bin/su","detail":"setuid, owner 0"},"#,
        r#"{"lint":"later-lint","path":"/a\\x0ab","path_bytes":"L2EKYg==","detail":"odd"}],"#,
        r#""allowed":[{"lint":"setuid","path":"/usr/bin/*","covered":3}]}"#
    );

    #[test]
    fn its_json_is_frozen() {
        let report: LintReport = serde_json::from_str(VECTOR).unwrap();
        assert_eq!(report.findings[1].path.as_bytes(), b"/a\nb");
        assert_eq!(serde_json::to_string(&report).unwrap(), VECTOR);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            r#"{"counts":{},"findings":[],"more":1}"#,
            r#"{"counts":{}}"#,
            r#"{"counts":{"a":-1},"findings":[]}"#,
            r#"{"counts":{},"findings":[{"lint":"a","path":"b","detail":""}]}"#,
            r#"{"counts":{},"findings":[{"lint":"a","path":"/b","detail":"","more":1}]}"#,
            r#"{"counts":{},"findings":[{"lint":"a","path":"/b","path_bytes":"?","detail":""}]}"#,
        ] {
            assert!(serde_json::from_str::<LintReport>(bad).is_err(), "{bad}");
        }
    }
}
