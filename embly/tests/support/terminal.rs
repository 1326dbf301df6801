//! A terminal for a command, and what a user sees there in the end.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Clears the line that the cursor stands in.
pub const CLEAR: &str = "\r\x1b[2K";

/// A command that runs, and what it has printed so far.
pub struct Running {
    child: Child,
    keys: Option<ChildStdin>,
    out: Stream,
    err: Stream,
}

struct Stream {
    seen: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Stream {
    fn new(mut from: impl std::io::Read + Send + 'static) -> Self {
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let theirs = Arc::clone(&seen);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                theirs.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        Self { seen, thread }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }
}

impl Running {
    /// Without a terminal: standard input is a pipe.
    pub fn plain(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            keys: child.stdin.take(),
            out: Stream::new(child.stdout.take().unwrap()),
            err: Stream::new(child.stderr.take().unwrap()),
            child,
        }
    }

    /// In a terminal of this width; `command` is `script` with the environment of what it runs.
    pub fn in_terminal(mut command: Command, line: &str, columns: u16) -> Self {
        let line = format!("stty cols {columns} rows 24; {line}");
        command
            .args(["-qec", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .env_remove("COLUMNS");
        Self::plain(command)
    }

    /// Waits until this was printed; whether it was, and not the end.
    pub fn sees(&mut self, text: &str) -> bool {
        let end = Instant::now() + PATIENCE;
        while !self.out.text().contains(text) && !self.err.text().contains(text) {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            let (out, err) = (self.out.text(), self.err.text());
            assert!(Instant::now() < end, "no `{text}` in\n{out}\n{err}");
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Types this.
    pub fn types(&mut self, keys: &str) {
        let terminal = self.keys.as_mut().unwrap();
        // It may have ended already.
        let _ = terminal.write_all(keys.as_bytes());
        let _ = terminal.flush();
    }

    /// There is no more input.
    pub fn closes_input(&mut self) {
        self.keys.take();
    }

    /// Waits for its end: exit code, and both streams; a terminal has only the first.
    pub fn ends(mut self) -> (i32, String, String) {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > end {
                let _ = self.child.kill();
                panic!("no end of\n{}\n{}", self.out.text(), self.err.text());
            }
            thread::sleep(Duration::from_millis(5));
        };
        self.keys.take();
        let read = |stream: Stream| {
            stream.thread.join().unwrap();
            String::from_utf8(Arc::try_unwrap(stream.seen).unwrap().into_inner().unwrap()).unwrap()
        };
        (status.code().unwrap_or(-1), read(self.out), read(self.err))
    }
}

/// What stays on the screen: lines that were cleared are gone, and so is a screen of its own.
pub fn shown(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let mut rest = text.as_str();
    let mut main = String::new();
    while let Some((before, screen)) = rest.split_once("\x1b[?1049h") {
        main.push_str(before);
        rest = screen.split_once("\x1b[?1049l").unwrap().1;
    }
    main.push_str(rest);
    let lines = main
        .split('\n')
        .map(|line| line.rsplit(CLEAR).next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Colours as words that can be read.
pub fn colours_named(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let mut named = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_once('m').unwrap_or((piece, ""));
        let name: Vec<&str> = code
            .split(';')
            .map(|code| match code {
                "0" | "" => "/",
                "1" => "bold",
                "2" => "dim",
                "4" => "underlined",
                "31" | "91" => "red",
                "32" | "92" => "green",
                "33" | "93" => "yellow",
                "34" | "94" => "blue",
                "36" | "96" => "cyan",
                other => other,
            })
            .collect();
        named.push_str(&format!("‹{}›{rest}", name.join(" ")));
    }
    named
}
