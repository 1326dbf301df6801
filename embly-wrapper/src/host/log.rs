//! Standard output and standard error: lines for the log.

use protos::meter::Verdict;
use protos::{Body, Errno, Severity};

use rustix::time::ClockId;

use super::{Guest, HostResult, Invocation, clock, errno, memory};
use crate::backtrace;
use crate::channel::ChannelError;
use crate::exit::LimitReached;

/// The longest line, in bytes, where the master does not say; a longer one is cut in pieces.
const MAX_LINE: usize = 16 * 1024;

/// How much of a panic's text an ending has, in bytes.
const MAX_PANIC: usize = 1024;

/// How much of what is said may be a panic's text, in bytes and in lines; what is longer is none.
const MAX_HELD: usize = 16 * 1024;
const MAX_HELD_LINES: usize = 64;

/// What Rust says where there is no memory.
const NO_MEMORY: [&str; 2] = ["memory allocation of ", " failed"];

/// What Rust adds to a panic. It has no meaning here: there is a backtrace anyway.
const NOTE: &str = "note: run with `RUST_BACKTRACE=1` environment variable";

/// Half lines of both streams, and what a panic said.
///
/// A panic ends the run, and the backtrace begins with its text. So that is held back, and said as it
/// came where the run goes on.
#[derive(Debug, Default)]
pub struct LogLines {
    /// Bytes of a line at most; 0 for [`MAX_LINE`].
    most: usize,
    halves: [Vec<u8>; 2],
    /// Whether an empty line is held back, with which a panic begins.
    blank: bool,
    /// Lines of a panic that are held back.
    held: Vec<String>,
    panic: Option<Panic>,
}

/// The last panic, or what Rust says where there is no memory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Panic {
    /// `panicked at FILE:LINE:COLUMN:`; without memory, all of it.
    place: String,
    message: Vec<String>,
    /// Nothing of what comes now is part of it.
    over: bool,
}

impl Panic {
    /// Whether it says no more than that there is no memory.
    pub fn is_of_memory(&self) -> bool {
        self.message.is_empty() && is_of_memory(&self.place)
    }

    /// Place and message, in one line.
    pub fn brief(&self) -> String {
        let lines = self.message.iter().map(|line| line.trim());
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        let text = [&*backtrace::shorten(&self.place), &lines.join("; ")].join(" ");
        text[..text.floor_char_boundary(MAX_PANIC)]
            .trim_end()
            .to_owned()
    }

    /// Place and message, as it was said, but that all lines after the first are indented.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.message.iter();
        let place = backtrace::shorten(&self.place);
        let first = lines.next().map_or("", |line| line);
        let first = format!("{place} {first}").trim_end().to_owned();
        let lines = lines.map(|line| match line.starts_with(' ') {
            true => line.clone(),
            false => format!("  {line}"),
        });
        std::iter::once(first).chain(lines).collect()
    }
}

impl LogLines {
    /// Lines of so many bytes at most; 0 for the default.
    pub fn new(most: u32) -> Self {
        Self {
            most: most as usize,
            ..Self::default()
        }
    }

    fn most(&self) -> usize {
        match self.most {
            0 => MAX_LINE,
            most => most,
        }
    }

    /// Adds what was written to `stream` (1 or 2); `emit` gets each line that is complete.
    pub fn write<E>(
        &mut self,
        stream: u8,
        mut bytes: &[u8],
        mut emit: impl FnMut(u8, String) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let most = self.most();
            let half = &mut self.halves[usize::from(stream == 2)];
            let room = most - half.len();
            let take = end.unwrap_or(bytes.len()).min(room);
            half.extend_from_slice(&bytes[..take]);
            // The newline itself is taken with the line that it ends.
            let ended = end == Some(take);
            bytes = &bytes[take + usize::from(ended)..];
            if ended || half.len() == most {
                self.take(stream, &mut emit)?;
            }
        }
        Ok(())
    }

    /// What is left of half lines, at the end. The text of a panic is still held back.
    pub fn end<E>(&mut self, mut emit: impl FnMut(u8, String) -> Result<(), E>) -> Result<(), E> {
        for stream in [1, 2] {
            if !self.halves[usize::from(stream == 2)].is_empty() {
                self.take(stream, &mut emit)?;
            }
        }
        Ok(())
    }

    /// Whether something is held back.
    pub fn holds(&self) -> bool {
        self.blank || !self.held.is_empty()
    }

    /// What was held back.
    pub fn release<E>(
        &mut self,
        mut emit: impl FnMut(u8, String) -> Result<(), E>,
    ) -> Result<(), E> {
        if std::mem::take(&mut self.blank) {
            emit(2, String::new())?;
        }
        let held = std::mem::take(&mut self.held);
        held.into_iter().try_for_each(|line| emit(2, line))
    }

    /// The last panic, if there was one.
    pub fn panic(&mut self) -> Option<Panic> {
        self.panic.take()
    }

    /// Takes a line, and says it unless it may be one of a panic.
    fn take<E>(
        &mut self,
        stream: u8,
        emit: &mut impl FnMut(u8, String) -> Result<(), E>,
    ) -> Result<(), E> {
        let half = std::mem::take(&mut self.halves[usize::from(stream == 2)]);
        let line = String::from_utf8_lossy(half.strip_suffix(b"\r").unwrap_or(&half)).into_owned();
        if stream == 2 && self.is_of_panic(&line) {
            return Ok(());
        }
        self.release(&mut *emit)?;
        if let Some(panic) = &mut self.panic {
            panic.over = true;
        }
        if stream == 2 && line.is_empty() {
            self.blank = true;
            return Ok(());
        }
        emit(stream, line)
    }

    /// Rust says `thread 'main' panicked at PLACE:`, the message on the next lines, and a note. Whether
    /// the line is one of them, which was taken.
    fn is_of_panic(&mut self, line: &str) -> bool {
        let at = line.find("panicked at ");
        if let Some(at) = at.or(is_of_memory(line).then_some(0)) {
            self.panic = Some(Panic {
                place: line[at..].to_owned(),
                ..Panic::default()
            });
            // Others than std may say so as well.
            let is_of_std = line.starts_with("thread '") || is_of_memory(line);
            if !is_of_std || !self.held.is_empty() {
                return false;
            }
            // The line before was empty, and is part of it.
            self.blank = false;
            self.held.push(line.to_owned());
            return true;
        }
        let Some(panic) = self.panic.as_mut().filter(|panic| !panic.over) else {
            return false;
        };
        if line.starts_with(NOTE) {
            panic.over = true;
            return true;
        }
        panic.message.push(line.to_owned());
        let bytes: usize = self.held.iter().map(String::len).sum();
        let fits = bytes + line.len() <= MAX_HELD && self.held.len() < MAX_HELD_LINES;
        let holds = !self.held.is_empty() && fits;
        if holds {
            self.held.push(line.to_owned());
        }
        holds
    }
}

fn is_of_memory(line: &str) -> bool {
    line.starts_with(NO_MEMORY[0]) && line.ends_with(NO_MEMORY[1])
}

impl Invocation {
    /// Sends a line to the log, if it is wanted and the limit `log` has room for it.
    ///
    /// # Errors
    /// [`LimitReached`] in a flood, or when the connection is gone.
    pub fn say(
        &mut self,
        stream: u8,
        severity: Option<Severity>,
        line: String,
    ) -> wasmtime::Result<()> {
        if !self.wants(stream, severity) {
            return Ok(());
        }
        match self.meter.count(clock::now(ClockId::Monotonic)) {
            Verdict::Pass => {
                self.say_dropped()?;
                let body = Body::Log {
                    stream,
                    severity,
                    line,
                };
                Ok(self.send(None, body)?)
            }
            Verdict::Drop => Ok(()),
            Verdict::Flood => {
                let limit = self.meter.limit();
                Err(LimitReached {
                    reason: protos::Reason::Flood,
                    detail: format!("limit `log` reached: {limit} lines/s, 10 times over for 5 s"),
                }
                .into())
            }
        }
    }

    /// The same at the end, when it is too late to be ended.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn last_words(&mut self, stream: u8, line: String) -> Result<(), ChannelError> {
        if !self.wants(stream, None) {
            return Ok(());
        }
        match self.meter.count(clock::now(ClockId::Monotonic)) {
            Verdict::Pass => self.send(None, plain(stream, line)),
            Verdict::Drop | Verdict::Flood => Ok(()),
        }
    }

    /// Whether lines as severe as this one are sent.
    fn wants(&self, stream: u8, severity: Option<Severity>) -> bool {
        let severity = severity.unwrap_or(Severity::of_stream(stream));
        severity.is_wanted(self.limits.log_severity)
    }

    /// Says how many lines were dropped, if any.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn say_dropped(&mut self) -> Result<(), ChannelError> {
        let Some(lines) = self.meter.take_dropped() else {
            return Ok(());
        };
        let limit = self.meter.limit();
        let line = protos::meter::dropped(lines, limit);
        let stream = protos::meter::DROPPED_STREAM;
        self.send(None, plain(stream, line))
    }
}

/// A line of which the function does not say how severe it is.
fn plain(stream: u8, line: String) -> Body {
    Body::Log {
        stream,
        severity: None,
        line,
    }
}

/// So many bytes are taken by one `_log`, as by one `fd_write`.
const MOST_AT_ONCE: usize = 1 << 20;

/// `_log(severity, buf, len)`: lines for the log, each as severe as syslog's number says: 3 error, 4
/// warning, 6 informational, 7 debug; at most 1 MiB of them. The last one needs no end.
///
/// Returns EINVAL for another number.
///
/// Traps on a bad pointer.
pub fn log(mut guest: Guest<'_>, severity: i32, buf: i32, len: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    let bytes = memory::slice(memory, buf, len)?;
    let known = |it: &Severity| i32::from(it.number()) == severity;
    let Some(severity) = Severity::ALL.into_iter().find(known) else {
        return Ok(errno(Err(Errno::INVAL)));
    };
    let bytes = &bytes[..bytes.len().min(MOST_AT_ONCE)];
    // Standard error, without what stands there in half a line.
    let mut lines = LogLines {
        most: invocation.log.most,
        ..LogLines::default()
    };
    let mut say = |stream, line| invocation.say(stream, Some(severity), line);
    lines.write(2, bytes, &mut say)?;
    lines.end(&mut say)?;
    lines.release(&mut say)?;
    Ok(errno(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was said, what was held back at the end, and the panic.
    fn lines(writes: &[(u8, &str)]) -> (Vec<(u8, String)>, Vec<String>, Option<Panic>) {
        let mut log = LogLines::default();
        let mut out = Vec::new();
        let mut emit = |stream, line| {
            out.push((stream, line));
            Ok::<_, ()>(())
        };
        for (stream, text) in writes {
            log.write(*stream, text.as_bytes(), &mut emit).unwrap();
        }
        log.end(&mut emit).unwrap();
        let held = log.held.clone();
        (out, held, log.panic())
    }

    #[test]
    fn lines_are_put_together_per_stream() {
        let (out, ..) = lines(&[(1, "a"), (2, "x\n"), (1, "b\r\n\nc")]);
        let expected = [(2, "x"), (1, "ab"), (1, ""), (1, "c")];
        assert_eq!(out, expected.map(|(s, l)| (s, l.to_owned())));
    }

    #[test]
    fn a_long_line_is_cut() {
        let (out, ..) = lines(&[(1, &"x".repeat(MAX_LINE + 1)), (1, "\n")]);
        assert_eq!(
            out.iter().map(|(_, l)| l.len()).collect::<Vec<_>>(),
            [MAX_LINE, 1]
        );
    }

    const PANIC: &str = "before\n\nthread 'main' (1) panicked at src/main.rs:3:5:\n\
                         assertion `left == right` failed\n  left: 1\n right: 2\n\
                         note: run with `RUST_BACKTRACE=1` environment variable to display\n";

    #[test]
    fn the_text_of_a_panic_is_held_back_and_whole() {
        let (out, held, panic) = lines(&[(2, PANIC)]);
        assert_eq!(out, [(2, "before".to_owned())]);
        assert_eq!(held.len(), 4);
        let panic = panic.unwrap();
        let first = "panicked at src/main.rs:3:5: assertion `left == right` failed";
        assert_eq!(panic.lines(), [first, "  left: 1", " right: 2"]);
        assert_eq!(panic.brief(), format!("{first}; left: 1; right: 2"));
        let (.., panic) = lines(&[(2, "thread 'main' panicked at a.rs:1:1:\none\ntwo\n")]);
        let said = panic.unwrap().lines();
        assert_eq!(said, ["panicked at a.rs:1:1: one", "  two"]);
    }

    #[test]
    fn where_the_run_goes_on_all_is_said_in_its_order_but_for_the_note() {
        let (out, held, panic) = lines(&[(2, PANIC), (1, "after\n"), (2, "more\n\nend")]);
        let text: Vec<&str> = out.iter().map(|(_, line)| &**line).collect();
        let thread = "thread 'main' (1) panicked at src/main.rs:3:5:";
        let message = ["assertion `left == right` failed", "  left: 1", " right: 2"];
        assert_eq!(text[..2], ["before", thread]);
        assert_eq!(text[2..5], message);
        assert_eq!(text[5..], ["after", "more", "", "end"]);
        assert_eq!(held, [""; 0]);
        // It may be over for all that.
        assert!(panic.unwrap().brief().ends_with("right: 2"));
    }

    #[test]
    fn what_is_too_long_for_a_panic_is_not_held_back() {
        let long = "x\n".repeat(MAX_HELD_LINES + 5);
        let (out, held, _) = lines(&[(2, "thread 'main' panicked at a:1:1:\n"), (2, &long)]);
        assert_eq!(out.len(), MAX_HELD_LINES + 6);
        assert_eq!(held, [""; 0]);
        // What others say of a panic is said as it comes.
        let (out, held, panic) = lines(&[(2, "oh: panicked at a:1:1: x\n")]);
        assert_eq!((out.len(), held.len()), (1, 0));
        assert_eq!(panic.unwrap().brief(), "panicked at a:1:1: x");
    }
}
