//! The body of a request, as it arrives.

use super::{chunked::Decoder, head::Framing};
use crate::{
    error::Error,
    stream::{Conn, Found, input},
    task,
};
use http::HeaderMap;
use std::{
    future::poll_fn,
    io::{self, Read},
    task::{Context, Poll, ready},
};

/// The body of a request, or of a response to one of ours.
///
/// It is a stream: nothing holds the whole of it unless you ask for [`bytes`](Self::bytes), and
/// a client that sends faster than it is read waits. A body that breaks off is an error, it never
/// looks like a complete one. Not reading it is fine.
#[derive(Debug)]
pub struct Body {
    conn: Conn,
    rest: Rest,
    /// Decoded and not read yet, from here on.
    ready: Vec<u8>,
    start: usize,
}

#[derive(Debug)]
enum Rest {
    Length(u64),
    Chunked(Decoder),
    /// Up to the end of the stream with the HTTP client; what is left of our request goes there.
    #[cfg(feature = "http-client")]
    Called(Box<super::client::Exchange>),
    Done(HeaderMap),
}

impl Default for Body {
    /// A body without bytes.
    fn default() -> Self {
        Self::new(Conn::PARENT, Framing::None)
    }
}

impl Body {
    pub(super) fn new(conn: Conn, framing: Framing) -> Self {
        let rest = match framing {
            Framing::None => Rest::Done(HeaderMap::new()),
            Framing::Length(length) => Rest::Length(length),
            Framing::Chunked => Rest::Chunked(Decoder::default()),
        };
        Self {
            conn,
            rest,
            ready: Vec::new(),
            start: 0,
        }
    }

    /// What the HTTP client hands on.
    #[cfg(feature = "http-client")]
    pub(super) fn called(exchange: super::client::Exchange) -> Self {
        Self {
            conn: exchange.conn(),
            rest: Rest::Called(Box::new(exchange)),
            ready: Vec::new(),
            start: 0,
        }
    }

    /// How what is left of it would be marked out.
    pub(super) fn framing(&self) -> Framing {
        let ready = (self.ready.len() - self.start) as u64;
        match self.rest {
            Rest::Done(_) if ready == 0 => Framing::None,
            Rest::Done(_) => Framing::Length(ready),
            Rest::Length(left) => Framing::Length(left + ready),
            Rest::Chunked(_) => Framing::Chunked,
            #[cfg(feature = "http-client")]
            Rest::Called(_) => Framing::Chunked,
        }
    }

    /// The whole body; waits for all of it.
    ///
    /// With `std::io::Read` in scope this is found on a `&mut Body`, as
    /// `req.body_mut().bytes()`; on a `Body` of your own use [`into_bytes`](Self::into_bytes).
    ///
    /// # Errors
    /// When the body breaks off or its coding is broken.
    pub fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        self.read_to_end(&mut all)?;
        Ok(all)
    }

    /// The whole body; waits for all of it.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub fn into_bytes(mut self) -> Result<Vec<u8>, Error> {
        Self::bytes(&mut self)
    }

    /// The body piece by piece, while other futures go on.
    ///
    /// ```no_run
    /// # use embly_sdk as embly;
    /// # async fn f(mut req: embly::http::Request<embly::http::Body>) -> Result<(), embly::Error> {
    /// let mut chunks = req.body_mut().chunks();
    /// while let Some(chunk) = chunks.next().await {
    ///     println!("{} bytes", chunk?.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn chunks(&mut self) -> Chunks<'_> {
        Chunks { body: self }
    }

    /// What a client sent after a chunked body, once the body was read to its end.
    pub fn trailers(&self) -> Option<&HeaderMap> {
        match &self.rest {
            Rest::Done(trailers) if !trailers.is_empty() => Some(trailers),
            _ => None,
        }
    }

    /// Waits until there are decoded bytes; `false` at the end.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if self.start < self.ready.len() {
                return Poll::Ready(Ok(true));
            }
            if let Rest::Done(_) = self.rest {
                return Poll::Ready(Ok(false));
            }
            #[cfg(feature = "http-client")]
            if let Rest::Called(exchange) = &mut self.rest {
                match ready!(exchange.poll_news(cx))? {
                    Found::News => self.decode()?,
                    Found::End => self.rest = Rest::Done(HeaderMap::new()),
                }
                continue;
            }
            match ready!(self.conn.poll_news(cx))? {
                Found::News => self.decode()?,
                Found::End => return Poll::Ready(Err(cut())),
            }
        }
    }

    /// Decodes what has arrived.
    fn decode(&mut self) -> io::Result<()> {
        let mut arrived = input::take_some(self.conn.id());
        let rest;
        self.start = 0;
        match &mut self.rest {
            Rest::Length(left) => {
                let n = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(arrived.len());
                rest = arrived.split_off(n);
                self.ready = arrived;
                *left -= n as u64;
                if *left == 0 {
                    self.rest = Rest::Done(HeaderMap::new());
                }
            }
            Rest::Chunked(decoder) => {
                self.ready.clear();
                let n = decoder
                    .decode(&arrived, &mut self.ready)
                    .map_err(|broken| io::Error::new(io::ErrorKind::InvalidData, broken))?;
                rest = arrived.split_off(n);
                if decoder.is_done() {
                    self.rest = Rest::Done(std::mem::take(&mut decoder.trailers));
                }
            }
            #[cfg(feature = "http-client")]
            Rest::Called(_) => {
                self.ready = arrived;
                rest = Vec::new();
            }
            Rest::Done(_) => rest = arrived,
        }
        input::unread(self.conn.id(), &rest);
        Ok(())
    }
}

/// The client went away, or its gateway refused the rest.
fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the request body broke off")
}

impl Read for Body {
    /// Waits for bytes; 0 only at the end of the body.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || !task::block_on_poll(|cx| self.poll_ready(cx))? {
            return Ok(0);
        }
        let ready = &self.ready[self.start..];
        let n = buf.len().min(ready.len());
        buf[..n].copy_from_slice(&ready[..n]);
        self.start += n;
        Ok(n)
    }
}

/// The pieces of a body, see [`Body::chunks`].
#[derive(Debug)]
pub struct Chunks<'a> {
    body: &'a mut Body,
}

impl Chunks<'_> {
    /// The next piece, of any size but 0; `None` at the end of the body.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, Error>> {
        match poll_fn(|cx| self.body.poll_ready(cx)).await {
            Ok(true) => {
                let mut chunk = std::mem::take(&mut self.body.ready);
                chunk.drain(..std::mem::take(&mut self.body.start));
                Some(Ok(chunk))
            }
            Ok(false) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}
