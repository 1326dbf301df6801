//! Values of SQLite, from Rust and to it.

use crate::error::Error;

/// A value: what a parameter stands for, and what a row has.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `NULL`
    #[default]
    Null,
    /// `INTEGER`
    Integer(i64),
    /// `REAL`
    Real(f64),
    /// `TEXT`
    Text(String),
    /// `BLOB`
    Blob(Vec<u8>),
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL",
            Self::Integer(_) => "an INTEGER",
            Self::Real(_) => "a REAL",
            Self::Text(_) => "a TEXT",
            Self::Blob(_) => "a BLOB",
        }
    }
}

macro_rules! from {
    ($($variant:ident: $($from:ty),+;)+) => {$($(
        impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )+)+};
}

from! {
    Integer: bool, i8, i16, i32, i64, u8, u16, u32;
    Real: f32, f64;
    Text: &str, String, &String;
    Blob: &[u8], Vec<u8>;
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<()> for Value {
    fn from((): ()) -> Self {
        Self::Null
    }
}

/// What a value can become.
pub trait FromValue: Sized {
    /// The value, as this type.
    ///
    /// # Errors
    /// In words: what it is instead.
    fn from_value(value: Value) -> Result<Self, Error>;
}

fn instead<T>(expected: &str, value: &Value) -> Result<T, Error> {
    let kind = value.kind();
    let more = match value {
        Value::Null => ": take it as an `Option`",
        _ => "",
    };
    Err(Error::msg(format!("it is {kind}, not {expected}{more}")))
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl FromValue for $type {
            fn from_value(value: Value) -> Result<Self, Error> {
                match value {
                    Value::Integer(value) => Ok(Self::try_from(value)?),
                    other => instead("an INTEGER", &other),
                }
            }
        }
    )+};
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64, usize);

impl FromValue for bool {
    fn from_value(value: Value) -> Result<Self, Error> {
        match value {
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            other => instead("0 or 1", &other),
        }
    }
}

impl FromValue for f64 {
    fn from_value(value: Value) -> Result<Self, Error> {
        match value {
            Value::Real(value) => Ok(value),
            // SQLite keeps whole numbers so; of large ones the nearest is taken, as SQLite does.
            Value::Integer(value) => Ok(value as f64),
            other => instead("a REAL", &other),
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Result<Self, Error> {
        match value {
            Value::Text(value) => Ok(value),
            other => instead("a TEXT", &other),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Result<Self, Error> {
        match value {
            Value::Blob(value) => Ok(value),
            other => instead("a BLOB", &other),
        }
    }
}

impl FromValue for Value {
    fn from_value(value: Value) -> Result<Self, Error> {
        Ok(value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Result<Self, Error> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// What the parameters of a statement stand for: [`params!`](crate::sql::params), or `()` for none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    /// For `?1`, `?2`, … or `?`.
    pub in_order: Vec<Value>,
    /// For `:name`, with its first character.
    pub by_name: Vec<(String, Value)>,
}

impl From<()> for Params {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl From<Vec<Value>> for Params {
    fn from(in_order: Vec<Value>) -> Self {
        Self {
            in_order,
            by_name: Vec::new(),
        }
    }
}

/// The values of a statement's parameters, in order or by name:
///
/// ```
/// use embly_sdk::sql::{Value, params};
///
/// let params = params!["Ada", 36, None::<f64>];
/// assert_eq!(params.in_order[1], Value::Integer(36));
/// let params = params! {":name" => "Ada", ":age" => 36};
/// assert_eq!(params.by_name[0].0, ":name");
/// ```
#[macro_export]
#[doc(hidden)]
macro_rules! __sql_params {
    ($($name:expr => $value:expr),+ $(,)?) => {
        $crate::sql::Params {
            in_order: ::std::vec::Vec::new(),
            by_name: ::std::vec![$((::std::string::String::from($name), $crate::sql::Value::from($value))),+],
        }
    };
    ($($value:expr),* $(,)?) => {
        $crate::sql::Params::from(::std::vec![$($crate::sql::Value::from($value)),*])
    };
}
