//! Child processes with a time limit, a way to stop them, and no way to leak.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::Cancel;

/// How often a quiet child is looked at for a cancel or the time limit.
const TICK: Duration = Duration::from_millis(50);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long after its end a child's pipes may stay open (a daemon that it left behind holds them).
const DRAIN: Duration = Duration::from_secs(1);
/// Bytes of standard error that an error text quotes.
const TAIL: usize = 2048;

/// Which pipe a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Out,
    Err,
}

/// Why a child did not come to its own end.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("not found")]
    NotFound,
    #[error("could not be started: {0}")]
    Start(#[source] io::Error),
    #[error("gave no result within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("cancelled")]
    Cancelled,
    #[error("could not be waited for: {0}")]
    Wait(#[source] io::Error),
}

/// A finished child with all that it wrote.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Captured {
    /// The end of what it wrote to standard error, for an error text.
    pub(super) fn tail(&self) -> String {
        tail(&self.stderr)
    }
}

/// Runs `command` to its end in a process group of its own, without input, and hands out what it writes, as it comes.
/// A terminal's Ctrl-C does not reach the group; a cancel and the limit end all of it.
pub(super) fn run(
    command: &mut Command,
    limit: Option<Duration>,
    cancel: &Cancel,
    each: &mut dyn FnMut(Stream, Vec<u8>),
) -> Result<ExitStatus, RunError> {
    if cancel.is_cancelled() {
        return Err(RunError::Cancelled);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut group = Group(Some(command.spawn().map_err(
        |error| match error.kind() {
            io::ErrorKind::NotFound => RunError::NotFound,
            _ => RunError::Start(error),
        },
    )?));
    let started = Instant::now();
    let child = group.child();
    let (sender, pieces) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        pump(pipe, Stream::Out, sender.clone()).map_err(RunError::Start)?;
    }
    if let Some(pipe) = child.stderr.take() {
        pump(pipe, Stream::Err, sender.clone()).map_err(RunError::Start)?;
    }
    drop(sender);

    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        match pieces.recv_timeout(TICK) {
            Ok((stream, bytes)) => each(stream, bytes),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        match &ended {
            Some((_, when)) if when.elapsed() > DRAIN => break,
            Some(_) => {}
            None => {
                ended = group
                    .child()
                    .try_wait()
                    .map_err(RunError::Wait)?
                    .map(|status| (status, Instant::now()));
            }
        }
        if ended.is_none() {
            group.may_go_on(started, limit, cancel)?;
        }
    }
    // The pipes are closed; a child that closed them itself and works on is still held to the limit.
    while ended.is_none() {
        ended = group
            .child()
            .try_wait()
            .map_err(RunError::Wait)?
            .map(|status| (status, Instant::now()));
        if ended.is_none() {
            group.may_go_on(started, limit, cancel)?;
            thread::sleep(Duration::from_millis(1));
        }
    }
    group.0 = None;
    ended.map(|(status, _)| status).ok_or(RunError::Cancelled)
}

/// Like [`run`], with the output kept.
pub(super) fn capture(
    command: &mut Command,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Captured, RunError> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = run(
        command,
        Some(limit),
        cancel,
        &mut |stream, bytes| match stream {
            Stream::Out => stdout.extend(bytes),
            Stream::Err => stderr.extend(bytes),
        },
    )?;
    Ok(Captured {
        status,
        stdout,
        stderr,
    })
}

/// The last lines of `bytes`, at most two kibibytes, cut at a line.
pub(super) fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end();
    if text.len() <= TAIL {
        return text.to_owned();
    }
    let from = (text.len() - TAIL..)
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    let end = &text[from..];
    end.split_once('\n')
        .map_or(end, |(_, lines)| lines)
        .to_owned()
}

/// Reads a pipe on a thread of its own.
fn pump(
    mut pipe: impl Read + Send + 'static,
    stream: Stream,
    sender: Sender<(Stream, Vec<u8>)>,
) -> io::Result<()> {
    let reads = move || {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if sender.send((stream, buffer[..count].to_vec())).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    };
    thread::Builder::new().spawn(reads).map(drop)
}

/// A running child and its process group; dropped before its end, both are ended.
struct Group(Option<Child>);

impl Group {
    fn child(&mut self) -> &mut Child {
        self.0
            .as_mut()
            .expect("the child is taken out only when it has ended")
    }

    fn may_go_on(
        &self,
        started: Instant,
        limit: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<(), RunError> {
        if cancel.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        match limit {
            Some(limit) if started.elapsed() > limit => Err(RunError::TimedOut(limit)),
            _ => Ok(()),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(child) = &mut self.0 else { return };
        // The leader is not reaped yet, so its number cannot belong to anybody else.
        let pid = Pid::from_child(child);
        let _ = kill_process_group(pid, Signal::TERM);
        let told = Instant::now();
        while told.elapsed() < GRACE {
            match child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                _ => return,
            }
        }
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_of_both_streams_is_kept_apart() {
        let done = capture(
            &mut shell("echo out; echo err >&2; exit 3"),
            Duration::from_secs(10),
            &Cancel::new(),
        )
        .unwrap();
        assert_eq!(done.status.code(), Some(3));
        assert_eq!(
            (&done.stdout[..], &done.stderr[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
    }

    #[test]
    fn a_child_beyond_its_limit_is_ended_with_its_children() {
        let started = Instant::now();
        let result = capture(
            &mut shell("sleep 60 & sleep 60"),
            Duration::from_millis(100),
            &Cancel::new(),
        );
        assert!(matches!(result, Err(RunError::TimedOut(_))), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_cancel_ends_a_child_that_ignores_the_first_signal() {
        let cancel = Cancel::new();
        let other = cancel.clone();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            other.cancel();
        });
        let result = capture(
            &mut shell("trap '' TERM; while :; do sleep 1; done"),
            Duration::from_secs(60),
            &cancel,
        );
        assert!(matches!(result, Err(RunError::Cancelled)), "{result:?}");
    }

    #[test]
    fn a_process_left_behind_does_not_hold_the_caller() {
        let started = Instant::now();
        let done = capture(
            &mut shell("sleep 5 & echo here"),
            Duration::from_secs(60),
            &Cancel::new(),
        )
        .unwrap();
        assert_eq!(done.stdout, b"here\n");
        assert!(started.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_program_that_is_not_there_is_named_as_such() {
        let result = capture(
            &mut Command::new("/no/such/program"),
            Duration::from_secs(1),
            &Cancel::new(),
        );
        assert!(matches!(result, Err(RunError::NotFound)), "{result:?}");
    }

    #[test]
    fn the_tail_begins_at_a_line() {
        let text = "line of text\n".repeat(1000);
        assert!(tail(text.as_bytes()).starts_with("line of text\n"));
        assert!(tail(text.as_bytes()).len() <= TAIL);
    }
}
