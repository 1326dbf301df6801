//! The one connection of a process, with the limits of SQLite and ours.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use protos::services::sql::response::Response as Said;
use protos::services::sql::{Cause, Done, Error, Response};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::authorize::Authorizer;
use super::statement::Failure;
use super::wire::{self, FromWorker, flags};
use super::{Access, MAX_SQL, MAX_VALUE, Options};

/// How many instructions of SQLite's machine pass between two looks at the clock: some 10 µs.
const LOOK_EVERY: i32 = 1000;

/// Only one writes at a time, so that nobody waits for a lock but for moments: after a crash, and
/// while a log of changes is taken over.
const BUSY: Duration = Duration::from_secs(2);

/// Statements that stay prepared.
const PREPARED: usize = 64;

/// What a statement may be. None of these is in the way of a statement that people write.
const LIMITS: [(Limit, usize); 10] = [
    (Limit::SQLITE_LIMIT_LENGTH, MAX_VALUE),
    (Limit::SQLITE_LIMIT_SQL_LENGTH, MAX_SQL),
    (Limit::SQLITE_LIMIT_COLUMN, 500),
    (Limit::SQLITE_LIMIT_EXPR_DEPTH, 200),
    (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 100),
    (Limit::SQLITE_LIMIT_VDBE_OP, 1_000_000),
    (Limit::SQLITE_LIMIT_FUNCTION_ARG, 100),
    (Limit::SQLITE_LIMIT_ATTACHED, 0),
    (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1000),
    (Limit::SQLITE_LIMIT_TRIGGER_DEPTH, 50),
];

/// A connection, and what belongs to it.
pub struct Worker {
    pub connection: Connection,
    pub authorizer: Authorizer,
    pub clock: Clock,
    pub access: Access,
    pub rows: Option<u64>,
    /// In a transaction that was begun to write.
    pub writes: bool,
}

/// How long the statement under way may still work. The progress handler looks at it.
#[derive(Clone)]
pub struct Clock {
    time: Option<Duration>,
    left: Option<Duration>,
    since: Instant,
    began: Instant,
    /// Microseconds after `began`.
    deadline: Arc<AtomicU64>,
    late: Arc<AtomicBool>,
}

impl Clock {
    fn new(time: Option<Duration>) -> Self {
        let now = Instant::now();
        Self {
            time,
            left: None,
            since: now,
            began: now,
            deadline: Arc::new(AtomicU64::new(u64::MAX)),
            late: Arc::default(),
        }
    }

    /// A statement begins.
    pub fn start(&mut self) {
        self.left = self.time;
        self.late.store(false, Ordering::Relaxed);
        self.go_on();
    }

    /// It works again.
    pub fn go_on(&mut self) {
        self.since = Instant::now();
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let deadline = self.left.map_or(u64::MAX, |left| {
            micros((self.since - self.began).saturating_add(left))
        });
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    /// It waits for somebody, or is over.
    pub fn pause(&mut self) {
        self.deadline.store(u64::MAX, Ordering::Relaxed);
        let worked = self.since.elapsed();
        self.left = self.left.map(|left| left.saturating_sub(worked));
    }

    /// Whether its time was over.
    pub fn was_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }

    fn is_late(&self) -> bool {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let late = now >= self.deadline.load(Ordering::Relaxed);
        if late {
            self.late.store(true, Ordering::Relaxed);
        }
        late
    }
}

impl Worker {
    /// Opens the database.
    pub fn open(options: &Options) -> rusqlite::Result<Self> {
        let access = options.access;
        let mode = match access {
            Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::Write | Access::Migrate => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        // No thread but this one uses it.
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&options.database, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "hard_heap_limit", options.memory.cast_signed())?;
        // A quarter for pages, the rest for what a statement does with them.
        let pages = (options.memory / 4 / 1024).min(8 * 1024).cast_signed();
        connection.pragma_update(None, "cache_size", -pages)?;
        // What does not fit in memory is refused: there is no file to take it.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        for (config, on) in [
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
            (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, false),
            (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
            (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        ] {
            connection.set_db_config(config, on)?;
        }
        if access == Access::Migrate {
            log_changes(&connection)?;
        }
        connection.pragma_update(
            None,
            "synchronous",
            if options.full { "FULL" } else { "NORMAL" },
        )?;
        if access == Access::Read {
            connection.pragma_update(None, "query_only", true)?;
        } else {
            let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            let most = options.size.cast_signed() / page.max(1);
            connection.pragma_update(None, "max_page_count", most.max(1))?;
        }
        for (limit, most) in LIMITS {
            connection.set_limit(limit, i32::try_from(most).unwrap_or(i32::MAX))?;
        }
        connection.set_prepared_statement_cache_capacity(PREPARED);
        let clock = Clock::new(options.time);
        let looks = clock.clone();
        connection.progress_handler(LOOK_EVERY, Some(move || looks.is_late()))?;
        let authorizer = Authorizer::default();
        authorizer.install(&mut connection, access)?;
        Ok(Self {
            connection,
            authorizer,
            clock,
            access,
            rows: options.rows,
            writes: false,
        })
    }

    /// Runs a statement of our own, which has no rows.
    pub fn own(&self, sql: &str) -> rusqlite::Result<()> {
        self.authorizer.own(true);
        // Not from the cache, where a caller with the same text would find it.
        let done = self
            .connection
            .prepare(sql)
            .and_then(|mut statement| statement.raw_execute());
        self.authorizer.own(false);
        done.map(drop)
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        !self.connection.is_autocommit()
    }

    /// Begins a transaction.
    pub fn begin(&mut self, write: bool) -> Result<Option<Vec<u8>>, Failure> {
        if self.in_transaction() {
            let why = "a transaction is open already: end that one first";
            return Err(Failure::new(Cause::Sequence, why));
        }
        if write && self.access == Access::Read {
            let why = "the store was opened for reading";
            return Err(Failure::new(Cause::Forbidden, why));
        }
        self.clock.start();
        self.own(if write { "BEGIN IMMEDIATE" } else { "BEGIN" })?;
        self.clock.pause();
        self.writes = write;
        Ok(Some(self.done(0, 0)))
    }

    /// Ends it, by `COMMIT` or `ROLLBACK`.
    pub fn end(&mut self, how: &str) -> Result<Option<Vec<u8>>, Failure> {
        if !self.in_transaction() {
            let why = "no transaction is open";
            return Err(Failure::new(Cause::Sequence, why));
        }
        // What is on its way to the disk is not interrupted.
        self.own(how)?;
        self.writes = false;
        Ok(Some(self.done(0, 0)))
    }

    /// The frame that ends a good answer.
    pub fn done(&self, changes: u64, last_insert_id: i64) -> Vec<u8> {
        frame(Said::Done(Done {
            changes,
            last_insert_id,
            in_transaction: self.in_transaction(),
        }))
    }

    /// The frame that ends a bad answer, and whether the process is not to be used again.
    pub fn failed(&mut self, failure: Failure) -> (bool, Vec<u8>) {
        let spent = matches!(failure.cause, Cause::Memory | Cause::Lost);
        let error = Error {
            cause: failure.cause.into(),
            code: failure.code,
            message: failure.message,
            offset: failure.offset,
            in_transaction: self.in_transaction(),
        };
        (spent && !self.in_transaction(), frame(Said::Error(error)))
    }

    /// Sends the last part of an answer.
    pub fn finish(&mut self, socket: &mut UnixStream, frames: &[u8]) -> io::Result<()> {
        self.end_answer(socket, false, frames)
    }

    /// The same, and says whether the process is not to be used again.
    pub fn end_answer(
        &mut self,
        socket: &mut UnixStream,
        spent: bool,
        frames: &[u8],
    ) -> io::Result<()> {
        let open = self.in_transaction();
        self.writes &= open;
        let mut bits = 0;
        if open {
            bits |= flags::IN_TRANSACTION;
        }
        if spent {
            bits |= flags::SPENT;
        }
        wire::write(socket, FromWorker::Final as u8, &[bits], frames)
    }

    /// What SQLite says, as a caller is told it.
    pub fn explain(&self, error: rusqlite::Error) -> Failure {
        let mut failure = Failure::from(error);
        if let Some(why) = self.authorizer.why() {
            failure.cause = Cause::Forbidden;
            failure.message = why;
        } else if self.clock.was_late() {
            failure.cause = Cause::Time;
            "the statement worked for longer than the limit `time`"
                .clone_into(&mut failure.message);
        }
        failure
    }
}

/// Has changes written to a log first, which is what lets one write while others read. The database
/// says so itself from then on.
fn log_changes(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        // The file that would keep what the first page was is none that can be opened here.
        connection.pragma_update(None, "journal_mode", "MEMORY")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
    }
    Ok(())
}

/// The frame of a message.
pub fn frame(said: Said) -> Vec<u8> {
    let response = Response {
        response: Some(said),
    };
    let length = response.encoded_len();
    let mut frame = Vec::with_capacity(4 + length);
    frame.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    response.encode(&mut frame).expect("a vector grows");
    frame
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let said = match &error {
            rusqlite::Error::SqlInputError { error, .. } => Some(*error),
            rusqlite::Error::SqliteFailure(error, _) => Some(*error),
            _ => None,
        };
        let code = said.map(|said| said.code);
        let (message, offset) = match &error {
            rusqlite::Error::SqlInputError { msg, offset, .. } => {
                (msg.clone(), u32::try_from(*offset).ok())
            }
            rusqlite::Error::SqliteFailure(_, Some(message)) => (message.clone(), None),
            rusqlite::Error::MultipleStatement => (
                "there is more than one statement: send one at a time".to_owned(),
                None,
            ),
            error => (error.to_string(), None),
        };
        let cause = match code {
            Some(ErrorCode::OutOfMemory | ErrorCode::TooBig) => Cause::Memory,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Cause::Busy,
            Some(ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly) => {
                Cause::Forbidden
            }
            Some(ErrorCode::OperationInterrupted) => Cause::Time,
            _ => Cause::Statement,
        };
        let message = match code {
            Some(ErrorCode::OutOfMemory) => {
                "the statement takes more than the limit `memory`".to_owned()
            }
            Some(ErrorCode::TooBig) => {
                format!(
                    "a value or a statement is too large: a value has at most {MAX_VALUE} bytes"
                )
            }
            Some(ErrorCode::DiskFull) => {
                format!("{message}: the limit `size` of the store, or the disk")
            }
            _ => message,
        };
        Self {
            cause,
            code: said.map_or(0, |said| said.extended_code),
            message,
            offset,
        }
    }
}
