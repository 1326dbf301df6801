//! Looks into a store, a page at a time, as it is at one moment.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Serialize, Serializer};

use super::text::escape;
use super::{Error, Kind, Place, sqlite};

/// A table with a column that takes for ever to compute ends with an error after so long.
const LONGEST: Duration = Duration::from_secs(30);

/// Instructions of SQLite between two looks at the clock.
const LOOK_EVERY: i32 = 100_000;

/// Rows are counted up to here.
const COUNTED: i64 = 1_000_000;

/// A store that is looked at.
#[derive(Debug)]
pub struct Browser {
    place: Place,
    connection: Connection,
}

/// What to show.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Of a key-value store: what keys begin with. Of another: the table, or none for all of them.
    pub prefix: Option<Vec<u8>>,
    /// The last key of the page before, or how many rows were shown.
    pub after: Option<Vec<u8>>,
    /// So many keys or rows.
    pub limit: u32,
    /// Values as well.
    pub values: bool,
}

/// Something in a store. Keys and texts are as [`escape`] makes them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Shown {
    /// A key.
    Entry {
        /// The key.
        key: String,
        /// Bytes of the value.
        bytes: u64,
        /// When it goes; `None`: never.
        expires_at: Option<String>,
        /// The value, where it was asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    /// A table.
    Table {
        /// Its name.
        name: String,
        /// Its rows, counted up to a million.
        rows: i64,
        /// The statement that made it.
        schema: String,
    },
    /// A row of a table.
    Row {
        /// By the names of the columns.
        row: BTreeMap<String, Cell>,
        /// The names, in their order.
        #[serde(skip)]
        columns: Vec<String>,
    },
}

/// A value in a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A whole number.
    Integer(i64),
    /// Another number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes, as hexadecimal digits.
    Blob(String),
}

/// Some of what is in a store.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// In order.
    pub shown: Vec<Shown>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

impl Browser {
    /// Opens a store to read.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(place: Place) -> Result<Self, Error> {
        let mut connection = place.read()?;
        let since = Instant::now();
        connection
            .progress_handler(LOOK_EVERY, Some(move || since.elapsed() > LONGEST))
            .map_err(sqlite(&place.path))?;
        Ok(Self { place, connection })
    }

    /// A page of it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn page(&self, asked: &Asked) -> Result<Page, Error> {
        let failed = sqlite(&self.place.path);
        // Dropped at the end: nothing was changed.
        let moment = self.connection.unchecked_transaction().map_err(&failed)?;
        let page = match (self.place.kind, &asked.prefix) {
            (Kind::Kv, _) => entries(&moment, asked),
            (Kind::Sql, None) => tables(&moment),
            (Kind::Sql, Some(table)) => {
                let table = String::from_utf8_lossy(table);
                match rows(&moment, &table, asked).map_err(&failed)? {
                    Some(page) => Ok(page),
                    None => return Err(Error::NoTable(escape(table.as_bytes()))),
                }
            }
        };
        page.map_err(&failed)
    }
}

/// Keys in their order, without those whose time has passed.
fn entries(connection: &Connection, asked: &Asked) -> rusqlite::Result<Page> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    let prefix = asked.prefix.as_deref().unwrap_or_default();
    let value = if asked.values { "value" } else { "NULL" };
    let mut statement = connection.prepare(&format!(
        "SELECT key, length(value), expires, {value} FROM entries \
         WHERE key >= ?1 AND (?2 IS NULL OR key > ?2) AND substr(key, 1, ?3) = ?1 \
         AND (expires IS NULL OR expires > ?4) ORDER BY key LIMIT ?5"
    ))?;
    let length = i64::try_from(prefix.len()).unwrap_or(i64::MAX);
    let limit = i64::from(asked.limit) + 1;
    let shown = statement.query_map(params![prefix, asked.after, length, now, limit], |row| {
        let milliseconds: Option<i64> = row.get(2)?;
        let time = |at| jiff::Timestamp::from_millisecond(at).ok();
        Ok(Shown::Entry {
            key: escape(row.get_ref(0)?.as_bytes()?),
            bytes: row.get::<_, i64>(1)?.unsigned_abs(),
            expires_at: milliseconds.and_then(time).map(|at| at.to_string()),
            value: row.get_ref(3)?.as_bytes_or_null()?.map(escape),
        })
    })?;
    let mut shown = shown.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = shown.len() > asked.limit as usize;
    shown.truncate(asked.limit as usize);
    let next = shown.last().filter(|_| more).and_then(|last| match last {
        Shown::Entry { key, .. } => Some(key.clone()),
        Shown::Table { .. } | Shown::Row { .. } => None,
    });
    Ok(Page { shown, next })
}

fn tables(connection: &Connection) -> rusqlite::Result<Page> {
    let mut statement = connection.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' \
         ESCAPE '\\' ORDER BY name",
    )?;
    let found = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?))
    })?;
    let mut shown = Vec::new();
    for table in found {
        let (name, schema) = table?;
        let count = format!(
            "SELECT count(*) FROM (SELECT 1 FROM {} LIMIT {COUNTED})",
            quoted(&name)
        );
        shown.push(Shown::Table {
            rows: connection.query_row(&count, [], |row| row.get(0))?,
            name: escape(name.as_bytes()),
            schema: escape(schema.unwrap_or_default().as_bytes()),
        });
    }
    Ok(Page { shown, next: None })
}

/// `None` where there is no such table.
fn rows(connection: &Connection, table: &str, asked: &Asked) -> rusqlite::Result<Option<Page>> {
    // Views are programs of somebody.
    let is_there = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    let name: Option<String> = connection
        .query_row(is_there, [table], |row| row.get(0))
        .optional()?;
    let Some(name) = name else {
        return Ok(None);
    };
    let after = asked.after.as_deref().unwrap_or_default();
    let skipped: i64 = String::from_utf8_lossy(after).parse().unwrap_or(0);
    let mut statement = connection.prepare(&format!(
        "SELECT * FROM {} LIMIT ?1 OFFSET ?2",
        quoted(&name)
    ))?;
    let names: Vec<String> = statement
        .column_names()
        .map(|name| escape(name.as_bytes()))
        .collect();
    let limit = i64::from(asked.limit);
    let shown = statement.query_map([limit + 1, skipped], |row| {
        let cells = names.iter().enumerate();
        let cells = cells.map(|(at, name)| Ok((name.clone(), cell(row, at)?)));
        Ok(Shown::Row {
            row: cells.collect::<rusqlite::Result<_>>()?,
            columns: names.clone(),
        })
    })?;
    let mut shown = shown.collect::<rusqlite::Result<Vec<_>>>()?;
    let more = shown.len() > asked.limit as usize;
    shown.truncate(asked.limit as usize);
    let next = more.then(|| (skipped + limit).to_string());
    Ok(Some(Page { shown, next }))
}

fn cell(row: &Row<'_>, at: usize) -> rusqlite::Result<Cell> {
    Ok(match row.get_ref(at)? {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) => Cell::Text(escape(text)),
        ValueRef::Blob(bytes) => {
            Cell::Blob(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
        }
    })
}

/// A name in a statement.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_none(),
            Self::Integer(number) => to.serialize_i64(*number),
            // JSON has no infinity.
            Self::Real(number) if number.is_finite() => to.serialize_f64(*number),
            Self::Real(number) => to.serialize_str(&number.to_string()),
            Self::Text(text) => to.serialize_str(text),
            Self::Blob(digits) => to.collect_map([("blob", digits)]),
        }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Text(text) => f.write_str(text),
            Self::Blob(digits) => write!(f, "x'{digits}'"),
        }
    }
}
