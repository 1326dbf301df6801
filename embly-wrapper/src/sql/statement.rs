//! One statement: from its text to its rows.

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::net::UnixStream;

use protos::services::sql::response::Response as Said;
use protos::services::sql::value::Kind;
use protos::services::sql::{Cause, Columns, Execute, Row, Rows, Value};
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Statement};

use super::connection::{Worker, frame};
use super::wire::{self, FromWorker, ToWorker};
use super::{Access, MAX_MESSAGE, MAX_SQL, MAX_VALUE};

/// Rows are sent when they take so many bytes: a quarter of a window, so that work and way overlap.
const BATCH: usize = 64 * 1024;

/// Longer texts are not kept prepared.
const KEPT: usize = 8 * 1024;

/// Why a request was not carried out.
#[derive(Debug)]
pub struct Failure {
    pub cause: Cause,
    pub code: i32,
    pub message: String,
    pub offset: Option<u32>,
}

impl Failure {
    /// One that is not SQLite's.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            code: 0,
            message: message.into(),
            offset: None,
        }
    }
}

/// `Ok(None)`: the statement was not run, and the master has told the caller.
pub type Outcome = Result<Option<Vec<u8>>, Failure>;

/// A failure, or the end of the conversation.
enum Stop {
    Failure(Failure),
    Sql(rusqlite::Error),
    Refused,
    Gone(io::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl Worker {
    /// Runs it. The result is the last part of the answer.
    ///
    /// # Errors
    /// The master has gone.
    pub fn execute(&mut self, execute: &Execute, socket: &mut UnixStream) -> io::Result<Outcome> {
        self.clock.start();
        let before = self.connection.total_changes();
        let ran = self.run(execute, socket);
        self.clock.pause();
        match ran {
            Ok(mut frames) => {
                let changed = self.connection.total_changes() != before;
                let changes = if changed {
                    self.connection.changes()
                } else {
                    0
                };
                let id = match changed && inserts(&execute.sql) {
                    true => self.connection.last_insert_rowid(),
                    false => 0,
                };
                frames.extend(self.done(changes, id));
                Ok(Ok(Some(frames)))
            }
            Err(Stop::Refused) => Ok(Ok(None)),
            Err(Stop::Failure(failure)) => Ok(Err(failure)),
            Err(Stop::Sql(error)) => Ok(Err(self.explain(error))),
            Err(Stop::Gone(error)) => Err(error),
        }
    }

    /// The frames that were not sent yet.
    fn run(&mut self, execute: &Execute, socket: &mut UnixStream) -> Result<Vec<u8>, Stop> {
        if execute.sql.len() > MAX_SQL {
            let why = format!("a statement has at most {MAX_SQL} bytes");
            return Err(Stop::Failure(Failure::new(Cause::Memory, why)));
        }
        // Of an earlier statement.
        drop(self.authorizer.why());
        if is_empty(&execute.sql) {
            let why = "there is no statement in the text";
            return Err(Stop::Failure(Failure::new(Cause::Statement, why)));
        }
        let mut statement = if execute.sql.len() <= KEPT {
            Prepared::Kept(self.connection.prepare_cached(&execute.sql)?)
        } else {
            Prepared::Once(self.connection.prepare(&execute.sql)?)
        };
        let reads = statement.readonly();
        if !reads && !self.writes {
            if self.access == Access::Read {
                let why = "the store was opened for reading";
                return Err(Stop::Failure(Failure::new(Cause::Forbidden, why)));
            }
            if !self.connection.is_autocommit() {
                let why = "the transaction was begun to read: begin one that writes";
                return Err(Stop::Failure(Failure::new(Cause::Sequence, why)));
            }
            self.clock.pause();
            wire::write(socket, FromWorker::Wants as u8, &[], &[])?;
            match answer(socket)? {
                ToWorker::Granted => self.clock.go_on(),
                _ => return Err(Stop::Refused),
            }
        }
        bind(&mut statement, execute)?;
        let mut out = Vec::new();
        let mut batch = Batch::default();
        let mut columns = 0;
        let mut rows = statement.raw_query();
        let mut count = 0;
        let mut wanted = true;
        while let Some(row) = rows.next()? {
            if !wanted {
                // A statement that changes something is not left half done.
                continue;
            }
            if count == 0 {
                // Not earlier: a change of the schema shows when it runs.
                let names = names(row.as_ref());
                columns = names.len();
                out = frame(Said::Columns(Columns { names }));
            }
            count += 1;
            if self.rows.is_some_and(|most| count > most) {
                let most = self.rows.unwrap_or_default();
                let why = format!("the statement gives more rows than the limit `rows: {most}`");
                return Err(Stop::Failure(Failure::new(Cause::Rows, why)));
            }
            batch.add(row, columns)?;
            if batch.bytes >= BATCH {
                batch.flush(&mut out);
                self.clock.pause();
                wire::write(socket, FromWorker::Part as u8, &out, &[])?;
                out.clear();
                wanted = answer(socket)? == ToWorker::Next;
                self.clock.go_on();
                if !wanted && reads {
                    break;
                }
            }
        }
        drop(rows);
        if count == 0 && statement.column_count() > 0 {
            let names = names(&statement);
            out = frame(Said::Columns(Columns { names }));
        }
        batch.flush(&mut out);
        if !wanted {
            out.clear();
        }
        Ok(out)
    }
}

fn names(statement: &Statement<'_>) -> Vec<String> {
    statement.column_names().map(str::to_owned).collect()
}

/// What the master says to one who waits for it.
fn answer(socket: &mut UnixStream) -> io::Result<ToWorker> {
    let (kind, _) = wire::read(socket)?;
    ToWorker::from_byte(kind).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A statement, from the cache or not.
enum Prepared<'a> {
    Kept(CachedStatement<'a>),
    Once(Statement<'a>),
}

impl<'a> Deref for Prepared<'a> {
    type Target = Statement<'a>;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Kept(statement) => statement,
            Self::Once(statement) => statement,
        }
    }
}

impl DerefMut for Prepared<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self {
            Self::Kept(statement) => statement,
            Self::Once(statement) => statement,
        }
    }
}

/// Whether there is nothing but space, comments and semicolons in it, for which SQLite has no
/// statement.
fn is_empty(sql: &str) -> bool {
    let mut rest = sql;
    loop {
        rest = rest
            .trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '\u{feff}');
        rest = match (rest.strip_prefix("--"), rest.strip_prefix("/*")) {
            (Some(comment), _) => comment.split_once('\n').map_or("", |(_, rest)| rest),
            (_, Some(comment)) => comment.split_once("*/").map_or("", |(_, rest)| rest),
            _ => return rest.is_empty(),
        };
    }
}

/// Whether it is an INSERT, which has a last row.
fn inserts(sql: &str) -> bool {
    let sql = sql.trim_start().as_bytes();
    let begins = |word: &str| {
        sql.get(..word.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(word.as_bytes()))
    };
    begins("insert") || begins("replace") || {
        let has = |word: &str| {
            sql.windows(word.len())
                .any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
        };
        begins("with") && (has("insert into") || has("replace into"))
    }
}

struct Bound<'a>(&'a Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match &self.0.kind {
            None => ValueRef::Null,
            Some(Kind::Integer(value)) => ValueRef::Integer(*value),
            Some(Kind::Real(value)) => ValueRef::Real(*value),
            Some(Kind::Text(value)) => ValueRef::Text(value.as_bytes()),
            Some(Kind::Blob(value)) => ValueRef::Blob(value),
        }))
    }
}

fn bind(statement: &mut Statement<'_>, execute: &Execute) -> Result<(), Stop> {
    let wrong = |why: String| Stop::Failure(Failure::new(Cause::Statement, why));
    let takes = statement.parameter_count();
    let mut bound = vec![false; takes];
    for (at, value) in execute.parameters.iter().enumerate() {
        let Some(done) = bound.get_mut(at) else {
            let given = execute.parameters.len();
            return Err(wrong(format!(
                "the statement has {takes} parameters, {given} values were given"
            )));
        };
        statement.raw_bind_parameter(at + 1, Bound(value))?;
        *done = true;
    }
    for named in &execute.named {
        let at = statement.parameter_index(&named.name)?;
        let Some(at) = at else {
            return Err(wrong(format!(
                "the statement has no parameter `{}`: names begin with `:`, `@` or `$`",
                named.name
            )));
        };
        let null = Value::default();
        statement.raw_bind_parameter(at, Bound(named.value.as_ref().unwrap_or(&null)))?;
        // SQLite counts from 1.
        bound[at - 1] = true;
    }
    match bound.iter().position(|bound| !bound) {
        None => Ok(()),
        Some(at) => {
            let name = statement.parameter_name(at + 1).map(str::to_owned);
            let name = name.unwrap_or_else(|| format!("?{}", at + 1));
            Err(wrong(format!("the parameter `{name}` has no value")))
        }
    }
}

/// Rows that were not sent yet.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, row: &rusqlite::Row<'_>, columns: usize) -> Result<(), Stop> {
        let mut values = Vec::with_capacity(columns);
        let mut bytes = 8;
        for column in 0..columns {
            let (value, length) = value(row, column)?;
            bytes += length + 16;
            if bytes > MAX_VALUE + columns * 16 + 8 {
                let why = format!("a row has at most {MAX_VALUE} bytes");
                return Err(Stop::Failure(Failure::new(Cause::Memory, why)));
            }
            values.push(value);
        }
        self.bytes += bytes;
        self.rows.push(Row { values });
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        if !self.rows.is_empty() {
            let rows = std::mem::take(&mut self.rows);
            out.extend(frame(Said::Rows(Rows { rows })));
            self.bytes = 0;
        }
    }
}

const _: () = assert!(BATCH + MAX_VALUE + 500 * 16 < MAX_MESSAGE);

/// The value, and its bytes.
fn value(row: &rusqlite::Row<'_>, column: usize) -> Result<(Value, usize), Stop> {
    let (kind, bytes) = match row.get_ref(column)? {
        ValueRef::Null => (None, 0),
        ValueRef::Integer(value) => (Some(Kind::Integer(value)), 10),
        ValueRef::Real(value) => (Some(Kind::Real(value)), 8),
        ValueRef::Text(text) => {
            let text = std::str::from_utf8(text).map_err(|_| {
                let why = format!(
                    "column {} is text that is not UTF-8: select it as `CAST(… AS BLOB)`",
                    column + 1
                );
                Stop::Failure(Failure::new(Cause::Statement, why))
            })?;
            (Some(Kind::Text(text.to_owned())), text.len())
        }
        ValueRef::Blob(blob) => (Some(Kind::Blob(blob.to_vec().into())), blob.len()),
    };
    Ok((Value { kind }, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_a_statement_is_told_from_one_with_one() {
        for empty in ["", " ;; ", "-- select 1", "/* select 1 */ ; -- x\n", "/*"] {
            assert!(is_empty(empty), "{empty}");
        }
        for full in ["select 1", "/* */ select", "-- x\nselect 1"] {
            assert!(!is_empty(full), "{full}");
        }
    }

    #[test]
    fn only_an_insert_has_a_last_row() {
        assert!(inserts(" insert into t values (1)") && inserts("REPLACE INTO t SELECT 1"));
        assert!(inserts(
            "with x as (select 1) insert into t select * from x"
        ));
        assert!(!inserts("update t set a = 1") && !inserts("wi"));
    }
}
