//! Conversations with functions that use SQL stores.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use super::process::Process;
use super::{Embly, Project, client};

/// The functions `queries` and `queries-too`, which use the stores `main` and `other`, on TCP gateways,
/// and the store `main`. `keys` are those of `queries`, each line indented by four.
pub fn project(keys: &str) -> Project {
    const ALLOW: &str = "    allow: {sql: [main]}";
    let keys = format!("{ALLOW}\n{keys}");
    Project::new()
        .guest_with("queries", keys.trim_end())
        .guest_with("queries-too", ALLOW)
        .tcp("queries")
        .tcp("queries-too")
        .store("name: main, type: sql, path: main.db")
}

/// A connection to the guest `queries`.
pub struct Talk {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Talk {
    /// Connects, with the first line.
    pub fn new(embly: &Embly, gateway: &str, open: &str) -> Self {
        let stream = client::connect(embly.at(gateway));
        let lines = BufReader::new(stream.try_clone().unwrap());
        let mut talk = Self { stream, lines };
        talk.say(open);
        talk
    }

    /// Sends a line.
    pub fn say(&mut self, line: &str) {
        // The function may have ended.
        let _ = self.stream.write_all(format!("{line}\n").as_bytes());
    }

    /// The next line of the answer; empty at the end.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        let _ = self.lines.read_line(&mut line);
        line.trim_end_matches('\n').to_owned()
    }

    /// Sends a line and waits for its answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.hear()
    }

    /// Whether there is an answer that was not heard.
    pub fn has_said_something(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let ready = self.stream.peek(&mut [0]).is_ok();
        self.stream.set_nonblocking(false).unwrap();
        ready || !self.lines.buffer().is_empty()
    }
}

/// The processes of a master that run SQL.
pub fn processes(embly: &Embly) -> Vec<Process> {
    let mut found = embly.processes();
    found.retain(|process| {
        let line = std::fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(2) == Some(b"sql")
    });
    // Whether one works or waits makes it no other.
    found.iter_mut().for_each(|process| process.state = 'S');
    found
}
