//! What the file of a store looks like: all that is known here of how services keep it.

use std::fmt;
use std::path::Path;

use rusqlite::Connection;

use super::{Error, sqlite};
use crate::config::StoreKind;

/// `application_id` of key-value stores: "Embk".
const KV: i32 = 0x456d_626b;

/// `user_version` of key-value stores: the version of their format.
const KV_VERSION: i32 = 1;

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
            let number = |name| connection.pragma_query_value(None, name, |row| row.get(0));
            let (id, version): (i32, i32) = (number("application_id")?, number("user_version")?);
            let tables: u32 =
                connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            // A database without tables is a new one of any type.
            Ok((id == KV, version, tables == 0 && id == 0))
        };
        let (is_kv, version, is_new) = looks().map_err(sqlite(path))?;
        if is_new {
            return Ok(());
        }
        if is_kv != (self == Self::Kv) {
            return Err(Error::OtherKind {
                path: path.to_owned(),
                kind: self,
                is: is_kv.then_some(Self::Kv),
            });
        }
        // The service would not open it.
        if is_kv && version != KV_VERSION {
            return Err(Error::OtherVersion {
                path: path.to_owned(),
                version,
                known: KV_VERSION,
            });
        }
        Ok(())
    }
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
