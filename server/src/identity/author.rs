//! Who changes something, and why. Nothing is changed without a reason.

use congruent_protocol::path::plain;

use super::Operator;

/// The longest reason taken, in characters.
pub(crate) const MAX_REASON_CHARS: usize = 1000;

/// Who changes something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) operator: Operator,
    pub(crate) reason: String,
}

/// Why a reason is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReasonError {
    #[error("this changes the collector, and needs a reason: `Congruent-Reason: why` as a header")]
    Missing,
    #[error("the reason must be 1 to {MAX_REASON_CHARS} printable characters of UTF-8")]
    Unfit,
}

impl Author {
    /// Takes the bytes of a reason.
    pub(crate) fn new(operator: Operator, reason: Option<&[u8]>) -> Result<Self, ReasonError> {
        let bytes = reason.ok_or(ReasonError::Missing)?;
        let reason = plain(bytes).ok_or(ReasonError::Unfit)?.trim();
        match reason.chars().count() {
            0 => Err(ReasonError::Missing),
            1..=MAX_REASON_CHARS => Ok(Self { operator, reason: reason.to_owned() }),
            _ => Err(ReasonError::Unfit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reason: Option<&[u8]>) -> Result<String, ReasonError> {
        Author::new(Operator::configured(), reason).map(|author| author.reason)
    }

    #[test]
    fn reasons_are_plain_text() {
        for (bytes, reason) in [(&b" new release "[..], "new release"), ("für alle".as_bytes(), "für alle")]
        {
            assert_eq!(check(Some(bytes)).as_deref(), Ok(reason));
        }
        assert_eq!(check(Some("x".repeat(1000).as_bytes())).map(|reason| reason.len()), Ok(1000));
        for (bytes, why) in [
            (None, ReasonError::Missing),
            (Some(&b""[..]), ReasonError::Missing),
            (Some(b"  "), ReasonError::Missing),
            (Some(b"\x1b[2J"), ReasonError::Unfit),
            (Some(b"\xff"), ReasonError::Unfit),
            (Some("x".repeat(1001).as_bytes()), ReasonError::Unfit),
        ] {
            assert_eq!(check(bytes), Err(why), "{bytes:?}");
        }
    }
}
