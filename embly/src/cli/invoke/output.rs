//! What a function says: its stream as it comes, or an HTTP response, on standard output.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use protos::{Ending, Reason};
use serde_json::json;

use crate::gateway::http::head::{self, BadHead, Head, RESPONSE_HEAD};
use crate::gateway::http::{Framing, response_too_large};

/// Where what comes back goes.
pub struct Output {
    json: bool,
    /// How far the response is, where one is expected.
    response: Option<Response>,
}

struct Response {
    was_head: bool,
    /// Its head is printed as well.
    include: bool,
    /// Bytes that its body may have, and those that it may have still.
    most: u64,
    left: u64,
    bytes: BytesMut,
    at: At,
}

#[derive(Debug)]
enum At {
    Head,
    Body(Framing),
    /// What follows is dropped.
    Done,
}

/// What was made of what came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// All went well, and goes on.
    All,
    /// The head of the response was in it.
    Head,
    /// The response is complete.
    Whole,
    /// Nobody reads standard output any more.
    Deaf,
}

/// Why it does not go on.
#[derive(Debug)]
pub enum Error {
    /// It is no response.
    Response(Ending),
    /// It cannot be printed.
    Write(io::Error),
}

fn bad(detail: impl ToString) -> Error {
    Error::Response(Ending::new(Reason::BadResponse, detail.to_string()))
}

impl Output {
    /// For bytes.
    pub fn stream(json: bool) -> Self {
        Self {
            json,
            response: None,
        }
    }

    /// For the response to a request.
    pub fn http(was_head: bool, include: bool, json: bool) -> Self {
        Self {
            json,
            response: Some(Response {
                was_head,
                include: include && !json,
                most: u64::MAX,
                left: u64::MAX,
                bytes: BytesMut::new(),
                at: At::Head,
            }),
        }
    }

    /// The body of a response may have so many bytes.
    pub fn at_most(&mut self, most: u64) {
        if let Some(response) = &mut self.response {
            (response.most, response.left) = (most, most);
        }
    }

    /// Whether a response is expected.
    pub fn is_http(&self) -> bool {
        self.response.is_some()
    }

    /// Prints what came.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn data(&mut self, data: Bytes) -> Result<Took, Error> {
        let Some(response) = &mut self.response else {
            return self.print(&data, Took::All).await;
        };
        let (mut text, mut took, mut cut) = (Vec::new(), Took::All, None);
        if matches!(response.at, At::Done) {
            return Ok(took);
        }
        response.bytes.extend_from_slice(&data);
        if matches!(response.at, At::Head) {
            let found = head::response(&mut response.bytes, response.was_head);
            match found.map_err(bad)? {
                Some(head) => {
                    if matches!(head.framing, Framing::Length(length) if length > response.most) {
                        return Err(Error::Response(response_too_large(response.most)));
                    }
                    took = Took::Head;
                    if self.json {
                        took = heard(write_line(&described(&head)).await, took)?;
                    } else if response.include {
                        text = printed(&head);
                    }
                    response.at = At::Body(head.framing);
                }
                None if response.bytes.len() > RESPONSE_HEAD => return Err(bad(BadHead::TooLong)),
                None => {}
            }
        }
        if let At::Body(framing) = &mut response.at {
            while let Some(piece) = framing.next(&mut response.bytes).map_err(bad)? {
                let Some(left) = response.left.checked_sub(piece.len() as u64) else {
                    cut = Some(response_too_large(response.most));
                    break;
                };
                response.left = left;
                text.extend_from_slice(&piece);
            }
            if framing.is_complete() {
                response.at = At::Done;
                if took != Took::Deaf {
                    took = Took::Whole;
                }
            }
        }
        let printed = self.print(&text, took).await;
        cut.map_or(printed, |ending| Err(Error::Response(ending)))
    }

    /// It says that no more follows.
    ///
    /// # Errors
    /// The response is not complete.
    pub fn half_close(&mut self) -> Result<Took, Error> {
        self.end().map_err(Error::Response)?;
        match &mut self.response {
            Some(Response { at, .. }) if !matches!(at, At::Done) => {
                *at = At::Done;
                Ok(Took::Whole)
            }
            _ => Ok(Took::All),
        }
    }

    /// It has ended.
    ///
    /// # Errors
    /// The response is not complete.
    pub fn end(&self) -> Result<(), Ending> {
        let Some(Response { bytes, at, .. }) = &self.response else {
            return Ok(());
        };
        let (reason, detail) = match at {
            At::Head if bytes.is_empty() => (Reason::NoResponse, "it ended without a response"),
            At::Head => (Reason::BadResponse, "its response breaks off in the head"),
            At::Body(Framing::UntilEnd) | At::Done => return Ok(()),
            At::Body(_) => (Reason::BadResponse, "its response breaks off in the body"),
        };
        Err(Ending::new(reason, detail))
    }

    /// Prints bytes, and says what was made of them if somebody reads them.
    async fn print(&self, bytes: &[u8], took: Took) -> Result<Took, Error> {
        if bytes.is_empty() {
            return Ok(took);
        }
        let written = if self.json {
            let event = json!({"event": "output", "base64": STANDARD.encode(bytes)});
            write_line(&event).await
        } else {
            write(bytes.to_vec()).await
        };
        heard(written, took)
    }
}

fn heard(written: io::Result<()>, took: Took) -> Result<Took, Error> {
    match written {
        Ok(()) => Ok(took),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Took::Deaf),
        Err(error) => Err(Error::Write(error)),
    }
}

/// A reader that is slow holds up the function, and nothing else.
async fn blocking(write: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let written = tokio::task::spawn_blocking(write).await;
    written.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Past the lock of `stdout`, which who reports at the end of the program waits for.
async fn write(bytes: Vec<u8>) -> io::Result<()> {
    blocking(move || {
        let out = io::stdout().as_fd().try_clone_to_owned()?;
        File::from(out).write_all(&bytes)
    })
    .await
}

/// With that lock: events are whole lines.
async fn write_line(event: &serde_json::Value) -> io::Result<()> {
    let line = format!("{event}\n");
    blocking(move || {
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.flush()
    })
    .await
}

/// The head as `curl -i` shows it.
fn printed(head: &Head) -> Vec<u8> {
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut text = format!("HTTP/1.1 {} {reason}", head.status.as_u16())
        .trim_end()
        .as_bytes()
        .to_vec();
    text.extend_from_slice(b"\r\n");
    for (name, value) in &head.headers {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(piece);
        }
    }
    if let Framing::Length(length) = head.framing {
        text.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    text
}

fn described(head: &Head) -> serde_json::Value {
    let headers = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        json!([name.as_str(), value])
    });
    let headers: Vec<_> = headers.collect();
    json!({"event": "response", "status": head.status.as_u16(), "headers": headers})
}
