//! Connections that never panic: what goes wrong is part of the record.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::Outcome;
use crate::support::client::{Response, try_parse};

/// Every request has ended after this: the queue, the limit `wall` of the functions, a process that
/// stands still meanwhile, and a machine that has other things to do.
pub const LIMIT: Duration = Duration::from_secs(25);

/// How each response begins; no body of a client has it.
const BEGIN: &[u8] = b"HTTP/1.1 ";

/// A connection.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

fn failed(what: &str, error: &std::io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Outcome::Late,
        _ => Outcome::Failed(format!("{what}: {error}")),
    }
}

impl Wire {
    /// Connects.
    pub fn to(at: Option<SocketAddr>) -> Result<Self, Outcome> {
        let at = at.ok_or_else(|| Outcome::Failed("there is no master".to_owned()))?;
        let connected = TcpStream::connect_timeout(&at, LIMIT).and_then(|stream| {
            stream.set_read_timeout(Some(LIMIT))?;
            stream.set_write_timeout(Some(LIMIT))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        let stream = connected.map_err(|error| failed("connect", &error))?;
        let unread = Vec::new();
        Ok(Self { stream, unread })
    }

    pub fn say(&mut self, bytes: &[u8]) -> Result<(), Outcome> {
        let said = self.stream.write_all(bytes);
        said.map_err(|error| failed("write", &error))
    }

    /// More of what is said to us; `Failed` at the end.
    fn more(&mut self) -> Result<(), Outcome> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Outcome::Failed("cut".to_owned())),
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) => Err(failed("read", &error)),
        }
    }

    /// A line, without its end.
    pub fn line(&mut self) -> Result<String, Outcome> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..=end);
                return Ok(line);
            }
            self.more()?;
        }
    }

    /// So many bytes.
    pub fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Outcome> {
        while self.unread.len() < count {
            self.more()?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// A head, as text.
    pub fn head(&mut self) -> Result<String, Outcome> {
        let mut head = String::new();
        loop {
            let line = self.line()?;
            if line.trim().is_empty() {
                return Ok(head);
            }
            head.push_str(&line);
            head.push('\n');
        }
    }

    /// A response, and whether the connection stays. Nothing may follow it.
    pub fn response(&mut self) -> Result<(Response, bool), Outcome> {
        loop {
            let response = try_parse(&self.unread).filter(|response| response.complete);
            // What has no length has its end with the connection.
            let framed = |response: &Response| {
                let header = |name| response.header(name).is_some();
                header("content-length") || header("transfer-encoding") || response.status == 204
            };
            if let Some(response) = response.filter(framed) {
                let begins = self.unread.windows(BEGIN.len());
                if begins.filter(|bytes| *bytes == BEGIN).count() > 1 {
                    return Err(Outcome::Wrong("a second response".to_owned()));
                }
                self.unread.clear();
                let stays = response.header("connection") != Some("close");
                return Ok((response, stays));
            }
            self.more()?;
        }
    }

    /// A response that is too large to be held: how long its body was.
    pub fn takes(&mut self) -> Result<u64, Outcome> {
        let head = self.head()?.to_ascii_lowercase();
        let first = head.lines().next().unwrap_or_default();
        if !first.starts_with("http/1.1 200 ") {
            return Err(Outcome::Failed(first.to_owned()));
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        if let Some(length) = length {
            let length = number(length, 10)?;
            self.pass(length)?;
            return Ok(length);
        }
        let mut taken = 0;
        loop {
            let size = number(&self.line()?, 16)?;
            self.pass(size)?;
            taken += size;
            // The end of the chunk, or of all trailers, of which there are none.
            if !self.line()?.trim().is_empty() {
                return Err(Outcome::Wrong("no end of a chunk".to_owned()));
            }
            if size == 0 {
                return Ok(taken);
            }
        }
    }

    /// Reads so many bytes, and forgets them.
    fn pass(&mut self, mut count: u64) -> Result<(), Outcome> {
        loop {
            let there = u64::try_from(self.unread.len())
                .unwrap_or(u64::MAX)
                .min(count);
            self.unread
                .drain(..usize::try_from(there).expect("no more than there are"));
            count -= there;
            if count == 0 {
                return Ok(());
            }
            self.more()?;
        }
    }

    /// Nothing more may come, up to the end.
    pub fn end(mut self) -> Result<(), Outcome> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(Outcome::Late) => return Err(Outcome::Late),
                Err(_) => break,
            }
        }
        match self.unread.is_empty() {
            true => Ok(()),
            false => Err(Outcome::Wrong("more after the response".to_owned())),
        }
    }
}

fn number(text: &str, radix: u32) -> Result<u64, Outcome> {
    let text = text.trim();
    u64::from_str_radix(text, radix).map_err(|_| Outcome::Wrong(format!("no length: {text}")))
}

/// How long something took.
pub fn timed<T>(what: impl FnOnce() -> T) -> (Duration, T) {
    let since = Instant::now();
    let done = what();
    (since.elapsed(), done)
}
