//! A request that is on its way.

use super::{Error, Kind};
use crate::{
    http::Body,
    proto::http::{Answer, Request as Message, Response as Head, answer::What},
    stream::{Conn, Found, Sending, input},
    sys, task,
};
use futures_io::AsyncWrite;
use http::{HeaderName, HeaderValue, Response, StatusCode, Version};
use prost::Message as _;
use std::{
    future::Future,
    io::{self, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The longest answer: its head, and what is around it. The limit on heads is the host's.
const ANSWER: usize = 4 << 20;

/// Bytes of the length before a message.
const HEADER: usize = 4;

/// Where a response came from, after redirects: an extension of the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalUrl(pub String);

/// A request that is on its way; results in the response, whose body may still be on its way.
///
/// Dropped, it is taken back. So is a response whose body is dropped before its end.
#[derive(Debug)]
#[must_use = "the request is taken back when this is dropped: await it, or `wait`"]
pub struct Call(State);

#[derive(Debug)]
enum State {
    Failed(Error),
    Asked { exchange: Exchange, answer: Vec<u8> },
    Done,
}

/// The stream with the service, and what is still to be written to it. Ends the call when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Exchange {
    conn: Conn,
    unsent: Vec<u8>,
    sent: usize,
    /// Say that no more follows when all is sent.
    closes: bool,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // One that has ended needs no end.
        let _ = sys::kill(self.conn.id());
    }
}

impl Exchange {
    pub(crate) fn conn(&self) -> Conn {
        self.conn
    }

    /// Writes what fits.
    fn push(&mut self, cx: &mut Context<'_>) {
        while self.sent < self.unsent.len() {
            match self.conn.poll_write_some(cx, &self.unsent[self.sent..]) {
                Poll::Ready(Ok(n)) => self.sent += n,
                Poll::Pending => return,
                // The service wants no more of it; why, it says itself.
                Poll::Ready(Err(_)) => break,
            }
        }
        self.unsent = Vec::new();
        self.sent = 0;
        if std::mem::take(&mut self.closes) {
            // As above.
            let _ = self.conn.close();
        }
    }

    /// Looks for bytes that nobody has seen yet, and writes meanwhile.
    pub(crate) fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Found>> {
        if !self.unsent.is_empty() || self.closes {
            self.push(cx);
        }
        let news = self.conn.poll_news(cx);
        news.map_err(|error| Error::of_io(error).into())
    }
}

impl Call {
    /// Sends a request, and this body after it.
    pub(super) fn send(message: Message, body: &[u8]) -> Self {
        let conn = match super::open() {
            Ok(conn) => conn,
            Err(error) => return Self(State::Failed(error)),
        };
        let mut unsent = frame(&message);
        unsent.extend_from_slice(body);
        let mut exchange = Exchange {
            conn,
            unsent,
            sent: 0,
            closes: message.body_follows,
        };
        // Usually all of it fits at once. Nobody waits yet, so nobody is to be woken.
        exchange.push(&mut Context::from_waker(std::task::Waker::noop()));
        Self(State::Asked {
            exchange,
            answer: Vec::new(),
        })
    }

    /// Sends a request whose body others write.
    pub(super) fn start(message: Message) -> Result<(Upload, Self), Error> {
        let mut conn = super::open()?;
        let exchange = Exchange {
            conn,
            unsent: Vec::new(),
            sent: 0,
            closes: false,
        };
        conn.write_all(&frame(&message)).map_err(Error::of_io)?;
        let call = Self(State::Asked {
            exchange,
            answer: Vec::new(),
        });
        Ok((Upload { conn, open: true }, call))
    }

    /// Waits for the response.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn wait(self) -> Result<Response<Body>, Error> {
        task::block_on(self)
    }
}

impl Future for Call {
    type Output = Result<Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut self.get_mut().0;
        if let State::Asked { exchange, answer } = state {
            loop {
                if let Some(head) = taken(answer)? {
                    input::unread(exchange.conn.id(), answer);
                    let State::Asked { exchange, .. } = std::mem::replace(state, State::Done)
                    else {
                        break;
                    };
                    return Poll::Ready(response(head, exchange));
                }
                match ready!(exchange.poll_news(cx)) {
                    Ok(Found::News) => answer.extend(exchange.conn.now()),
                    Ok(Found::End) => break,
                    Err(error) => {
                        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
                        let error = inner.cloned();
                        return Poll::Ready(Err(error.unwrap_or_else(no_answer)));
                    }
                }
            }
        }
        Poll::Ready(Err(match std::mem::replace(state, State::Done) {
            State::Failed(error) => error,
            State::Asked { .. } | State::Done => no_answer(),
        }))
    }
}

fn no_answer() -> Error {
    Error::new(Kind::Other, "the service has ended without an answer")
}

fn frame(message: &Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut frame = Vec::with_capacity(HEADER + length);
    // The service takes far less than 4 GiB, and says so.
    frame.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend(message.encode_to_vec());
    frame
}

/// Takes the answer off what has arrived, if it is all there.
fn taken(arrived: &mut Vec<u8>) -> Result<Option<Head>, Error> {
    let Some(length) = arrived.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let broken =
        |text: String| Error::new(Kind::Other, format!("the answer of the service {text}"));
    let length = u32::from_le_bytes(*length) as usize;
    if length > ANSWER {
        return Err(broken(format!("has {length} bytes")));
    }
    let Some(message) = arrived.get(HEADER..HEADER + length) else {
        return Ok(None);
    };
    let answer =
        Answer::decode(message).map_err(|error| broken(format!("cannot be read: {error}")))?;
    arrived.drain(..HEADER + length);
    match answer.what {
        Some(What::Response(head)) => Ok(Some(head)),
        Some(What::Error(error)) => Err(Error::said(error)),
        None => Err(broken("is empty".to_owned())),
    }
}

fn response(head: Head, exchange: Exchange) -> Result<Response<Body>, Error> {
    let broken = |what: &str| Error::new(Kind::Other, format!("the service has sent {what}"));
    let status = u16::try_from(head.status).ok();
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = Response::new(Body::called(exchange));
    *response.status_mut() = status.ok_or_else(|| broken("a status that is none"))?;
    *response.version_mut() = match head.version {
        10 => Version::HTTP_10,
        20 => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    for header in head.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(&header.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(broken("a header that is none"));
        };
        response.headers_mut().append(name, value);
    }
    response.extensions_mut().insert(FinalUrl(head.url));
    Ok(response)
}

/// Takes the body of a request. Dropped before it was [finished](Self::finish), it takes the request
/// back: half a body never looks whole.
#[derive(Debug)]
pub struct Upload {
    conn: Conn,
    open: bool,
}

impl Upload {
    /// Sends these bytes while other futures go on.
    pub fn send<'a>(&self, bytes: &'a [u8]) -> Sending<'a> {
        self.conn.send(bytes)
    }

    /// Says that this was all of it.
    ///
    /// # Errors
    /// When the service has ended; the [`Call`] says why.
    pub fn finish(mut self) -> Result<(), crate::Error> {
        self.open = false;
        self.conn.close()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.open {
            // One that has ended needs no end.
            let _ = sys::kill(self.conn.id());
        }
    }
}

impl Write for Upload {
    /// Waits until there is room.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.conn.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncWrite for Upload {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.conn).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// As [`finish`](Upload::finish).
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open = false;
        Pin::new(&mut self.conn).poll_close(cx)
    }
}
