//! How values stand in columns.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::sql::{FromColumn, Param, Unfit, Value, ValueRef};
use crate::packed::{pack, unpack};

/// A time, as microseconds since 1970.
pub(super) struct Micros(pub(super) Timestamp);

impl Param for Micros {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        Ok(Value::Integer(self.0.as_microsecond()))
    }
}

impl FromColumn for Micros {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        Timestamp::from_microsecond(value.as_integer()?).map(Self).map_err(unusable)
    }
}

/// A value that is one word in JSON, as that word.
pub(super) struct Word<T>(pub(super) T);

impl<T: Serialize> Param for Word<T> {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        match serde_json::to_value(&self.0).map_err(unusable)? {
            serde_json::Value::String(word) => Ok(Value::Text(Cow::Owned(word))),
            other => Err(unusable(format!("{other} is not a word"))),
        }
    }
}

impl<T: DeserializeOwned> FromColumn for Word<T> {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        let word = serde_json::Value::String(value.as_text()?.to_owned());
        serde_json::from_value(word).map(Self).map_err(unusable)
    }
}

/// A value as JSON text.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> Param for Json<T> {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        serde_json::to_string(&self.0).map(|json| Value::Text(Cow::Owned(json))).map_err(unusable)
    }
}

impl<T: DeserializeOwned> FromColumn for Json<T> {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        serde_json::from_str(value.as_text()?).map(Self).map_err(unusable)
    }
}

/// Bytes that are compressed already. Large ones are, before they come to the
/// writer, whose time is everybody's.
pub(crate) struct PackedBytes(Vec<u8>);

impl PackedBytes {
    /// What came compressed, and what [`unpack`] takes.
    pub(crate) fn received(packed: Vec<u8>) -> Self {
        Self(packed)
    }

    /// Compresses `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> std::io::Result<Self> {
        pack(bytes).map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Param for PackedBytes {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        self.0.value()
    }
}

/// Bytes, compressed.
pub(super) struct Packed<T>(pub(super) T);

impl<T: AsRef<[u8]>> Param for Packed<T> {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        Ok(Value::Blob(Cow::Owned(pack(self.0.as_ref()).map_err(unusable)?)))
    }
}

impl FromColumn for Packed<Vec<u8>> {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        unpack(value.as_blob()?).map(Self).map_err(unusable)
    }
}

fn unusable(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Unfit {
    Unfit::Value(reason.into())
}
