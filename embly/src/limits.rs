//! What one invocation of a function may use, and the defaults.
//!
//! The project file changes the defaults key by key; `none` there is `None` here.

use std::time::Duration;

use protos::Severity;
use protos::credit::MAX_WINDOW;
pub use protos::credit::MIN_WINDOW as WINDOW_MIN;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The CPU limit counts the CPU time used in any stretch of this length, so that a
/// connection that lives for days is judged like a request that lives for seconds.
pub const CPU_WINDOW: Duration = Duration::from_secs(60);

/// Linear memory: room for a usual handler with its buffers, and still hundreds of
/// invocations side by side on a small server.
pub const MEMORY: u64 = 128 * MIB;

/// A memory of wasm32 has 65,536 pages of 64 KiB; no limit above this means anything.
pub const MEMORY_MAX: u64 = 4096 * MIB;

/// One page of wasm memory; below it no module that has a memory starts.
pub const MEMORY_MIN: u64 = 64 * KIB;

/// CPU time in a [`CPU_WINDOW`]: a sixth of a core for good, or a burst of 10 s.
pub const CPU: Duration = Duration::from_secs(10);

/// Time from an HTTP request to the head of its response: what browsers and proxies
/// in front commonly wait.
pub const WALL_HTTP: Duration = Duration::from_secs(30);

/// Time from the start of a run by cron to its end: longer than a request, shorter than what goes
/// unnoticed for a day.
pub const WALL_CRON: Duration = Duration::from_secs(5 * 60);

/// Time without a byte either way, for TCP connections and for HTTP after the head of
/// the response: shorter than the idle timeouts of home routers and load balancers.
pub const IDLE: Duration = Duration::from_secs(60);

/// Request line and headers: four times what large cookies need in practice.
pub const REQUEST_HEAD: u32 = 64 * KIB as u32;

/// Smallest head limit that can be set: a browser's ordinary request fits.
pub const REQUEST_HEAD_MIN: u64 = KIB;

/// Largest head limit that can be set; a head is buffered whole before anything runs.
pub const REQUEST_HEAD_MAX: u64 = 16 * MIB;

/// Request body: photos and forms pass, uploads are a decision of the project.
pub const REQUEST_BODY: u64 = 10 * MIB;

/// Invocations of one function at the same time, each a process of its own.
pub const CONCURRENCY: u32 = 256;

/// Children of one invocation that live at the same time.
pub const CHILDREN: u32 = 64;

/// Levels below a gateway; a function that starts itself ends here.
pub const DEPTH: u32 = 16;

/// Invocations of all levels below one that a gateway starts: what a fan-out of a few levels
/// needs, little enough that one request cannot fill the machine.
pub const TREE: u32 = 1000;

/// Requests of one function that wait for room: at a few milliseconds each they are served
/// within [`QUEUE_WAIT`].
pub const QUEUE_LENGTH: u32 = 1024;

/// How long a request waits for room: what a person still takes for an answer.
pub const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// Bytes under way on a stream, per direction, and so the largest frame.
pub const WINDOW: u32 = MAX_WINDOW;

/// Lines of one invocation's log in a second: more than anybody reads.
pub const LOG_LINES: u32 = 1000;

/// Bytes of a line of the log: a stack trace in JSON fits.
pub const LOG_LINE: u32 = 16 * KIB as u32;

/// Shortest line that can be set: below it every word would be a line.
pub const LOG_LINE_MIN: u64 = 64;

/// Longest line that can be set: it has to fit in a message.
pub const LOG_LINE_MAX: u64 = 256 * KIB;

/// Time after a response is complete: for a last line of the log, or a word to a child.
pub const BACKGROUND: Duration = Duration::from_secs(10);

/// Entries of a store of type `kv`, with 64 bytes for each: what a small machine has room for beside
/// everything else.
pub const KV_SIZE: u64 = 1024 * MIB;

/// The smallest size of a store that can be set: one entry of any size fits.
pub const STORE_SIZE_MIN: u64 = MIB;

/// Writes, and checks, of one batch: the others of the store wait for it.
pub const KV_BATCH: u32 = 1000;

/// The most that can be set: a message has no room for many more.
pub const KV_BATCH_MAX: u32 = 10_000;

/// Entries of one page of a list.
pub const KV_PAGE: u32 = 1000;

/// The most that can be set: others wait for the thread that reads it.
pub const KV_PAGE_MAX: u32 = 10_000;

/// Watches of one stream: each looks at every change of the store.
pub const KV_WATCHES: u32 = 16;

/// The most that can be set.
pub const KV_WATCHES_MAX: u32 = 128;

/// Changes of one stream that wait to be durable: what a group commit needs of one that has much
/// to write.
pub const KV_PENDING: u32 = 64;

/// The most that can be set.
pub const KV_PENDING_MAX: u32 = 1024;

/// Memory of SQLite for a statement: a sort of some 100,000 rows fits.
pub const SQL_MEMORY: u32 = 64 * MIB as u32;

/// Smallest memory of SQLite that can be set: below it a schema of some size does not fit.
pub const SQL_MEMORY_MIN: u64 = 8 * MIB;

/// Largest memory of SQLite that can be set: each statement that runs is a process of its own.
pub const SQL_MEMORY_MAX: u64 = 2048 * MIB;

/// Time that a statement works: longer than a person waits, and a hundred times what one on an
/// index takes.
pub const SQL_TIME: Duration = Duration::from_secs(5);

/// Time in which others cannot write: half of [`SQL_WAIT`], so that who waits has its turn.
pub const SQL_TRANSACTION: Duration = Duration::from_secs(5);

/// Time that an old state of a store is kept for who reads it: what is changed meanwhile takes
/// space beside it.
pub const SQL_READ: Duration = Duration::from_secs(60);

/// Time until its turn to write comes, or a process is free.
pub const SQL_WAIT: Duration = Duration::from_secs(10);

/// Processes of a function for each store: on few processors more are not faster.
pub const SQL_CONNECTIONS: u32 = 8;

/// The most that can be set.
pub const SQL_CONNECTIONS_MAX: u32 = 64;

/// Bytes of a SQL store: no disk is filled by mistake.
pub const SQL_SIZE: u64 = 4096 * MIB;

/// Parked wrappers of a function that is called now and then: its next request does not wait for
/// a fork.
pub const PARKED_MIN: u32 = 1;

/// The most: a burst of one for each, at some 100 KiB of memory.
pub const PARKED_MAX: u32 = 64;

/// Time without a call until a function is put away: a person who reads a page comes back earlier.
pub const PARKED_AFTER: Duration = Duration::from_secs(60);

const _: () = assert!(PARKED_MIN <= PARKED_MAX);

/// Invocations that one process serves with `isolation: function`: what its allocator has kept by
/// then is given back, at no cost that could be measured.
pub const REUSE_INVOCATIONS: u32 = 10_000;

/// How long such a process lives: whatever might go wrong in one does not last.
pub const REUSE_AGE: Duration = Duration::from_secs(10 * 60);

/// Until a connection to another server stands, with the look-up of its name and TLS: three tries of
/// a lost packet, and a person still waits.
pub const TCP_CONNECT: Duration = Duration::from_secs(10);

/// Time without a byte either way on a connection to another server: less than the 350 s after
/// which gateways of clouds forget it without a word.
pub const TCP_IDLE: Duration = Duration::from_secs(5 * 60);

/// Connections of one function to other servers, all its invocations together: one for each that
/// there can be by default.
pub const TCP_CONNECTIONS: u32 = CONCURRENCY;
/// Until a connection to another server stands, with the look-up of its name and TLS: three of the
/// retries of a lost packet, and a person still waits.
pub const HTTP_CONNECT: Duration = Duration::from_secs(10);

/// From a request that was sent to the head of the response: as long as a client of ours waits for
/// its own, see [`WALL_HTTP`].
pub const HTTP_HEAD: Duration = Duration::from_secs(30);

/// Bodies of requests to other servers, and of their responses: some documents and pictures pass,
/// a download of a disk is a decision of the project.
pub const HTTP_BODY: u64 = 100 * MIB;

/// Head of a response, with the interim ones before it: as much as clients may send us.
pub const HTTP_HEAD_SIZE: u32 = REQUEST_HEAD;

/// Smallest that can be set: what the library that reads heads can be told.
pub const HTTP_HEAD_MIN: u64 = 8 * KIB;

/// Largest that can be set.
pub const HTTP_HEAD_MAX: u64 = MIB;

/// Redirects that are followed: half of what browsers do, and more than any honest chain has.
pub const HTTP_REDIRECTS: u32 = 10;

/// The most that can be set: a chain that is longer is a loop.
pub const HTTP_REDIRECTS_MAX: u32 = 50;

/// Connections of one function to other servers, those that wait in the pool with them: a quarter
/// of the invocations that there can be by default, of which few ask at the same moment.
pub const HTTP_CONNECTIONS: u32 = 64;

/// Longest time that can be set. Adding it to any clock reading cannot overflow.
pub const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const _: () = assert!(MEMORY <= MEMORY_MAX && MEMORY >= MEMORY_MIN);
const _: () = assert!(REQUEST_HEAD as u64 >= REQUEST_HEAD_MIN);
const _: () = assert!(REQUEST_HEAD as u64 <= REQUEST_HEAD_MAX);
const _: () = assert!(LOG_LINE as u64 >= LOG_LINE_MIN && LOG_LINE as u64 <= LOG_LINE_MAX);
const _: () = assert!(LOG_LINE_MAX < protos::frame::MAX_MESSAGE_BYTES as u64 - KIB);
const _: () = assert!(HTTP_HEAD_SIZE as u64 >= HTTP_HEAD_MIN);
const _: () = assert!(HTTP_HEAD_SIZE as u64 <= HTTP_HEAD_MAX);
const _: () = assert!(HTTP_REDIRECTS <= HTTP_REDIRECTS_MAX);
const _: () = assert!(CPU.as_secs() <= CPU_WINDOW.as_secs());
const _: () = assert!(SQL_MEMORY as u64 >= SQL_MEMORY_MIN && SQL_MEMORY as u64 <= SQL_MEMORY_MAX);
const _: () = assert!(SQL_TRANSACTION.as_secs() < SQL_WAIT.as_secs());
const _: () = assert!(SQL_CONNECTIONS <= SQL_CONNECTIONS_MAX);

/// The limits of one function. `None` lifts a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, all memories together.
    pub memory: Option<u64>,
    /// CPU time in any [`CPU_WINDOW`].
    pub cpu: Option<Duration>,
    /// Time from the start: for HTTP to the head of the response, otherwise to the exit.
    pub wall: Span,
    /// Time without a byte in either direction.
    pub idle: Span,
    /// Time from the start to the exit, whatever started it.
    pub total: Option<Duration>,
    /// Bytes of request line and headers. Always limited: a head is held in memory.
    pub request_head: u32,
    /// Bytes of a request body.
    pub request_body: Option<u64>,
    /// Bytes of a response body.
    pub response_body: Option<u64>,
    /// Invocations at the same time.
    pub concurrency: Option<u32>,
    /// Requests that wait for one of them to end.
    pub queue: Queue,
    /// Live children of one invocation.
    pub children: Option<u32>,
    /// Levels of invocations below a gateway.
    pub depth: Option<u32>,
    /// Invocations of all levels below one that a gateway starts, at the same time.
    pub tree: Option<u32>,
    /// Bytes under way on each stream, per direction.
    pub window: u32,
    /// What it may write to its log.
    pub log: Log,
    /// Time after the response is complete.
    pub background: Option<Duration>,
    /// Its connections to others.
    pub tcp: TcpLimits,
    /// What it asks of others over HTTP.
    pub http: HttpLimits,
    /// What it may ask of key-value stores.
    pub kv: Kv,
    /// What it may use of SQL stores.
    pub sql: Sql,
}

/// What a function may use of the service `embly/tcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// Time until a connection stands.
    pub connect: Option<Duration>,
    /// Time without a byte either way.
    pub idle: Option<Duration>,
    /// Connections of all its invocations together.
    pub connections: Option<u32>,
}

/// What a function may use of the service `embly/http`. Each but the last is for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// Time until a connection stands.
    pub connect: Option<Duration>,
    /// Time from a request that was sent to the head of its response.
    pub head: Option<Duration>,
    /// Time for all of a call.
    pub time: Option<Duration>,
    /// Time without a byte of either body.
    pub idle: Option<Duration>,
    /// Bytes of a request's body.
    pub request_body: Option<u64>,
    /// Bytes of the head of a response.
    pub response_head: u32,
    /// Bytes of a response's body, after it was decompressed.
    pub response_body: Option<u64>,
    /// Redirects that are followed.
    pub redirects: u32,
    /// Connections of all its invocations together.
    pub connections: Option<u32>,
}

impl Default for TcpLimits {
    fn default() -> Self {
        Self {
            connect: Some(TCP_CONNECT),
            idle: Some(TCP_IDLE),
            connections: Some(TCP_CONNECTIONS),
        }
    }
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect: Some(HTTP_CONNECT),
            head: Some(HTTP_HEAD),
            time: None,
            idle: Some(IDLE),
            request_body: Some(HTTP_BODY),
            response_head: HTTP_HEAD_SIZE,
            response_body: Some(HTTP_BODY),
            redirects: HTTP_REDIRECTS,
            connections: Some(HTTP_CONNECTIONS),
        }
    }
}

/// What a function may ask of key-value stores, on each stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kv {
    /// Writes and checks of a batch.
    pub batch: u32,
    /// Entries of a page.
    pub page: u32,
    /// Watches at the same time.
    pub watches: u32,
    /// Changes without an answer.
    pub pending: u32,
}

/// What a function may use of each SQL store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sql {
    /// Bytes of memory of SQLite for a statement. Always limited: a process takes it.
    pub memory: u32,
    /// Time that a statement may work.
    pub time: Option<Duration>,
    /// Time that a transaction may be open in which others cannot write.
    pub transaction: Option<Duration>,
    /// Time that any other transaction may be open, and the rows of a statement may take.
    pub read: Option<Duration>,
    /// Time that it waits for others that write, or for a process.
    pub wait: Option<Duration>,
    /// Rows that a statement may give.
    pub rows: Option<u32>,
    /// Statements and transactions of all its invocations together, at the same time.
    pub connections: u32,
}

impl Default for Sql {
    fn default() -> Self {
        Self {
            memory: SQL_MEMORY,
            time: Some(SQL_TIME),
            transaction: Some(SQL_TRANSACTION),
            read: Some(SQL_READ),
            wait: Some(SQL_WAIT),
            rows: None,
            connections: SQL_CONNECTIONS,
        }
    }
}

/// Requests that wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many may wait.
    pub length: Option<u32>,
    /// How long each may wait.
    pub wait: Option<Duration>,
}

/// What an invocation may write to its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// Lines in a second.
    pub lines: Option<u32>,
    /// Bytes of one line; longer ones are cut in pieces.
    pub line: u32,
    /// The least severe lines that are wanted.
    pub severity: Severity,
}

impl Limits {
    /// These, and what a connection needs so that requests of either may come on it.
    pub fn widest_connection(mut self, other: &Self) -> Self {
        self.request_head = self.request_head.max(other.request_head);
        self.idle = match (self.idle.or(Some(IDLE)), other.idle.or(Some(IDLE))) {
            (Some(a), Some(b)) => Span::Of(a.max(b)),
            _ => Span::None,
        };
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: Some(MEMORY),
            cpu: Some(CPU),
            wall: Span::Default,
            idle: Span::Default,
            total: None,
            request_head: REQUEST_HEAD,
            request_body: Some(REQUEST_BODY),
            response_body: None,
            concurrency: Some(CONCURRENCY),
            queue: Queue {
                length: Some(QUEUE_LENGTH),
                wait: Some(QUEUE_WAIT),
            },
            children: Some(CHILDREN),
            depth: Some(DEPTH),
            tree: Some(TREE),
            window: WINDOW,
            log: Log {
                lines: Some(LOG_LINES),
                line: LOG_LINE,
                severity: Severity::Info,
            },
            background: Some(BACKGROUND),
            tcp: TcpLimits::default(),
            http: HttpLimits::default(),
            kv: Kv {
                batch: KV_BATCH,
                page: KV_PAGE,
                watches: KV_WATCHES,
                pending: KV_PENDING,
            },
            sql: Sql::default(),
        }
    }
}

/// Wrappers of a function that wait for a request: forked, jailed, connected, instantiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parked {
    /// So many as long as the function is called now and then.
    pub min: u32,
    /// So many at most, for bursts.
    pub max: u32,
    /// When nobody has called it for so long there are none, and no fork server.
    pub after: Option<Duration>,
}

impl Parked {
    /// What holds where nothing else is said. Processes that serve again wait between two
    /// invocations, all that there are at once: one that finds no place ends, and another is forked
    /// for the next request.
    pub fn of(isolation: Isolation, concurrency: Option<u32>) -> Self {
        let max = match isolation {
            Isolation::Invocation => PARKED_MAX,
            Isolation::Function(_) => concurrency.unwrap_or(CONCURRENCY).max(PARKED_MAX),
        };
        Self {
            min: PARKED_MIN,
            max,
            after: Some(PARKED_AFTER),
        }
    }
}

/// Whether a process serves one invocation or several, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// One: it is used once.
    #[default]
    Invocation,
    /// Several of the same function version, each with an instance of its own.
    Function(Reuse),
}

/// When a process that serves several invocations is replaced, beside after any ending but an
/// exit with 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reuse {
    /// After so many.
    pub invocations: Option<u32>,
    /// After this time.
    pub age: Option<Duration>,
}

impl Default for Reuse {
    fn default() -> Self {
        Self {
            invocations: Some(REUSE_INVOCATIONS),
            age: Some(REUSE_AGE),
        }
    }
}

/// A time limit whose default depends on what started the invocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    /// Not set: the starter decides ([`WALL_HTTP`], [`IDLE`], or no limit).
    #[default]
    Default,
    /// Set to `none`: no limit.
    None,
    /// Set to this time.
    Of(Duration),
}

impl Span {
    /// The time that applies where `default` is the starter's own; `None` is no limit.
    pub fn or(self, default: Option<Duration>) -> Option<Duration> {
        match self {
            Span::Default => default,
            Span::None => None,
            Span::Of(time) => Some(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unset_time_is_the_starters_and_none_lifts_it() {
        assert_eq!(Span::Default.or(Some(WALL_HTTP)), Some(WALL_HTTP));
        assert_eq!(Span::Default.or(None), None);
        assert_eq!(Span::None.or(Some(WALL_HTTP)), None);
        assert_eq!(Span::Of(CPU).or(None), Some(CPU));
    }
}
