//! Standard output and standard error: lines for the log.

use protos::meter::Verdict;
use protos::{Body, Errno, Severity};

use rustix::time::ClockId;

use super::{Guest, HostResult, Invocation, clock, errno, memory};
use crate::channel::ChannelError;
use crate::exit::LimitReached;

/// The longest line, in bytes, where the master does not say; a longer one is cut in pieces.
const MAX_LINE: usize = 16 * 1024;

/// How much of a panic's text is kept, in bytes.
const MAX_PANIC: usize = 1024;

/// Half lines of both streams, and what a panic said.
#[derive(Debug, Default)]
pub struct LogLines {
    /// Bytes of a line at most; 0 for [`MAX_LINE`].
    most: usize,
    halves: [Vec<u8>; 2],
    panic: Option<Panic>,
}

#[derive(Debug, Default)]
struct Panic {
    place: String,
    message: Option<String>,
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
                let line = self.take(stream);
                emit(stream, line)?;
            }
        }
        Ok(())
    }

    /// What is left of half lines, at the end.
    pub fn flush<E>(&mut self, mut emit: impl FnMut(u8, String) -> Result<(), E>) -> Result<(), E> {
        for stream in [1, 2] {
            if !self.halves[usize::from(stream == 2)].is_empty() {
                let line = self.take(stream);
                emit(stream, line)?;
            }
        }
        Ok(())
    }

    /// Message and place of the last panic, if there was one.
    pub fn panic(&mut self) -> Option<String> {
        let Panic { place, message } = self.panic.take()?;
        let message = message.unwrap_or_default();
        Some(if message.is_empty() {
            place
        } else {
            format!("{place} {message}")
        })
    }

    fn take(&mut self, stream: u8) -> String {
        let half = std::mem::take(&mut self.halves[usize::from(stream == 2)]);
        let line = String::from_utf8_lossy(half.strip_suffix(b"\r").unwrap_or(&half)).into_owned();
        if stream == 2 {
            self.note_panic(&line);
        }
        line
    }

    /// Rust says `thread 'main' panicked at PLACE:` and the message on the next line.
    fn note_panic(&mut self, line: &str) {
        let cut = |text: &str| text[..text.floor_char_boundary(MAX_PANIC)].to_owned();
        if let Some(at) = line.find("panicked at ") {
            self.panic = Some(Panic {
                place: cut(&line[at..]),
                message: None,
            });
        } else if let Some(panic) = &mut self.panic
            && panic.message.is_none()
        {
            panic.message = Some(cut(line));
        }
    }
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
    lines.flush(&mut say)?;
    Ok(errno(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(writes: &[(u8, &str)]) -> (Vec<(u8, String)>, Option<String>) {
        let mut log = LogLines::default();
        let mut out = Vec::new();
        let mut emit = |stream, line| {
            out.push((stream, line));
            Ok::<_, ()>(())
        };
        for (stream, text) in writes {
            log.write(*stream, text.as_bytes(), &mut emit).unwrap();
        }
        log.flush(&mut emit).unwrap();
        (out, log.panic())
    }

    #[test]
    fn lines_are_put_together_per_stream() {
        let (out, _) = lines(&[(1, "a"), (2, "x\n"), (1, "b\r\n\nc")]);
        let expected = [(2, "x"), (1, "ab"), (1, ""), (1, "c")];
        assert_eq!(out, expected.map(|(s, l)| (s, l.to_owned())));
    }

    #[test]
    fn a_long_line_is_cut() {
        let (out, _) = lines(&[(1, &"x".repeat(MAX_LINE + 1)), (1, "\n")]);
        assert_eq!(
            out.iter().map(|(_, l)| l.len()).collect::<Vec<_>>(),
            [MAX_LINE, 1]
        );
    }

    #[test]
    fn message_and_place_of_a_panic_are_kept() {
        let (_, panic) = lines(&[(
            2,
            "\nthread 'main' (1) panicked at src/main.rs:3:5:\nno luck\nnote: run\n",
        )]);
        assert_eq!(
            panic.as_deref(),
            Some("panicked at src/main.rs:3:5: no luck")
        );
    }
}
