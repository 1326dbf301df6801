//! A process that runs the SQL of functions on one database.
//!
//! SQL of functions is hostile input to a large C library, so it never meets it in the master. This
//! process has one connection to one database, does one thing at a time, and ends when its socket is
//! closed. What it may open is the files of its database ([`crate::jail::sql`]), what a statement may
//! do is for `authorize` to say, and `connection` sets the limits of SQLite.
//!
//! - [`wire`]: what it and the master say to each other;
//! - `connection`, `authorize`: a connection that can do no harm;
//! - `statement`: one statement, from its text to its rows;
//! - [`migrate`]: the migrations of a store.

mod authorize;
mod connection;
pub mod migrate;
mod statement;
pub mod wire;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use prost::Message;
use protos::services::sql::request::Request as Asked;
use protos::services::sql::{Cause, Request};

use crate::process::wrapper_command;
use crate::{jail, sys};
use connection::Worker;
use statement::Failure;
use wire::{FromWorker, ToWorker};

/// The longest message between a function and the service, in bytes.
pub const MAX_MESSAGE: usize = 4 << 20;

/// The longest value, in bytes: with what stands beside it, it fits in a message.
pub const MAX_VALUE: usize = MAX_MESSAGE - 256 * 1024;

/// The longest statement, in bytes.
pub const MAX_SQL: usize = 1 << 20;

/// Memory of a process beside the limit of a statement, in bytes: what was loaded, and rows on
/// their way.
const HOST_MEMORY: u64 = 64 << 20;

/// What a process may do with its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Look.
    Read,
    /// Also change.
    Write,
    /// Make it where it is not there, and apply migrations.
    Migrate,
}

impl Access {
    const ALL: [Self; 3] = [Self::Read, Self::Write, Self::Migrate];

    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Migrate => "migrate",
        }
    }
}

impl std::str::FromStr for Access {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|access| access.name() == text);
        found.ok_or("an access is `read`, `write` or `migrate`")
    }
}

/// What a process is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Options {
    /// The file.
    pub database: PathBuf,
    /// What it may do with it.
    pub access: Access,
    /// A commit waits for the disk.
    pub full: bool,
    /// The most bytes that the database may have.
    pub size: u64,
    /// Memory of SQLite, in bytes.
    pub memory: u64,
    /// How long a statement may work.
    pub time: Option<Duration>,
    /// How many rows it may give.
    pub rows: Option<u64>,
}

/// Starts a process. Its life is tied to the *thread* that calls this: when that ends, the kernel
/// kills it. The second value is our end of its socket.
///
/// # Errors
/// That of starting a process.
pub fn start(options: &Options) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let micros = |time: Option<Duration>| {
        time.map_or(0, |time| {
            u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
        })
    };
    let child = wrapper_command("sql")
        .args(["--master", &std::process::id().to_string()])
        .arg("--database")
        .arg(&options.database)
        .args(["--access", options.access.name()])
        .args([
            "--durability",
            if options.full { "full" } else { "relaxed" },
        ])
        .args(["--size", &options.size.to_string()])
        .args(["--memory", &options.memory.to_string()])
        .args(["--time", &micros(options.time).to_string()])
        .args(["--rows", &options.rows.unwrap_or(0).to_string()])
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok((child, ours))
}

/// The role `sql`: what [`start`] starts. Its socket is standard input.
///
/// # Errors
/// When it cannot be what it is to be; the master was told as far as that was possible.
pub fn role(master: i32, options: &Options) -> Result<(), String> {
    // The jail closes all descriptors but the first three.
    let mut socket = sys::fd::take(0)
        .map(UnixStream::from)
        .map_err(|error| error.to_string())?;
    let failed = |socket: &mut UnixStream, why: String| {
        // A master that has gone needs no telling.
        let _ = wire::write(socket, FromWorker::Failed as u8, why.as_bytes(), &[]);
        Err(why)
    };
    if let Err(why) = jailed(master, options) {
        return failed(&mut socket, why);
    }
    let mut worker = match Worker::open(options) {
        Ok(worker) => worker,
        Err(error) => return failed(&mut socket, error.to_string()),
    };
    let served = wire::write(&mut socket, FromWorker::Ready as u8, &[], &[]).and_then(|()| {
        match options.access {
            Access::Migrate => migrate::serve(&mut worker, &mut socket),
            Access::Read | Access::Write => serve(&mut worker, &mut socket),
        }
    });
    match served {
        // The master has closed its end.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        served => served.map_err(|error| error.to_string()),
    }
}

/// The files of a database, which are made where they are not there: those that the log of changes
/// takes can then be allowed by name.
fn jailed(master: i32, options: &Options) -> Result<(), String> {
    let beside = |end: &str| {
        let mut path = options.database.clone().into_os_string();
        path.push(end);
        PathBuf::from(path)
    };
    let (log, index) = (beside("-wal"), beside("-shm"));
    let writes = options.access != Access::Read;
    for path in [&options.database, &log, &index] {
        exists(path).map_err(|error| format!("cannot open `{}`: {error}", path.display()))?;
    }
    let files = [
        (options.database.as_path(), writes),
        (&log, writes),
        // Readers say in there what they read.
        (&index, true),
        // Where SQLite takes its random numbers from.
        (Path::new("/dev/urandom"), false),
    ];
    let limits = jail::sql::Limits {
        memory: options.memory.saturating_add(HOST_MEMORY),
        // The log of changes may be longer than what it is about.
        file: options.size.saturating_mul(2).saturating_add(64 << 20),
    };
    jail::sql::enter(master, &files, limits).map_err(|error| error.to_string())
}

fn exists(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
}

/// Serves until the master closes the socket.
fn serve(worker: &mut Worker, socket: &mut UnixStream) -> io::Result<()> {
    loop {
        let (kind, content) = wire::read(socket)?;
        if ToWorker::from_byte(kind) != Some(ToWorker::Request) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // The master has only looked which kind of request it is.
        let request = Request::decode(&content[..]);
        drop(content);
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                let why = format!("the request cannot be read: {error}");
                let (spent, frame) = worker.failed(Failure::new(Cause::Statement, why));
                worker.end_answer(socket, spent, &frame)?;
                continue;
            }
        };
        let done = match request.request {
            Some(Asked::Execute(execute)) => worker.execute(&execute, socket)?,
            Some(Asked::Begin(begin)) => worker.begin(begin.write),
            Some(Asked::Commit(_)) => worker.end("COMMIT"),
            Some(Asked::Rollback(_)) => worker.end("ROLLBACK"),
            Some(Asked::Open(_) | Asked::Cancel(_)) | None => Err(Failure::new(
                Cause::Sequence,
                "a request that is not for this process",
            )),
        };
        match done {
            // Another writes; the master has told the caller.
            Ok(None) => {}
            Ok(Some(frames)) => worker.finish(socket, &frames)?,
            Err(failure) => {
                let (spent, frame) = worker.failed(failure);
                worker.end_answer(socket, spent, &frame)?;
            }
        }
    }
}
