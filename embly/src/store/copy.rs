//! Whole copies of a store. A copy is made beside the place where it is to be, looked through, and
//! takes that place in one step: at no moment is there half of one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::{BUSY, Error, Place, open, sqlite};
use crate::state::{self, State};

/// What the store held, until the restore has worked.
const BEFORE: &str = ".before-restore";

/// The copy that is about to take its place.
const COMING: &str = ".restoring";

/// Files that SQLite keeps beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Copies a store as it is at one moment, while functions go on using it; the size of the copy.
///
/// # Errors
/// See [`Error`]. There is no copy then.
pub fn backup(store: &Place, to: &Path) -> Result<u64, Error> {
    if to.symlink_metadata().is_ok() {
        return Err(Error::There(to.to_owned()));
    }
    let from = store.read()?;
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = Temporary::new(to.with_file_name(name))?;
    copy(&from, &store.path, &temporary.0)?;
    let bytes = whole(store, &temporary.0)?;
    temporary.becomes(to)?;
    Ok(bytes)
}

/// Puts a copy in the place of a store; whether there was one. No master may use the state folder.
///
/// # Errors
/// See [`Error`]. The store is as it was then.
pub fn restore(store: &Place, state: &Path, from: &Path) -> Result<bool, Error> {
    let io = io_error;
    if !from.exists() {
        return Err(io("read", from)(io::ErrorKind::NotFound.into()));
    }
    // Until the end: neither a master nor another restore begins meanwhile.
    let _state = State::take(state).map_err(Error::InUse)?;
    let path = &store.path;
    if let Some(folder) = path.parent() {
        state::make(folder).map_err(io("make", folder))?;
    }
    let before = with_suffix(path, BEFORE);
    if before.symlink_metadata().is_ok() {
        let path = path.clone();
        return Err(Error::Unfinished { before, path });
    }
    let coming = with_suffix(path, COMING);
    // What one that was killed has left.
    remove(&coming)?;
    let coming = Temporary::new(coming)?;
    let source = open(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    copy(&source, from, &coming.0)?;
    whole(store, &coming.0).map_err(|error| error.of(&coming.0, from))?;

    let there = path.symlink_metadata().is_ok();
    if there {
        set_aside(path, &before)?;
    }
    let done = coming.becomes(path).and_then(|()| whole(store, path));
    if let Err(error) = done {
        if there {
            move_all(&before, path)?;
        }
        return Err(error);
    }
    remove(&before)?;
    Ok(there)
}

/// Copies all pages of one moment.
fn copy(from: &Connection, source: &Path, to: &Path) -> Result<(), Error> {
    let mut copy = open(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let failed = sqlite(source);
    {
        let pages = Backup::new(from, &mut copy).map_err(&failed)?;
        let until = Instant::now() + BUSY;
        // In one step: a writer in between would make it begin anew.
        while pages.step(-1).map_err(&failed)? != StepResult::Done {
            if Instant::now() > until {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(failed(rusqlite::Error::SqliteFailure(busy, None)));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    // One file, without a log beside it, whatever the source has.
    copy.pragma_update(None, "journal_mode", "DELETE")
        .map_err(sqlite(to))
}

/// Looks through all of a copy: its size.
fn whole(store: &Place, path: &Path) -> Result<u64, Error> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut said = Vec::new();
    let looked = connection.pragma_query(None, "integrity_check", |row| {
        said.push(row.get::<_, String>(0)?);
        Ok(())
    });
    looked.map_err(sqlite(path))?;
    if said != ["ok"] {
        return Err(Error::Damaged {
            path: path.to_owned(),
            what: said.first().cloned().unwrap_or_default(),
        });
    }
    store.kind.check(&connection, path)?;
    let meta = fs::metadata(path).map_err(io_error("read", path))?;
    Ok(meta.len())
}

/// Keeps what the store holds under another name. Where it can be read there is a moment in which both
/// names are of the same file, and none in which the store is gone.
fn set_aside(path: &Path, before: &Path) -> Result<(), Error> {
    let folded = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|store| {
        // What is in the log goes into the file, and the log goes.
        let to = |mode| store.pragma_update(None, "journal_mode", mode);
        to("DELETE").map_err(sqlite(path))
    });
    let beside = || BESIDE.iter().any(|end| with_suffix(path, end).exists());
    if folded.is_ok() && !beside() && fs::hard_link(path, before).is_ok() {
        return Ok(());
    }
    // Broken, or on a disk without links.
    move_all(path, before)
}

/// Moves a database, and what SQLite keeps beside it first: without its log it would be another one.
fn move_all(from: &Path, to: &Path) -> Result<(), Error> {
    for end in BESIDE.into_iter().chain([""]) {
        let (from, to) = (with_suffix(from, end), with_suffix(to, end));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("move", &from)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    for end in BESIDE.into_iter().chain([""]) {
        let path = with_suffix(path, end);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn with_suffix(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn io_error(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io {
        what,
        path: path.clone(),
        source,
    }
}

/// A file that is gone when this is dropped, unless it has become another one.
struct Temporary(PathBuf);

impl Temporary {
    fn new(path: PathBuf) -> Result<Self, Error> {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        made.map_err(io_error("make", &path))?;
        Ok(Self(path))
    }

    fn becomes(self, path: &Path) -> Result<(), Error> {
        let moved = (|| {
            File::open(&self.0)?.sync_all()?;
            fs::rename(&self.0, path)?;
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        })();
        moved.map_err(io_error("write", path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It has another name by now, or is of no use.
        let _ = remove(&self.0);
    }
}

impl Error {
    /// What is wrong with a copy is wrong with what it was made of.
    fn of(self, copy: &Path, source: &Path) -> Self {
        let name = |path: PathBuf| match path == copy {
            true => source.to_owned(),
            false => path,
        };
        match self {
            Self::Damaged { path, what } => Self::Damaged {
                path: name(path),
                what,
            },
            Self::OtherKind { path, kind, is } => Self::OtherKind {
                path: name(path),
                kind,
                is,
            },
            Self::OtherVersion {
                path,
                version,
                known,
            } => Self::OtherVersion {
                path: name(path),
                version,
                known,
            },
            other => other,
        }
    }
}
