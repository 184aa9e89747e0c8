//! TOML that people write: errors name line, column and, for a key that does
//! not exist, the nearest one that does.

use std::ops::Range;

use serde::de::DeserializeOwned;

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct TomlError {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// What is wrong, and the mend where it is known.
    pub message: String,
}

impl TomlError {
    /// An error about the part of `text` at `span` (bytes).
    pub fn at(text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let before = &text[..text.floor_char_boundary(span.start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }
}

/// Parses `text`; types that refuse unknown fields get the nearest known one named.
///
/// # Errors
/// When the text is not TOML, or not of the shape of `T`.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error: toml::de::Error| {
        TomlError::at(text, error.span().unwrap_or(0..0), with_nearest_key(error.message()))
    })
}

/// Adds "did you mean" to serde's message about an unknown field or variant,
/// which lists the known ones in backticks.
fn with_nearest_key(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let (true, Some(unknown)) = (message.starts_with("unknown "), quoted.next()) else {
        return message.to_owned();
    };
    let nearest = quoted
        .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
        .filter(|&(distance, known)| distance <= known.len().max(unknown.len()) / 2)
        .min();
    match nearest {
        Some((_, known)) => format!("{message}; did you mean `{known}`?"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Sample {
        #[expect(dead_code, reason = "only parsed")]
        interval_seconds: Option<u32>,
        #[expect(dead_code, reason = "only parsed")]
        server: Option<String>,
    }

    #[test]
    fn errors_name_place_and_mend() {
        for (text, says) in [
            ("server = 'x'\nintervall-seconds = 3\n", "line 2, column 1: unknown field `intervall-seconds`"),
            ("server = 'x'\nintervall-seconds = 3\n", "did you mean `interval-seconds`?"),
            ("# ü\n  server = 3\n", "line 2, column 12: invalid type: integer `3`"),
            ("server = \n", "line 1, column"),
        ] {
            let error = from_str::<Sample>(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let far = from_str::<Sample>("zzzzzzzzzzzzzz = 1").unwrap_err().to_string();
        assert!(!far.contains("did you mean"), "{far}");
    }
}
