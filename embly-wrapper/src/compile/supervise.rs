//! A compiler, seen from the one who waits for it: what it says, and which limit has ended it.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::CompileError;
use crate::jail::compiler::Limits;

/// So much of what it says is kept, in bytes.
const KEPT: usize = 64 * 1024;

/// A compiler ends when it has closed its output; this is how often it is looked at until then.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// What came of it.
pub struct Output {
    pub status: ExitStatus,
    pub said: String,
    pub errors: String,
    /// It was killed, since its time was over.
    late: bool,
}

impl Output {
    /// Why there is no artefact.
    pub fn error(&self, limits: Limits, within: Duration) -> CompileError {
        if let Some(limit) = self.limit(limits, within) {
            return CompileError::TooMuch(limit);
        }
        if self.status.signal() == Some(libc::SIGKILL) {
            return CompileError::Killed;
        }
        match self.status.code() {
            Some(1) => CompileError::Preflight(self.errors.lines().map(str::to_owned).collect()),
            _ => CompileError::Process(format!("{}: {}", self.status, self.errors.trim())),
        }
    }

    /// The limit that has ended it, in words.
    fn limit(&self, limits: Limits, within: Duration) -> Option<String> {
        // What the standard library and the kernel say when there is no memory to be had.
        const NO_MEMORY: [&str; 3] = [
            "memory allocation of",
            "Cannot allocate memory",
            "memory allocation failed",
        ];
        if self.late {
            return Some(format!("{} s", within.as_secs()));
        }
        match self.status.signal() {
            Some(libc::SIGXCPU) => Some(format!("{} s of CPU time", limits.cpu)),
            _ if self.status.success() => None,
            _ => NO_MEMORY
                .iter()
                .any(|words| self.errors.contains(words))
                .then(|| format!("{} MiB of memory", limits.memory >> 20)),
        }
    }
}

/// Runs it to its end, or for `within`.
///
/// # Errors
/// That of starting a process or of reading from it.
pub fn run(command: &mut Command, within: Duration) -> io::Result<Output> {
    let deadline = Instant::now() + within;
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (mut said, mut errors) = (
        Pipe::new(child.stdout.take()),
        Pipe::new(child.stderr.take()),
    );
    let mut late = false;
    // Both close when it ends.
    while said.open.is_some() || errors.open.is_some() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            late = true;
            child.kill()?;
            break;
        }
        let mut ready: Vec<PollFd<'_>> = [said.fd(), errors.fd()]
            .into_iter()
            .flatten()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let left = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut ready, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                child.kill()?;
                return Err(error.into());
            }
        }
        let mut ready = ready.iter().map(|fd| !fd.revents().is_empty());
        let mut is_ready = |open: bool| open && ready.next().unwrap_or(false);
        let (first, second) = (
            is_ready(said.open.is_some()),
            is_ready(errors.open.is_some()),
        );
        if first {
            said.read()?;
        }
        if second {
            errors.read()?;
        }
    }
    // One that has closed them need not end.
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            late = true;
            child.kill()?;
        }
        std::thread::sleep(LOOK_AGAIN);
    };
    Ok(Output {
        status,
        said: said.text(),
        errors: errors.text(),
        late,
    })
}

struct Pipe<R> {
    open: Option<R>,
    kept: Vec<u8>,
}

impl<R: Read + AsFd> Pipe<R> {
    fn new(open: Option<R>) -> Self {
        Self {
            open,
            kept: Vec::new(),
        }
    }

    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        self.open.as_ref().map(AsFd::as_fd)
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let bytes = open.read(&mut buffer)?;
        if bytes == 0 {
            self.open = None;
        }
        let room = KEPT - self.kept.len();
        self.kept.extend_from_slice(&buffer[..bytes.min(room)]);
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}
