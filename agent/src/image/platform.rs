//! What an image is built for: `linux/amd64`, `linux/arm/v7`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const MAX_WORD_CHARS: usize = 64;

/// An operating system and an architecture.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, as Go names it.
    #[serde(default)]
    pub os: String,
    /// The architecture, as Go names it.
    #[serde(default)]
    pub architecture: String,
    /// Which of it, such as `v7` of `arm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why text is not a [`Platform`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a platform; expected OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/arm64")]
pub struct PlatformError(String);

impl Platform {
    /// Whether an image for this is what was asked for; a variant counts where it was named.
    pub(crate) fn fits(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.own_variant() == wanted.own_variant())
    }

    /// The variant, but for the one that an architecture has by default.
    fn own_variant(&self) -> Option<&str> {
        let usual = match self.architecture.as_str() {
            "arm64" => "v8",
            "arm" => "v7",
            "amd64" => "v1",
            _ => "",
        };
        self.variant.as_deref().filter(|variant| !variant.is_empty() && *variant != usual)
    }

    /// Whether two images for them would be for the same machines.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.os, &self.architecture, self.own_variant())
            == (&other.os, &other.architecture, other.own_variant())
    }

    /// Whether it is what build tools write to keep runtimes from running it.
    pub(crate) fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// Whether it can be told on a line.
    pub(crate) fn is_plain(&self) -> bool {
        let is_word = |word: &str| {
            (1..=MAX_WORD_CHARS).contains(&word.len())
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let variant = self.variant.as_deref().unwrap_or_default();
        is_word(&self.os) && is_word(&self.architecture) && (variant.is_empty() || is_word(variant))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant.as_deref() {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let mut words = text.splitn(3, '/').map(str::to_owned);
        let (os, architecture, variant) = (words.next(), words.next(), words.next());
        let platform =
            Self { os: os.unwrap_or_default(), architecture: architecture.unwrap_or_default(), variant };
        let is_whole = platform.is_plain() && platform.variant.as_deref() != Some("");
        if is_whole { Ok(platform) } else { Err(PlatformError(text.chars().take(100).collect())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_and_compared() {
        let check = |there: &str, wanted: &str, fits: bool| {
            let read = |text: &str| text.parse::<Platform>().expect(text);
            assert_eq!(read(there).to_string(), there);
            assert_eq!(read(there).fits(&read(wanted)), fits, "{there} for {wanted}");
        };
        check("linux/amd64", "linux/amd64", true);
        check("linux/arm64/v8", "linux/arm64", true);
        check("linux/arm64", "linux/arm64/v8", true);
        check("linux/arm/v6", "linux/arm", true);
        check("linux/arm/v6", "linux/arm/v7", false);
        check("linux/arm", "linux/arm/v7", true);
        check("windows/amd64", "linux/amd64", false);
        for bad in ["", "linux", "linux/", "/amd64", "linux/amd64/", "linux/amd64/v1/x", "li nux/amd64"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
