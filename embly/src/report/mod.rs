//! What people and programs are told: lines on stderr for people, JSON events on stdout.
//!
//! One thread writes. Whoever reports never waits for a slow terminal or pipe: what does not
//! fit in the queue is dropped and counted.

mod access_log;
mod appender;
mod event;
mod feed;
mod often;
mod short;
mod sink;
mod text;
mod wrap;

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;

pub use access_log::{AccessLog, LineFormat, Visit};
pub use appender::{Appender, Lines};
pub use event::{Access, BuildState, Event, Left, Level, Used, describe};
use feed::Feed;
pub use feed::{Follower, Wanted};
pub use often::Often;
use rustix::termios::tcgetwinsize;
use sink::Sinks;
pub use sink::{Address, FACILITIES, Opened, Rotate, SinkError, SinkPlan, Target, Wording};
pub use text::{elapsed, escape, fit, typed, without_colours, word};
pub use wrap::{wrap, wrapped};

use crate::secrets::Masks;
use crate::telemetry::Telemetry;

/// Lines that may wait for a slow reader. What comes with each request is dropped first.
const QUEUE: usize = 16 * 1024;

/// Lines that may wait in all, so that words are heard in a flood.
const QUEUE_FOR_WORDS: usize = 2 * QUEUE;

/// Bytes that may wait, of lines that come with requests; twice as many in all. Lines of the log
/// can be long.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// How the line of a backtrace begins that says where a function was.
const AT: &str = "        at ";

/// How events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Lines for people, on stderr.
    #[default]
    Text,
    /// A JSON object a line, on stdout; problems also as text on stderr.
    Json,
}

/// What to show.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How.
    pub format: Format,
    /// Colour, where text goes to a terminal.
    pub color: bool,
    /// Also what is usually of no interest.
    pub verbose: bool,
    /// Only problems.
    pub quiet: bool,
}

impl Options {
    /// Whether stderr shows colour: a terminal, and nobody said otherwise.
    pub fn terminal_color(no_color: bool) -> bool {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        !no_color && !unwanted && io::stderr().is_terminal()
    }
}

enum Line {
    Out(String),
    Err(String),
    /// What goes on, for the last line of a terminal.
    Status(Option<String>),
    /// What stands there when nothing goes on.
    Bar(Option<String>),
}

impl Line {
    fn bytes(&self) -> usize {
        match self {
            Self::Out(text)
            | Self::Err(text)
            | Self::Status(Some(text))
            | Self::Bar(Some(text)) => text.len(),
            Self::Status(None) | Self::Bar(None) => 0,
        }
    }
}

/// Reports. Clones share the thread that writes.
#[derive(Debug, Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    lines: Mutex<Option<Sender<Line>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    waiting: Arc<Waiting>,
    dropped: AtomicU64,
    /// Whether lines for people are of one function only, and of which.
    chooses: AtomicBool,
    chosen: Mutex<Option<String>>,
    /// Whether such lines are held back, and those that are.
    holds: AtomicBool,
    held: Mutex<Held>,
    /// What is taken out of all of it.
    masks: Arc<Masks>,
    /// The project's folder, with `/` at its end.
    root: OnceLock<String>,
    /// Who follows a running master.
    feed: Arc<Feed>,
    /// Where lines go beside the output.
    sinks: Sinks,
    /// What was reported, as numbers.
    telemetry: Arc<Telemetry>,
    /// Lines for people go to a terminal.
    terminal: bool,
}

impl Shared {
    /// There is no room for a line.
    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.telemetry.lines_dropped.add(1);
    }
}

/// So many lines are held back.
const HELD: usize = 1_000;

/// Lines that are held back, and how many of the first were dropped.
#[derive(Debug, Default)]
struct Held {
    lines: VecDeque<String>,
    dropped: usize,
}

impl Held {
    fn push(&mut self, line: String) {
        if self.lines.len() == HELD {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(line);
    }

    fn into_text(self) -> String {
        let Self { lines, dropped } = self;
        let first = (dropped > 0).then(|| format!("… {dropped} lines before these\n"));
        let lines = lines.into_iter().map(|line| line + "\n");
        first.into_iter().chain(lines).collect()
    }
}

/// What is in the queue.
#[derive(Debug, Default)]
struct Waiting {
    lines: AtomicUsize,
    bytes: AtomicUsize,
}

impl Waiting {
    fn add(&self, bytes: usize) {
        self.lines.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) {
        self.lines.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether so many lines, and bytes in proportion, wait already.
    fn is_full(&self, lines: usize) -> bool {
        self.lines.load(Ordering::Relaxed) >= lines
            || self.bytes.load(Ordering::Relaxed) >= lines * (QUEUE_BYTES / QUEUE)
    }
}

impl Reporter {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn new(options: Options) -> io::Result<Self> {
        let (lines, inbox) = mpsc::channel();
        let waiting = Arc::new(Waiting::default());
        let theirs = Arc::clone(&waiting);
        let writer = thread::Builder::new()
            .name("report".to_owned())
            .spawn(move || {
                // Otherwise it may be woken at the end of each process, only to wake another thread.
                let _ = embly_wrapper::process::block_child_signals();
                write(&inbox, &theirs, options.color);
            })?;
        let shared = Shared {
            options,
            lines: Mutex::new(Some(lines)),
            writer: Mutex::new(Some(writer)),
            waiting,
            dropped: AtomicU64::new(0),
            chooses: AtomicBool::new(false),
            chosen: Mutex::default(),
            holds: AtomicBool::new(false),
            held: Mutex::default(),
            masks: Arc::default(),
            root: OnceLock::new(),
            feed: Arc::default(),
            sinks: Sinks::default(),
            telemetry: Arc::default(),
            terminal: io::stderr().is_terminal(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// What it was told to show.
    pub fn options(&self) -> Options {
        self.shared.options
    }

    /// What is taken out of everything that is reported: secrets.
    pub fn masks(&self) -> &Arc<Masks> {
        &self.shared.masks
    }

    /// The folder of the project whose functions say where they are in its sources. The first one counts.
    pub fn root(&self, folder: &Path) {
        let _ = self.shared.root.set(format!("{}/", folder.display()));
    }

    /// A line of a backtrace with the place as seen from the project, or any other one as it is.
    pub fn seen_from_project<'l>(&self, line: &'l str) -> Cow<'l, str> {
        let place = self.shared.root.get().and_then(|root| {
            let place = line.strip_prefix(AT)?;
            place.strip_prefix(root.as_str())
        });
        match place {
            Some(place) => format!("{AT}{place}").into(),
            None => line.into(),
        }
    }

    /// What was reported, as numbers.
    pub fn telemetry(&self) -> &Arc<Telemetry> {
        &self.shared.telemetry
    }

    /// The lines of logs that are kept, if they are wanted, and with `follow` the events from now on.
    pub fn follow(&self, wanted: Wanted, follow: bool) -> Follower {
        self.shared.feed.follow(wanted, follow)
    }

    /// Opens the logs of a project, as far as they are not open.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn open_logs(&self, plans: &[SinkPlan]) -> Result<Opened, SinkError> {
        self.shared.sinks.open(plans, self)
    }

    /// Lines go to these logs from now on; what waits for others is still written.
    pub fn set_logs(&self, opened: Opened) {
        let names = self.shared.sinks.set(opened);
        let names = names.iter().map(|plan| &*plan.name).collect();
        self.shared.telemetry.keep_only_logs(&names);
    }

    /// Opens the files of logs anew: they may have been moved away.
    pub fn reopen_logs(&self) {
        self.shared.sinks.reopen();
    }

    fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn weak(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    /// Forgets what is kept of all other functions, and counted of them and of all other gateways.
    pub fn keep_only(&self, functions: &HashSet<&str>, gateways: &HashSet<&str>) {
        self.shared.feed.keep_only(functions);
        self.shared.telemetry.keep_only(functions, gateways);
    }

    /// Reports an event.
    pub fn event(&self, event: &Event<'_>) {
        event.count(&self.shared.telemetry);
        let room = if event.comes_with_requests() {
            QUEUE
        } else {
            QUEUE_FOR_WORDS
        };
        // Not even put into words where there is no room for them.
        let full = self.shared.waiting.is_full(room);
        if full {
            self.shared.drop_one();
        }
        let wanted = self.shared.feed.wants(event);
        let sinks = self.shared.sinks.want(event);
        if full && !wanted && !sinks {
            return;
        }
        // Before it is put into a form in which they look different.
        event.masked(&self.shared.masks, |event| {
            if wanted {
                self.shared.feed.take(event);
            }
            if sinks {
                self.shared.sinks.take(event);
            }
            if !full {
                self.show(event, room);
            }
        });
    }

    fn show(&self, event: &Event<'_>, room: usize) {
        let Options {
            format,
            color,
            verbose,
            quiet,
        } = self.shared.options;
        if format == Format::Json {
            match serde_json::to_string(event) {
                Ok(json) => self.send(Line::Out(json), room),
                Err(error) => {
                    self.send(
                        Line::Err(format!("error: cannot show an event: {error}")),
                        room,
                    );
                }
            }
        }
        let level = event.level();
        let shown = match format {
            Format::Json => level >= Level::Warn,
            Format::Text if quiet => level >= Level::Warn,
            Format::Text if verbose => true,
            Format::Text => level >= Level::Info,
        };
        if !shown || self.passes_over(event) {
            return;
        }
        let line = match event {
            Event::Access(access) if self.shared.terminal && !verbose => {
                let columns = columns(&io::stderr());
                Some(short::access(access, &short::now(), columns, color))
            }
            Event::Message { .. } | Event::Build { .. } | Event::Stopped { .. } => {
                text::render(event, color).map(in_lines)
            }
            Event::InvocationStarted { .. }
            | Event::InvocationEnded { .. }
            | Event::Log { .. }
            | Event::Access(_)
                if self.shared.terminal =>
            {
                text::render(event, color).map(in_lines)
            }
            _ => text::render(event, color),
        };
        if let Some(line) = line {
            if self.shared.holds.load(Ordering::Relaxed) && event.comes_with_requests() {
                self.held().push(line);
            } else {
                self.send(Line::Err(line), room);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        let held = self.shared.held.lock();
        held.unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, lines for people that come with requests are held back, the last ones of them, for
    /// whoever asks.
    pub fn hold(&self) {
        self.shared.holds.store(true, Ordering::Relaxed);
    }

    /// The lines that were held back since somebody has asked last.
    pub fn take_held(&self) -> String {
        std::mem::take(&mut *self.held()).into_text()
    }

    /// From now on, lines for people that come with requests are about this function only.
    pub fn only(&self, function: Option<String>) {
        let chooses = function.is_some();
        let chosen = self.shared.chosen.lock();
        *chosen.unwrap_or_else(PoisonError::into_inner) = function;
        self.shared.chooses.store(chooses, Ordering::Relaxed);
    }

    fn passes_over(&self, event: &Event<'_>) -> bool {
        if !self.shared.chooses.load(Ordering::Relaxed) || !event.comes_with_requests() {
            return false;
        }
        let chosen = self.shared.chosen.lock();
        let chosen = chosen.unwrap_or_else(PoisonError::into_inner);
        let about = event.about().0;
        chosen.as_deref().is_some_and(|it| about != Some(it))
    }

    /// Reports something that needs a look, but not at once.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.event(&Event::Message {
            level: Level::Warn,
            text: text.as_ref(),
        });
    }

    /// Reports something that happened.
    pub fn info(&self, text: impl AsRef<str>) {
        self.event(&Event::Message {
            level: Level::Info,
            text: text.as_ref(),
        });
    }

    /// Reports a failure.
    pub fn error(&self, text: impl AsRef<str>) {
        self.event(&Event::Message {
            level: Level::Error,
            text: text.as_ref(),
        });
    }

    /// Text that is shown as it is, on stderr: what a compiler said.
    pub fn raw(&self, text: &str) {
        let text = self
            .shared
            .masks
            .mask(text.strip_suffix('\n').unwrap_or(text));
        self.send(Line::Err(text.into_owned()), QUEUE_FOR_WORDS);
    }

    /// Text on stdout for a person who watches, behind all that was said so far.
    pub fn shown(&self, text: &str) {
        self.send(Line::Out(text.to_owned()), QUEUE_FOR_WORDS);
    }

    /// Words that say more than a message, on stderr.
    pub fn words(&self, text: String) {
        self.raw(&in_lines(text));
    }

    /// An object on stdout, behind all events so far. What is in it is not masked.
    pub fn object(&self, object: &impl Serialize) {
        match serde_json::to_string(object) {
            Ok(json) => self.send(Line::Out(json), QUEUE_FOR_WORDS),
            Err(error) => self.error(format!("cannot show a result: {error}")),
        }
    }

    /// Whether a person types and reads.
    pub fn has_terminal(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// What stands in the last line of the terminal while nothing goes on.
    pub fn bar(&self, text: Option<String>) {
        self.send(Line::Bar(text), QUEUE_FOR_WORDS);
    }

    /// Says what goes on, with the time since it began, until it is told to stop; on a terminal only.
    pub fn status(&self, text: Option<String>) {
        let Options { format, quiet, .. } = self.shared.options;
        if format == Format::Text && !quiet && io::stderr().is_terminal() {
            let text = text.map(|text| self.shared.masks.mask(&text).into_owned());
            self.send(Line::Status(text), QUEUE_FOR_WORDS);
        }
    }

    /// Queues a line, if fewer than `room` wait.
    fn send(&self, line: Line, room: usize) {
        let Shared {
            lines,
            waiting,
            dropped,
            ..
        } = &*self.shared;
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = lines.as_ref() else { return };
        if waiting.is_full(room) {
            self.shared.drop_one();
            return;
        }
        let send = |line: Line| {
            waiting.add(line.bytes());
            // The writer lives until the last sender is gone.
            let _ = sender.send(line);
        };
        let dropped = dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            send(Line::Err(text::dropped(dropped)));
        }
        send(line);
    }

    /// Waits until everything is written. What is reported afterwards is lost.
    pub fn finish(&self) {
        for (log, lines) in self.shared.sinks.finish() {
            self.warn(format!(
                "{lines} lines for log `{log}` are lost, it cannot be written"
            ));
        }
        self.shared
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // It ends as its queue does; a panic in it was printed already.
            let _ = writer.join();
        }
    }
}

/// How often the time in the status line moves on.
const TICK: Duration = Duration::from_millis(100);

/// After lines were written, those of this time are collected: nobody sees that they come
/// together, and whoever reports does not have to wake this thread for each of them.
const PAUSE: Duration = Duration::from_millis(5);

/// Clears the line that the cursor stands in.
const CLEAR: &str = "\r\x1b[2K";

fn write(inbox: &Receiver<Line>, waiting: &Waiting, color: bool) {
    let mut screen = Screen {
        out: io::stdout(),
        err: io::stderr(),
        color,
        status: None,
        bar: None,
    };
    loop {
        let next = match screen.status {
            Some(_) => inbox.recv_timeout(TICK),
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        // A reader that has gone is no reason to stop.
        let _ = match next {
            // All that waits goes out before the status line is drawn again.
            Ok(line) => {
                let rest = std::iter::from_fn(|| inbox.try_recv().ok());
                let lines = std::iter::once(line).chain(rest);
                let shown = screen.show(lines.inspect(|line| waiting.take(line.bytes())));
                thread::sleep(PAUSE);
                shown
            }
            Err(RecvTimeoutError::Timeout) => screen.show(std::iter::empty()),
            Err(RecvTimeoutError::Disconnected) => return screen.clear().unwrap_or_default(),
        };
    }
}

struct Screen {
    out: io::Stdout,
    err: io::Stderr,
    color: bool,
    status: Option<(String, Instant)>,
    bar: Option<String>,
}

/// How much of a terminal's width a line can have. One that does not say how wide it is has the usual
/// width; in the last column some begin a new line.
fn columns(terminal: &io::Stderr) -> usize {
    columns_of(terminal).map_or(79, |columns| columns - 1)
}

/// Words for stderr: in a terminal no line is wider than that.
fn in_lines(text: String) -> String {
    match columns_of(io::stderr()) {
        Some(columns) => wrapped(&text, columns),
        None => text,
    }
}

/// How wide a terminal is; `None` for what is none, and for one that does not say.
pub fn columns_of(terminal: impl AsFd) -> Option<usize> {
    let size = tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// So many bytes of lines go out in one write.
const WRITE: usize = 64 * 1024;

impl Screen {
    fn show(&mut self, lines: impl Iterator<Item = Line>) -> io::Result<()> {
        self.clear()?;
        let (mut out, mut err) = (String::new(), String::new());
        for line in lines {
            let (text, line) = match line {
                Line::Out(line) => (&mut out, line),
                Line::Err(line) => (&mut err, line),
                Line::Status(text) => {
                    let since = self.status.take().map(|(_, since)| since);
                    let since = since.unwrap_or_else(Instant::now);
                    self.status = text.map(|text| (text, since));
                    continue;
                }
                Line::Bar(text) => {
                    self.bar = text;
                    continue;
                }
            };
            text.push_str(&line);
            text.push('\n');
            if text.len() >= WRITE {
                self.write(&mut out, &mut err)?;
            }
        }
        self.write(&mut out, &mut err)?;
        self.draw()?;
        self.out.flush()
    }

    /// The last line. One that is too wide would leave a part of itself behind.
    fn draw(&mut self) -> io::Result<()> {
        let columns = columns(&self.err);
        let line = match (&self.status, &self.bar) {
            (Some((text, since)), _) => {
                let time = format!(" {:.1}s", since.elapsed().as_secs_f64());
                let text = fit(text, columns.saturating_sub(time.len()));
                format!("{text}{}", fit(&time, columns))
            }
            (None, Some(bar)) => fit(bar, columns).into_owned(),
            (None, None) => return Ok(()),
        };
        let line = if self.color { text::dim(&line) } else { line };
        self.err.write_all(line.as_bytes())
    }

    fn write(&mut self, out: &mut String, err: &mut String) -> io::Result<()> {
        // One of them may have nobody left to read it.
        let written = self.out.write_all(out.as_bytes());
        out.clear();
        let told = self.err.write_all(err.as_bytes());
        err.clear();
        written.and(told)
    }

    fn clear(&mut self) -> io::Result<()> {
        if self.status.is_some() || self.bar.is_some() {
            write!(self.err, "{CLEAR}")
        } else {
            Ok(())
        }
    }
}
