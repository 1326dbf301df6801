//! Stores as files, for whoever keeps them: copied while they are in use ([`backup`]), put back
//! ([`restore`]), and looked at ([`Browser`]). Functions use them through services.

mod browse;
mod copy;
mod kind;
pub mod text;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::config::Store;
use crate::state::StateError;

pub use browse::{Asked, Browser, Cell, Page, Shown};
pub use copy::{backup, restore};
pub use kind::Kind;

/// Another process may hold a lock for a moment: a checkpoint, a commit.
const BUSY: Duration = Duration::from_secs(10);

/// A store of a project, and the file that it is kept in.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its file.
    pub path: PathBuf,
}

impl Place {
    /// In this state folder.
    pub fn new(store: &Store, state: &Path) -> Self {
        Self {
            name: store.name.clone(),
            kind: Kind::of(&store.kind),
            path: state.join(&store.path),
        }
    }

    /// Opens it to read. It may be in use, and is not changed.
    fn read(&self) -> Result<Connection, Error> {
        if !self.path.exists() {
            return Err(Error::Empty {
                name: self.name.clone(),
                path: self.path.clone(),
            });
        }
        let connection = open(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        self.kind.check(&connection, &self.path)?;
        Ok(connection)
    }
}

/// What is expected in the place of a file that is something else.
fn not_a_copy(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            "\nhint: give a file that `embly store backup` has made"
        }
        _ => "",
    }
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody has kept anything in it.
    #[error(
        "nothing is kept in the store `{name}` yet, there is no file `{}`: is the state folder the right one (`--state DIR`)?",
        path.display()
    )]
    Empty {
        /// Name of the store.
        name: String,
        /// Its file.
        path: PathBuf,
    },
    /// SQLite does not read or write it.
    #[error("cannot use `{}`: {source}{}", path.display(), not_a_copy(source))]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: rusqlite::Error,
    },
    /// It is whole, and something else.
    #[error("`{}` is not a store of type `{kind}`{}", path.display(), match is { Some(is) => format!(", but of type `{is}`"), None => String::new() })]
    OtherKind {
        /// The file.
        path: PathBuf,
        /// What was expected.
        kind: Kind,
        /// What it is, if that is known.
        is: Option<Kind>,
    },
    /// It is of the right type, in a format that is not known.
    #[error(
        "the format of `{}` has the version {version}, this Embly knows {known}: use the Embly that wrote it, or a newer one",
        path.display()
    )]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: i32,
        /// The one that is known.
        known: i32,
    },
    /// Pages of it are damaged.
    #[error("`{}` is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says of it.
        what: String,
    },
    /// Something has this name already.
    #[error("`{}` is there already: give another name, or move it away", .0.display())]
    There(PathBuf),
    /// Somebody has to look at what an earlier restore has left.
    #[error(
        "`{0}` is there: an earlier restore was stopped, and it is what the store held before; move it away, or back to `{1}`",
        before.display(), path.display()
    )]
    Unfinished {
        /// What the store held.
        before: PathBuf,
        /// Its file.
        path: PathBuf,
    },
    /// A master uses the store.
    #[error("{0}; a store is restored while no master uses it")]
    InUse(StateError),
    /// The system does not let us.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no such table in it.
    #[error("there is no table `{0}` in the store: leave it out, and all of them are shown")]
    NoTable(String),
}

fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Sqlite {
        path: path.to_owned(),
        source,
    }
}

/// Functions have written what is in the file: none of it is trusted.
fn open(path: &Path, mode: OpenFlags) -> Result<Connection, Error> {
    let open = || {
        let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        Ok(connection)
    };
    open().map_err(sqlite(path))
}

#[cfg(test)]
mod tests;
