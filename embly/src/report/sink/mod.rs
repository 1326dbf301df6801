//! Where lines go beside the output: files that are rotated, and syslog. Each has a thread and a queue
//! with bounds: one that is slow loses lines, which are counted, and never holds up whoever reports.

mod file;
mod syslog;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Event, Level, PAUSE, Reporter};
use crate::telemetry::Counter;
pub use syslog::{Address, FACILITIES};

/// So many lines wait for a sink.
const QUEUE_LINES: usize = 4_096;

/// And so many bytes.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// A sink that cannot be written is tried again after this time.
const RETRY: Duration = Duration::from_secs(1);

/// All sinks together get so long to write what waits when the master ends, or they are replaced.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// Where lines go, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkPlan {
    /// Unique among the sinks of a project.
    pub name: String,
    /// The least that matters enough.
    pub level: Level,
    /// Only what is about these functions.
    pub functions: Option<BTreeSet<String>>,
    /// Where to.
    pub target: Target,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file.
    File {
        /// Relative to the state folder in a project file, absolute when it is opened.
        path: PathBuf,
        /// How its lines look.
        wording: Wording,
        /// When a new one is begun; `None`: never.
        rotate: Option<Rotate>,
    },
    /// Syslog, RFC 5424.
    Syslog {
        /// Who listens.
        address: Address,
        /// Its number.
        facility: u8,
    },
}

/// How the lines of a file look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wording {
    /// For people.
    Text,
    /// An event each, with its time.
    Json,
}

/// When a file is full, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// A file that would have more bytes is moved away.
    pub size: u64,
    /// So many that were moved away are kept: `NAME.1` is the last of them.
    pub keep: u32,
}

impl Default for Rotate {
    fn default() -> Self {
        Self {
            size: 10 * 1024 * 1024,
            keep: 5,
        }
    }
}

/// A sink cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("log `{name}`: cannot write `{}`: {source}", path.display())]
pub struct SinkError {
    name: String,
    path: PathBuf,
    source: io::Error,
}

/// The sinks of a project.
#[derive(Debug, Default)]
pub(super) struct Sinks {
    /// There are some, so that nothing is done for none.
    any: AtomicBool,
    open: RwLock<Vec<Sink>>,
}

/// Sinks that were opened and do not get lines yet.
#[derive(Debug)]
pub struct Opened(Vec<Sink>);

#[derive(Debug, Clone)]
struct Sink {
    plan: Arc<SinkPlan>,
    queue: Arc<Queue>,
}

/// A line for a sink.
#[derive(Debug)]
struct Line {
    level: Level,
    /// What it is about, for syslog.
    kind: &'static str,
    time: Timestamp,
    text: String,
}

/// Lines on their way to a sink.
#[derive(Debug)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    dropped: Arc<Counter>,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: VecDeque<Line>,
    bytes: usize,
    /// Lines that there was no room for since that was last said.
    dropped: u64,
    reopen: bool,
    closed: bool,
    /// The thread has ended.
    done: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in here panics between two changes that belong together.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Line) {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + line.text.len();
        if waiting.lines.len() >= QUEUE_LINES || bytes > QUEUE_BYTES || waiting.closed {
            waiting.dropped += 1;
            self.dropped.add(1);
            return;
        }
        waiting.bytes = bytes;
        waiting.lines.push_back(line);
        drop(waiting);
        self.changed.notify_all();
    }

    /// Puts back what could not be written, and waits a while, or until all is to end: false then.
    fn retry(&self, line: Option<Line>) -> bool {
        let mut waiting = self.lock();
        if let Some(line) = line {
            waiting.bytes += line.text.len();
            waiting.lines.push_front(line);
        }
        let until = Instant::now() + RETRY;
        while !waiting.closed && !waiting.reopen {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let changed = self.changed.wait_timeout(waiting, left);
            (waiting, _) = changed.unwrap_or_else(PoisonError::into_inner);
        }
        !waiting.closed
    }

    fn tell(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn close(&self) {
        self.tell(|waiting| waiting.closed = true);
    }

    /// Waits until the thread has ended; false where it takes too long.
    fn is_done(&self, until: Instant) -> bool {
        let mut waiting = self.lock();
        while !waiting.done {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let changed = self.changed.wait_timeout(waiting, left);
            (waiting, _) = changed.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

impl SinkPlan {
    fn takes(&self, event: &Event<'_>) -> bool {
        // Access lines have files of their own.
        if matches!(event, Event::Access(_)) || event.weight() < self.level {
            return false;
        }
        let Some(functions) = &self.functions else {
            return true;
        };
        let (function, _) = event.about();
        function.is_some_and(|function| functions.contains(function))
    }

    fn line(&self, event: &Event<'_>) -> Option<Line> {
        let time = Timestamp::now();
        let level = event.weight();
        let text = match &self.target {
            Target::File {
                wording: Wording::Json,
                ..
            } => {
                // Numbers and strings always have a JSON form.
                let json = serde_json::to_string(event).unwrap_or_default();
                let object = json.strip_prefix('{').unwrap_or("}");
                format!("{{\"time\":\"{time:.6}\",{object}\n")
            }
            Target::File { .. } => {
                format!(
                    "{time:.6} {} {}\n",
                    level.name(),
                    super::text::plain(event)?
                )
            }
            Target::Syslog { .. } => super::text::plain(event)?,
        };
        Some(Line {
            level,
            kind: event.kind(),
            time,
            text,
        })
    }
}

impl Sinks {
    /// Whether one of them wants this event.
    pub fn want(&self, event: &Event<'_>) -> bool {
        self.any.load(Ordering::Relaxed)
            && self.read(|sinks| sinks.iter().any(|it| it.plan.takes(event)))
    }

    /// Takes an event without secrets.
    pub fn take(&self, event: &Event<'_>) {
        self.read(|sinks| {
            for sink in sinks.iter().filter(|sink| sink.plan.takes(event)) {
                if let Some(line) = sink.plan.line(event) {
                    sink.queue.push(line);
                }
            }
        });
    }

    fn read<T>(&self, look: impl FnOnce(&[Sink]) -> T) -> T {
        look(&self.open.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens what was not open, so that it can be used from [`Sinks::set`] on.
    pub fn open(&self, plans: &[SinkPlan], reporter: &Reporter) -> Result<Opened, SinkError> {
        let mut opened = Vec::new();
        for plan in plans {
            let same = |sinks: &[Sink]| sinks.iter().find(|it| *it.plan == *plan).cloned();
            match self.read(same) {
                Some(sink) => opened.push(sink),
                None => opened.push(start(plan.clone(), reporter)?),
            }
        }
        Ok(Opened(opened))
    }

    /// Lines go there from now on, and nowhere else. What waits for the others is still written.
    /// Returns what is there.
    pub fn set(&self, mut opened: Opened) -> Vec<Arc<SinkPlan>> {
        let sinks = std::mem::take(&mut opened.0);
        let plans: Vec<_> = sinks.iter().map(|sink| Arc::clone(&sink.plan)).collect();
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *open, sinks);
        for old in before {
            if !open.iter().any(|new| Arc::ptr_eq(&new.queue, &old.queue)) {
                old.queue.close();
            }
        }
        self.any.store(!open.is_empty(), Ordering::Relaxed);
        plans
    }

    /// Files may have been moved away.
    pub fn reopen(&self) {
        self.read(|sinks| {
            for sink in sinks {
                sink.queue.tell(|waiting| waiting.reopen = true);
            }
        });
    }

    /// Waits until all is written, for a while. Returns those that are not done, with how many lines
    /// they had left.
    pub fn finish(&self) -> Vec<(String, usize)> {
        let sinks = std::mem::take(&mut *self.open.write().unwrap_or_else(PoisonError::into_inner));
        self.any.store(false, Ordering::Relaxed);
        sinks.iter().for_each(|sink| sink.queue.close());
        let until = Instant::now() + FINISH_WITHIN;
        let late = sinks.iter().filter(|sink| !sink.queue.is_done(until));
        late.map(|sink| (sink.plan.name.clone(), sink.queue.lock().lines.len()))
            .collect()
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // What was opened for a project that is not served after all. One that is in use is held by
        // others as well: its thread has a clone of the queue, and so has the list.
        for sink in &self.0 {
            if Arc::strong_count(&sink.plan) == 1 {
                sink.queue.close();
            }
        }
    }
}

/// Writes lines somewhere.
trait Write: Send {
    /// Writes a line, all of it or nothing that is to be kept.
    fn write(&mut self, line: &Line) -> io::Result<()>;

    /// All that was written so far is there.
    fn flush(&mut self) -> io::Result<()>;

    /// What is written from now on goes to what has this name then.
    fn reopen(&mut self) -> io::Result<()>;
}

fn start(plan: SinkPlan, reporter: &Reporter) -> Result<Sink, SinkError> {
    let failed = |path: &PathBuf, source| SinkError {
        name: plan.name.clone(),
        path: path.clone(),
        source,
    };
    let writer: Box<dyn Write> = match &plan.target {
        Target::File { path, rotate, .. } => {
            let file = file::File::open(path, *rotate).map_err(|error| failed(path, error))?;
            Box::new(file)
        }
        Target::Syslog { address, facility } => {
            Box::new(syslog::Syslog::new(address.clone(), *facility))
        }
    };
    let queue = Arc::new(Queue {
        waiting: Mutex::default(),
        changed: Condvar::new(),
        dropped: reporter.telemetry().log(&plan.name),
    });
    let thread = Thread {
        name: plan.name.clone(),
        queue: Arc::clone(&queue),
        reporter: reporter.weak(),
        writer,
        fails: false,
    };
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || {
            // Otherwise it may be woken at the end of each process, only to wake another thread.
            let _ = embly_wrapper::process::block_child_signals();
            thread.run();
        })
        .map_err(|error| failed(&PathBuf::new(), error))?;
    Ok(Sink {
        plan: Arc::new(plan),
        queue,
    })
}

/// The thread of a sink.
struct Thread {
    name: String,
    queue: Arc<Queue>,
    reporter: Weak<super::Shared>,
    writer: Box<dyn Write>,
    /// The last line could not be written, which was said.
    fails: bool,
}

impl Thread {
    fn run(mut self) {
        while self.turn() {}
        self.queue.tell(|waiting| waiting.done = true);
    }

    /// Writes what waits; false at the end.
    fn turn(&mut self) -> bool {
        let mut waiting = self.queue.lock();
        // After a failure there may be nothing but what was not flushed.
        while waiting.lines.is_empty() && !waiting.reopen && !self.fails {
            if waiting.closed {
                return false;
            }
            let changed = self.queue.changed.wait(waiting);
            waiting = changed.unwrap_or_else(PoisonError::into_inner);
        }
        let reopen = std::mem::take(&mut waiting.reopen);
        drop(waiting);
        if reopen && let Err(error) = self.writer.reopen() {
            let name = &self.name;
            self.warn(format!(
                "log `{name}` cannot be opened anew: {error}; its lines go where they went before"
            ));
        }
        self.lines()
    }

    fn lines(&mut self) -> bool {
        loop {
            let mut waiting = self.queue.lock();
            let Some(line) = waiting.lines.pop_front() else {
                break;
            };
            waiting.bytes -= line.text.len();
            drop(waiting);
            if let Err(error) = self.writer.write(&line) {
                return self.failed(&error, Some(line));
            }
        }
        if let Err(error) = self.writer.flush() {
            return self.failed(&error, None);
        }
        self.say_dropped();
        // Lines of this time are collected.
        thread::sleep(PAUSE);
        true
    }

    fn failed(&mut self, error: &io::Error, line: Option<Line>) -> bool {
        if !std::mem::replace(&mut self.fails, true) {
            let name = &self.name;
            self.warn(format!(
                "log `{name}` cannot be written: {error}; it is tried again each second, and lines for \
                 which there is no room are dropped"
            ));
        }
        self.queue.retry(line)
    }

    /// It is written again: what was lost is said, there and to whoever runs the master.
    fn say_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.queue.lock().dropped);
        let failed = std::mem::take(&mut self.fails);
        if dropped == 0 {
            if failed {
                self.warn(format!("log `{}` is written again", self.name));
            }
            return;
        }
        let name = &self.name;
        let why = if failed {
            "it could not be written"
        } else {
            "it is too slow"
        };
        let text = format!("{dropped} lines for log `{name}` were dropped, {why}");
        // Each of its lines has this form, so that one that reads them finds it.
        if let Some(reporter) = self.reporter.upgrade().map(Reporter::of) {
            reporter.warn(&text);
            let event = Event::Message {
                level: Level::Warn,
                text: &text,
            };
            reporter.shared.sinks.read(|sinks| {
                let own = sinks
                    .iter()
                    .find(|sink| Arc::ptr_eq(&sink.queue, &self.queue));
                // A sink that takes what the master says has it already.
                if let Some(sink) = own.filter(|sink| !sink.plan.takes(&event))
                    && let Some(line) = sink.plan.line(&event)
                {
                    sink.queue.push(line);
                }
            });
        }
    }

    fn warn(&self, text: String) {
        if let Some(reporter) = self.reporter.upgrade().map(Reporter::of) {
            reporter.warn(text);
        }
    }
}
