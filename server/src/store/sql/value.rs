//! Values on their way into statements and out of rows.

use std::borrow::Cow;
use std::error::Error;

/// A value on its way into a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Text(Cow<'a, str>),
    Blob(Cow<'a, [u8]>),
}

/// A value as it stands in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum ValueRef<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Text(&'a str),
    Blob(&'a [u8]),
}

/// Why a value does not fit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("there is no such column")]
    Missing,
    #[error("it is {found}, and was to be {wanted}")]
    Kind { found: &'static str, wanted: &'static str },
    #[error("the number is out of range")]
    Range,
    #[error("the value is not usable")]
    Value(#[source] Box<dyn Error + Send + Sync>),
}

/// What can be a statement's parameter.
pub(in crate::store) trait Param {
    fn value(&self) -> Result<Value<'_>, Unfit>;
}

/// What can be read from a column.
pub(in crate::store) trait FromColumn: Sized {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit>;
}

/// Which column is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Column<'a> {
    Named(&'a str),
    /// From 0.
    At(usize),
}

/// The parameters of a statement, in order.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$(&$value as &dyn $crate::store::sql::Param),*]
    };
}
pub(in crate::store) use params;

impl<'a> From<&'a str> for Column<'a> {
    fn from(name: &'a str) -> Self {
        Self::Named(name)
    }
}

impl From<usize> for Column<'_> {
    fn from(place: usize) -> Self {
        Self::At(place)
    }
}

impl std::fmt::Display for Column<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => out.write_str(name),
            Self::At(place) => write!(out, "{place}"),
        }
    }
}

impl<'a> ValueRef<'a> {
    fn kind(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Text(_) => "text",
            Self::Blob(_) => "bytes",
        }
    }

    fn unfit(self, wanted: &'static str) -> Unfit {
        Unfit::Kind { found: self.kind(), wanted }
    }

    pub(in crate::store) fn as_integer(self) -> Result<i64, Unfit> {
        match self {
            Self::Integer(number) => Ok(number),
            other => Err(other.unfit("an integer")),
        }
    }

    pub(in crate::store) fn as_text(self) -> Result<&'a str, Unfit> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(other.unfit("text")),
        }
    }

    pub(in crate::store) fn as_blob(self) -> Result<&'a [u8], Unfit> {
        match self {
            Self::Blob(bytes) => Ok(bytes),
            other => Err(other.unfit("bytes")),
        }
    }
}

impl<T: Param + ?Sized> Param for &T {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        (**self).value()
    }
}

impl<T: Param> Param for Option<T> {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        self.as_ref().map_or(Ok(Value::Null), Param::value)
    }
}

impl Param for str {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        Ok(Value::Text(Cow::Borrowed(self)))
    }
}

impl Param for String {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        self.as_str().value()
    }
}

impl Param for [u8] {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        Ok(Value::Blob(Cow::Borrowed(self)))
    }
}

impl Param for Vec<u8> {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        self.as_slice().value()
    }
}

impl<const N: usize> Param for [u8; N] {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        self.as_slice().value()
    }
}

impl Param for bool {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        Ok(Value::Bool(*self))
    }
}

impl Param for Value<'_> {
    fn value(&self) -> Result<Value<'_>, Unfit> {
        Ok(self.clone())
    }
}

/// Integers that may be larger or smaller than a column's.
macro_rules! integers {
    ($($kind:ty),*) => {$(
        impl Param for $kind {
            fn value(&self) -> Result<Value<'_>, Unfit> {
                i64::try_from(*self).map(Value::Integer).map_err(|_| Unfit::Range)
            }
        }

        impl FromColumn for $kind {
            fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
                Self::try_from(value.as_integer()?).map_err(|_| Unfit::Range)
            }
        }
    )*};
}
integers!(i64, u64, u32, usize);

impl<T: FromColumn> FromColumn for Option<T> {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        match value {
            ValueRef::Null => Ok(None),
            value => T::from_column(value).map(Some),
        }
    }
}

impl FromColumn for bool {
    /// SQLite has no booleans, and gives 0 or 1.
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        match value {
            ValueRef::Bool(value) => Ok(value),
            ValueRef::Integer(number) => Ok(number != 0),
            other => Err(other.unfit("a boolean")),
        }
    }
}

impl FromColumn for String {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        value.as_text().map(str::to_owned)
    }
}

impl FromColumn for Value<'static> {
    /// Whatever it is.
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Bool(value) => Self::Bool(value),
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Text(text) => Self::Text(Cow::Owned(text.to_owned())),
            ValueRef::Blob(bytes) => Self::Blob(Cow::Owned(bytes.to_vec())),
        })
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        value.as_blob().map(<[u8]>::to_vec)
    }
}

impl<const N: usize> FromColumn for [u8; N] {
    fn from_column(value: ValueRef<'_>) -> Result<Self, Unfit> {
        value.as_blob()?.try_into().map_err(|_| Unfit::Range)
    }
}
