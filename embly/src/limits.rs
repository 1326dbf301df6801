//! What one invocation of a function may use, and the defaults.
//!
//! The project file changes the defaults key by key; `none` there is `None` here.

use std::time::Duration;

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

/// Longest time that can be set. Adding it to any clock reading cannot overflow.
pub const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const _: () = assert!(MEMORY <= MEMORY_MAX && MEMORY >= MEMORY_MIN);
const _: () = assert!(REQUEST_HEAD as u64 >= REQUEST_HEAD_MIN);
const _: () = assert!(REQUEST_HEAD as u64 <= REQUEST_HEAD_MAX);
const _: () = assert!(LOG_LINE as u64 >= LOG_LINE_MIN && LOG_LINE as u64 <= LOG_LINE_MAX);
const _: () = assert!(LOG_LINE_MAX < protos::frame::MAX_MESSAGE_BYTES as u64 - KIB);
const _: () = assert!(CPU.as_secs() <= CPU_WINDOW.as_secs());

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
            },
            background: Some(BACKGROUND),
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
