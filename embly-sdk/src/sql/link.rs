//! The stream to the service: requests in order, an answer to each in the same order. Whoever does not
//! read its answer to the end leaves it to the next, who passes over it.

use super::failed::Failed;
use crate::{
    error::Error,
    proto::sql::{Request, Response, request::Request as Asked, response::Response as Said},
    service,
    stream::Conn,
    sys::{self, Errno},
    task::reactor,
};
use prost::Message;
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Bytes of the length of a frame.
const HEADER: usize = 4;

#[derive(Debug)]
pub(super) struct Link {
    conn: Conn,
    /// Not sent yet.
    out: Vec<u8>,
    /// Received, and no whole frame yet.
    input: Vec<u8>,
    /// Where in it the next frame begins.
    at: usize,
    asked: u64,
    answered: u64,
}

impl Link {
    pub fn open() -> Result<Self, Error> {
        Ok(Self {
            conn: service::call("embly/sql")?,
            out: Vec::new(),
            input: Vec::new(),
            at: 0,
            asked: 0,
            answered: 0,
        })
    }

    /// Sends a request, as far as that is possible now; the result names its answer. One for which
    /// nobody waits goes out at the latest with the next one.
    pub fn ask(&mut self, asked: Asked) -> u64 {
        self.put(asked);
        self.asked += 1;
        self.asked
    }

    /// Wants no more rows.
    pub fn cancel(&mut self) {
        self.put(Asked::Cancel(crate::proto::sql::Cancel {}));
    }

    fn put(&mut self, asked: Asked) {
        let request = Request {
            request: Some(asked),
        };
        let length = u32::try_from(request.encoded_len()).unwrap_or(u32::MAX);
        self.out.extend(length.to_le_bytes());
        request.encode(&mut self.out).expect("a vector grows");
        // What is wrong shows to whoever reads.
        let _ = self.flush();
    }

    /// Whether all is sent.
    fn flush(&mut self) -> sys::Result<bool> {
        while !self.out.is_empty() {
            match sys::write(self.conn.id(), &self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }

    /// The next message of this answer.
    pub fn poll_answer(&mut self, number: u64, cx: &mut Context<'_>) -> Poll<Result<Said, Error>> {
        loop {
            let said = ready!(self.poll_said(cx))?;
            let own = self.answered + 1 == number;
            if matches!(said, Said::Done(_) | Said::Error(_)) {
                self.answered += 1;
            }
            if own {
                return Poll::Ready(match said {
                    Said::Error(error) => Err(Failed::from(error).into()),
                    said => Ok(said),
                });
            }
        }
    }

    fn poll_said(&mut self, cx: &mut Context<'_>) -> Poll<Result<Said, Error>> {
        loop {
            if let Some(frame) = self.frame() {
                let response = Response::decode(&self.input[frame.clone()])?;
                self.at = frame.end;
                let unknown = || Error::msg("an answer of a kind that this SDK does not know");
                return Poll::Ready(response.response.ok_or_else(unknown));
            }
            self.input.drain(..self.at);
            self.at = 0;
            // Before anything is waited for: both can be what comes next.
            let sent = match self.flush() {
                Ok(sent) => sent,
                // How it ended is to be read.
                Err(Errno::PIPE) => true,
                Err(errno) => return Poll::Ready(Err(io::Error::from(errno).into())),
            };
            if !sent {
                reactor::on_change(self.conn.id(), cx.waker());
            }
            let mut conn = self.conn;
            ready!(Pin::new(&mut conn).poll(cx))?;
            let bytes = self.conn.now();
            if bytes.is_empty() {
                let why = "the service has ended the stream before it has answered";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, why).into()));
            }
            if self.input.is_empty() {
                self.input = bytes;
            } else {
                self.input.extend(bytes);
            }
        }
    }

    /// Where the next message stands, if it is there as a whole.
    fn frame(&self) -> Option<std::ops::Range<usize>> {
        let rest = &self.input[self.at..];
        let length = u32::from_le_bytes(*rest.first_chunk::<HEADER>()?) as usize;
        let begin = self.at + HEADER;
        (rest.len() >= HEADER + length).then_some(begin..begin + length)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Whatever is open is rolled back.
        let _ = self.flush();
        let _ = self.conn.close();
    }
}
