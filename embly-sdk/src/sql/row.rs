//! Rows, and what they become.

use super::value::{FromValue, Value};
use crate::error::Error;
use std::rc::Rc;

/// A row of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub(super) columns: Rc<[String]>,
    pub(super) values: Vec<Value>,
}

impl Row {
    /// The value of a column, by its name or its place from 0:
    ///
    /// ```no_run
    /// # use embly_sdk::{Error, sql::Row};
    /// # fn f(row: Row) -> Result<(), Error> {
    /// let id: i64 = row.get("id")?;
    /// let name = row.get::<Option<String>>(1)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no such column, and when its value is of another type.
    pub fn get<T: FromValue>(&self, column: impl Column) -> Result<T, Error> {
        let at = column.place(self)?;
        let wrong = |error| Error::msg(format!("column `{}`: {error}", self.columns[at]));
        T::from_value(self.values[at].clone()).map_err(wrong)
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The values, in the order of the columns.
    pub fn into_values(self) -> Vec<Value> {
        self.values
    }
}

/// How a column is named: by its name, or its place from 0.
pub trait Column {
    /// Its place in a row that has it.
    ///
    /// # Errors
    /// When it has none; the error names those that there are.
    fn place(&self, row: &Row) -> Result<usize, Error>;
}

impl Column for usize {
    fn place(&self, row: &Row) -> Result<usize, Error> {
        let count = row.values.len().min(row.columns.len());
        if *self < count {
            return Ok(*self);
        }
        Err(Error::msg(format!(
            "there is no column {self}: the row has {count}, from 0"
        )))
    }
}

impl Column for &str {
    fn place(&self, row: &Row) -> Result<usize, Error> {
        let found = row.columns.iter().position(|name| name == self);
        let found = found.filter(|at| *at < row.values.len());
        found.ok_or_else(|| {
            let names = row.columns.join("`, `");
            Error::msg(format!("there is no column `{self}`: there are `{names}`"))
        })
    }
}

/// What a whole row can become: tuples, of which each part is a column in its place, and types that say
/// so themselves:
///
/// ```
/// use embly_sdk::{Error, sql::{FromRow, Row}};
///
/// struct Entry {
///     id: i64,
///     text: String,
/// }
///
/// impl FromRow for Entry {
///     fn from_row(row: Row) -> Result<Self, Error> {
///         Ok(Self { id: row.get("id")?, text: row.get("text")? })
///     }
/// }
/// ```
pub trait FromRow: Sized {
    /// The row, as this type.
    ///
    /// # Errors
    /// When a column is missing or of another type.
    fn from_row(row: Row) -> Result<Self, Error>;
}

impl FromRow for Row {
    fn from_row(row: Row) -> Result<Self, Error> {
        Ok(row)
    }
}

macro_rules! tuples {
    ($($($name:ident $at:tt),+;)+) => {$(
        impl<$($name: FromValue),+> FromRow for ($($name,)+) {
            fn from_row(row: Row) -> Result<Self, Error> {
                Ok(($(row.get::<$name>($at)?,)+))
            }
        }
    )+};
}

tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6;
    A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7;
}
