//! How values stand in columns.

use jiff::Timestamp;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Level of compression: bodies are written once and seldom read.
const ZSTD_LEVEL: i32 = 3;

/// A time, as microseconds since 1970.
pub(super) struct Micros(pub(super) Timestamp);

impl ToSql for Micros {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_microsecond().into())
    }
}

impl FromSql for Micros {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Timestamp::from_microsecond(value.as_i64()?).map(Self).map_err(FromSqlError::other)
    }
}

/// A value that is one word in JSON, as that word.
pub(super) struct Word<T>(pub(super) T);

impl<T: Serialize> ToSql for Word<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match serde_json::to_value(&self.0) {
            Ok(serde_json::Value::String(word)) => Ok(word.into()),
            Ok(other) => {
                Err(rusqlite::Error::ToSqlConversionFailure(format!("{other} is not a word").into()))
            }
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
        }
    }
}

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = serde_json::Value::String(value.as_str()?.to_owned());
        serde_json::from_value(word).map(Self).map_err(FromSqlError::other)
    }
}

/// A value as JSON text.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let json = serde_json::to_string(&self.0)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(json.into())
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

/// Bytes that are compressed already. Large ones are, before they come to the
/// writer, whose time is everybody's.
pub(crate) struct PackedBytes(Vec<u8>);

impl PackedBytes {
    /// Compresses `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> std::io::Result<Self> {
        zstd::encode_all(bytes, ZSTD_LEVEL).map(Self)
    }
}

impl ToSql for PackedBytes {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

/// Bytes, compressed.
pub(super) struct Packed<T>(pub(super) T);

impl<T: AsRef<[u8]>> ToSql for Packed<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let packed = zstd::encode_all(self.0.as_ref(), ZSTD_LEVEL)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(packed.into())
    }
}

impl FromSql for Packed<Vec<u8>> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        zstd::decode_all(value.as_blob()?).map(Self).map_err(FromSqlError::other)
    }
}
