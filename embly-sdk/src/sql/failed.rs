//! What the service says when it did not do what it was asked for.

use crate::proto::sql;
use std::fmt;

/// Why a statement, or the beginning or the end of a transaction, was not carried out. Found in an
/// [`Error`](crate::Error) with [`downcast_ref`](crate::Error::downcast_ref):
///
/// ```no_run
/// # use embly_sdk as embly;
/// # use embly::sql::{self, Cause, params};
/// # fn f(db: &mut sql::Database) -> Result<(), embly::Error> {
/// match db.execute("INSERT INTO users (name) VALUES (?)", params!["Ada"]).wait() {
///     Ok(_) => println!("welcome"),
///     Err(error) => match error.downcast_ref::<sql::Failed>() {
///         Some(failed) if failed.is_constraint() => println!("that name is taken"),
///         Some(failed) if failed.cause == Cause::Busy => println!("try again"),
///         _ => return Err(error),
///     },
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What kind of thing went wrong.
    pub cause: Cause,
    /// The [extended result code](https://sqlite.org/rescode.html) of SQLite; 0 where the error is not
    /// SQLite's.
    pub code: i32,
    /// What went wrong, and what to do about it.
    pub message: String,
    /// Where in the statement, in bytes, as far as that is known.
    pub offset: Option<u32>,
    /// Whether a transaction is open still.
    pub in_transaction: bool,
}

/// Kinds of errors, by what a caller may do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// SQLite said no: a mistake in the statement, a constraint.
    Statement,
    /// The project file, or the service, does not allow it.
    Forbidden,
    /// It took longer than the limit `time`, `read` or `transaction`.
    Time,
    /// It took more than the limit `memory`, or a value or a row is too large.
    Memory,
    /// Others were at work for longer than the limit `wait`.
    Busy,
    /// Not in this order.
    Sequence,
    /// The process that had the store open has died; whether a statement outside of a transaction was
    /// carried out is not known.
    Lost,
    /// More rows than the limit `rows`.
    Rows,
}

impl Failed {
    /// Whether a constraint was hurt: UNIQUE, NOT NULL, CHECK, a foreign key.
    pub fn is_constraint(&self) -> bool {
        const CONSTRAINT: i32 = 19;
        self.code & 0xff == CONSTRAINT
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.offset {
            Some(offset) => write!(f, " (at byte {offset} of the statement)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failed {}

impl From<sql::Error> for Failed {
    fn from(error: sql::Error) -> Self {
        Self {
            cause: match error.cause() {
                sql::Cause::Statement => Cause::Statement,
                sql::Cause::Forbidden => Cause::Forbidden,
                sql::Cause::Time => Cause::Time,
                sql::Cause::Memory => Cause::Memory,
                sql::Cause::Busy => Cause::Busy,
                sql::Cause::Sequence => Cause::Sequence,
                sql::Cause::Lost => Cause::Lost,
                sql::Cause::Rows => Cause::Rows,
            },
            code: error.code,
            message: error.message,
            offset: error.offset,
            in_transaction: error.in_transaction,
        }
    }
}
