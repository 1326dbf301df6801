//! What the file of a store looks like: all that is known here of how services keep it.

use std::fmt;
use std::path::Path;

use rusqlite::Connection;

use super::{Error, sqlite};
use crate::config::StoreKind;

/// `application_id` of key-value stores: "Embk".
const KV: i32 = 0x456d_626b;

/// The type of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Keys and values, in the table `entries`.
    Kv,
    /// The tables that functions have made.
    Sql,
}

impl Kind {
    /// Of a store of the project file.
    pub fn of(kind: &StoreKind) -> Self {
        match kind.name() {
            "kv" => Self::Kv,
            _ => Self::Sql,
        }
    }

    /// Whether a database is a store of this type.
    pub(super) fn check(self, connection: &Connection, path: &Path) -> Result<(), Error> {
        let looks = || {
            let id: i32 =
                connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
            let columns = columns(connection, "entries")?;
            let has = |name: &str| columns.iter().any(|column| column == name);
            let tables: u32 =
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            let is_kv = id == KV || id == 0 && tables == 1 && has("key") && has("value");
            // A database without tables is a new one of any type.
            Ok((is_kv, tables == 0 && id == 0))
        };
        let (is_kv, is_new) = looks().map_err(sqlite(path))?;
        if is_new || is_kv == (self == Self::Kv) {
            return Ok(());
        }
        Err(Error::OtherKind {
            path: path.to_owned(),
            kind: self,
            is: is_kv.then_some(Self::Kv),
        })
    }
}

/// Names of the columns of a table; none where there is no such table.
pub(super) fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    names.collect()
}

/// As the project file says it.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kv => "kv",
            Self::Sql => "sql",
        })
    }
}
