//! What people and programs are told: lines on stderr for people, JSON events on stdout.
//!
//! One thread writes. Whoever reports never waits for a slow terminal or pipe: what does not
//! fit in the queue is dropped and counted.

mod event;
mod text;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

pub use event::{Access, BuildState, Event, Level, describe};
pub use text::elapsed;

/// Lines that may wait for a slow reader.
const QUEUE: usize = 16 * 1024;

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
}

/// Reports. Clones share the thread that writes.
#[derive(Debug, Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    lines: Mutex<Option<SyncSender<Line>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dropped: AtomicU64,
}

impl Reporter {
    /// Starts the thread that writes.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn new(options: Options) -> io::Result<Self> {
        let (lines, inbox) = mpsc::sync_channel(QUEUE);
        let writer =
            std::thread::Builder::new().name("report".to_owned()).spawn(move || write(&inbox))?;
        let shared = Shared {
            options,
            lines: Mutex::new(Some(lines)),
            writer: Mutex::new(Some(writer)),
            dropped: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What it was told to show.
    pub fn options(&self) -> Options {
        self.shared.options
    }

    /// Reports an event.
    pub fn event(&self, event: &Event<'_>) {
        let Options { format, color, verbose, quiet } = self.shared.options;
        if format == Format::Json {
            match serde_json::to_string(event) {
                Ok(json) => self.send(Line::Out(json)),
                Err(error) => self.send(Line::Err(format!("error: cannot show an event: {error}"))),
            }
        }
        let level = event.level();
        let shown = match format {
            Format::Json => level >= Level::Warn,
            Format::Text if quiet => level >= Level::Warn,
            Format::Text if verbose => true,
            Format::Text => level >= Level::Info,
        };
        if shown && let Some(line) = text::render(event, color) {
            self.send(Line::Err(line));
        }
    }

    /// Reports something that needs a look, but not at once.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.event(&Event::Message { level: Level::Warn, text: text.as_ref() });
    }

    /// Reports something that happened.
    pub fn info(&self, text: impl AsRef<str>) {
        self.event(&Event::Message { level: Level::Info, text: text.as_ref() });
    }

    /// Reports a failure.
    pub fn error(&self, text: impl AsRef<str>) {
        self.event(&Event::Message { level: Level::Error, text: text.as_ref() });
    }

    /// Text that is shown as it is, on stderr: what a compiler said.
    pub fn raw(&self, text: &str) {
        self.send(Line::Err(text.strip_suffix('\n').unwrap_or(text).to_owned()));
    }

    fn send(&self, line: Line) {
        let lines = self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = lines.as_ref() else { return };
        let dropped = self.shared.dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 && sender.try_send(Line::Err(text::dropped(dropped))).is_err() {
            self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
        if sender.try_send(line).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written. What is reported afterwards is lost.
    pub fn finish(&self) {
        self.shared.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
        let writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            // It ends as its queue does; a panic in it was printed already.
            let _ = writer.join();
        }
    }
}

fn write(inbox: &Receiver<Line>) {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    while let Ok(line) = inbox.recv() {
        // All that waits goes out with one flush. A reader that has gone is no reason to stop.
        let mut next = Some(line);
        while let Some(line) = next {
            let _ = match line {
                Line::Out(line) => writeln!(out, "{line}"),
                Line::Err(line) => writeln!(err, "{line}"),
            };
            next = inbox.try_recv().ok();
        }
        let _ = out.flush();
    }
}
