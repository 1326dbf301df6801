//! The admin API of a running master, as a client of its socket sees it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::client::{Response, parse};
use super::{Embly, PATIENCE, command};

/// The folders of sockets of all masters below this folder.
pub fn folders(runtime: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(runtime.join("embly")).into_iter().flatten();
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    // A file is there for one that is to come.
    found.retain(|path| path.is_dir());
    found.sort();
    found
}

/// Asks on this socket.
pub fn ask(socket: &Path, method: &str, path: &str) -> Response {
    let mut stream = connect(socket);
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    parse(&answer)
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// JSON lines that come one after the other.
pub struct Lines(BufReader<UnixStream>);

impl Lines {
    /// Asks for them, and reads the head of the answer. What comes waits until it is read.
    pub fn ask(socket: &Path, path: &str) -> Self {
        let mut stream = connect(socket);
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut lines = Self(BufReader::new(stream));
        let status = lines.line().unwrap();
        assert_eq!(status, "HTTP/1.1 200 OK");
        while !lines.line().unwrap().is_empty() {}
        lines
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next object; `None` at the end.
    pub fn next(&mut self) -> Option<Value> {
        loop {
            let line = self.line()?;
            // Sizes of chunks, their ends, and lines that a chunk is not cut within.
            if line.starts_with('{') {
                return Some(serde_json::from_str(&line).unwrap());
            }
        }
    }

    /// The next event of this kind.
    pub fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().expect("more events");
            if event["event"] == kind {
                return event;
            }
        }
    }
}

impl Embly {
    /// Its admin socket, where it is the only master of its folder.
    pub fn admin(&self) -> PathBuf {
        let folders = folders(self.runtime.path());
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders[0].join("admin.sock")
    }

    /// An answer of its admin API.
    pub fn asks(&self, method: &str, path: &str) -> (u16, Value) {
        let response = ask(&self.admin(), method, path);
        let json = serde_json::from_slice(&response.body);
        (response.status, json.unwrap_or_default())
    }

    /// The invocations of a function, as the admin API shows them.
    pub fn invocations(&self, function: &str) -> Vec<Value> {
        let (status, answer) = self.asks("GET", "/v1/invocations");
        assert_eq!(status, 200);
        let all = answer["invocations"].as_array().unwrap().clone();
        let of = |one: &Value| one["function"] == function;
        all.into_iter().filter(of).collect()
    }

    /// A command about this master, to its end: exit code, stdout, stderr.
    pub fn told(&self, arguments: &[&str]) -> (i32, String, String) {
        outcome(&mut command(arguments, self.runtime.path()))
    }
}

/// Runs a command to its end: exit code, stdout, stderr.
pub fn outcome(command: &mut Command) -> (i32, String, String) {
    // Not in a project, unless the command says so.
    let output = command.current_dir("/").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap_or(-1),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// The objects that a command has printed, one a line.
pub fn objects(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
