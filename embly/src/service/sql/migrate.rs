//! Makes the file of a store and applies its migrations, in a process of its own. Blocks.

use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use embly_wrapper::sql::migrate::{Known, checksum, encode};
use embly_wrapper::sql::wire::{self, FromWorker, ToWorker};
use embly_wrapper::sql::{self, Access, Options};

use super::store::Kind;
use crate::config::{Durability, Migration};

/// Memory of SQLite for a migration, in bytes: that of the project's own statements, which may build
/// an index on all there is.
const MEMORY: u64 = 512 << 20;

/// How long a statement of a migration may work. The master waits for it before it serves.
const TIME: Duration = Duration::from_secs(600);

/// The same, and what comes with it.
const WITHIN: Duration = Duration::from_secs(660);

/// A migration, read from its file.
pub struct Read {
    known: Known,
    text: String,
}

/// Reads the files.
///
/// # Errors
/// In words.
pub fn read(migrations: &[Migration]) -> Result<Vec<Read>, String> {
    let one = |migration: &Migration| {
        let text = fs::read_to_string(&migration.path)
            .map_err(|error| format!("cannot read `{}`: {error}", migration.path.display()))?;
        Ok(Read {
            known: Known {
                number: migration.number,
                name: migration.name.clone(),
                checksum: checksum(&text),
            },
            text,
        })
    };
    migrations.iter().map(one).collect()
}

/// Makes the file where it is not there and applies what was not applied, in order. The result is the
/// names of those that were. With `later`, a later version of the project may have applied more.
///
/// # Errors
/// In words. Those before the one that has failed stay applied.
pub fn migrate(path: &Path, kind: Kind, all: &[Read], later: bool) -> Result<Vec<String>, String> {
    let options = Options {
        database: path.to_owned(),
        access: Access::Migrate,
        full: kind.durability == Durability::Full,
        size: kind.size,
        memory: MEMORY,
        time: Some(TIME),
        rows: None,
    };
    let (child, socket) = sql::start(&options).map_err(|error| error.to_string())?;
    let mut process = Process { child, socket };
    process
        .open()
        .and_then(|()| process.apply(all, later))
        .map_err(|failed| {
            match failed {
        Failed::Said(why) => why,
        Failed::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the process that applies migrations has died; what it had begun is undone: start again"
                .to_owned()
        }
        Failed::Io(error) if error.kind() == io::ErrorKind::WouldBlock => {
            format!("a migration took longer than {} s; it is undone", WITHIN.as_secs())
        }
        Failed::Io(error) => format!("the process that applies migrations failed: {error}"),
    }
        })
}

enum Failed {
    Said(String),
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Killed and reaped when it is dropped.
struct Process {
    child: Child,
    socket: UnixStream,
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is only waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn open(&mut self) -> Result<(), Failed> {
        self.socket.set_read_timeout(Some(WITHIN))?;
        self.socket.set_write_timeout(Some(WITHIN))?;
        self.hear(FromWorker::Ready).map(drop)
    }

    fn apply(&mut self, all: &[Read], later: bool) -> Result<Vec<String>, Failed> {
        let known: Vec<Known> = all.iter().map(|read| read.known.clone()).collect();
        wire::write(
            &mut self.socket,
            ToWorker::Check as u8,
            &encode(&known, later),
            &[],
        )?;
        let pending = self.hear(FromWorker::Pending)?;
        let numbers = pending.as_chunks::<4>().0.iter();
        let numbers: Vec<u32> = numbers.map(|bytes| u32::from_le_bytes(*bytes)).collect();
        let mut applied = Vec::new();
        for read in all
            .iter()
            .filter(|read| numbers.contains(&read.known.number))
        {
            let number = read.known.number.to_le_bytes();
            let what = ToWorker::Apply as u8;
            wire::write(&mut self.socket, what, &number, read.text.as_bytes())?;
            self.hear(FromWorker::Applied)?;
            applied.push(read.known.name.clone());
        }
        self.socket.flush()?;
        Ok(applied)
    }

    fn hear(&mut self, expected: FromWorker) -> Result<Vec<u8>, Failed> {
        let (kind, content) = wire::read(&mut self.socket)?;
        match FromWorker::from_byte(kind) {
            Some(FromWorker::Failed) => {
                Err(Failed::Said(String::from_utf8_lossy(&content).into_owned()))
            }
            Some(kind) if kind == expected => Ok(content),
            _ => Err(Failed::Io(io::ErrorKind::InvalidData.into())),
        }
    }
}
