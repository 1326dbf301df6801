//! A connection that is there.

use super::call::Call;
use crate::{
    error::Error,
    proto::tcp::Opened,
    stream::{Conn, Sending},
    sys,
};
use futures_io::{AsyncRead, AsyncWrite};
use std::{
    fmt,
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll},
};

/// A connection to another server.
///
/// Reading and writing are as on a [`Conn`], and can go on at once: `&Stream` does both as well.
/// When it is dropped its direction is closed, and what was written is still delivered while the
/// invocation lives; [`abort`](Self::abort) has the other side see a reset instead, and so has the
/// end of the invocation.
pub struct Stream {
    call: Call,
    peer: String,
    alpn: String,
}

impl Stream {
    pub(super) fn new(call: Call, opened: Opened) -> Self {
        Self {
            call,
            peer: opened.peer,
            alpn: opened.alpn,
        }
    }

    /// The IP address and port that it leads to.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The protocol that the other side has chosen (ALPN).
    pub fn alpn(&self) -> Option<&str> {
        Some(self.alpn.as_str()).filter(|name| !name.is_empty())
    }

    /// The stream to the service, which carries the bytes of the connection.
    pub fn conn(&self) -> Conn {
        self.call.conn
    }

    /// Everything that has arrived so far; waits for the first byte. Empty only at the end. (In a
    /// plain function: `stream.conn().bytes()`.)
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn receive(&self) -> Result<Vec<u8>, Error> {
        self.conn().await?;
        Ok(self.conn().now())
    }

    /// Sends these bytes while other futures go on: the async form of `write_all`.
    pub fn send<'a>(&self, bytes: &'a [u8]) -> Sending<'a> {
        self.conn().send(bytes)
    }

    /// Says that no more bytes will come from us (a half-close). Reading goes on.
    ///
    /// # Errors
    /// When the connection is not there any more.
    pub fn close_write(&self) -> Result<(), Error> {
        self.conn().close()
    }

    /// Ends it at once. The other side sees a reset: what was sent does not look whole.
    pub fn abort(self) {
        // One that has ended is what is wanted.
        let _ = sys::kill(self.conn().id());
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut it = f.debug_struct("Stream");
        it.field("peer", &self.peer).finish_non_exhaustive()
    }
}

macro_rules! io {
    ($($stream:ty),+) => {$(
        impl Read for $stream {
            /// Waits for data; 0 only at the end.
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.conn().read(buf)
            }
        }

        impl Write for $stream {
            /// Waits until there is room.
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.conn().write(bytes)
            }

            /// Nothing to do: bytes are on their way when they are written.
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.conn()).poll_read(cx, buf)
            }
        }

        impl AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.conn()).poll_write(cx, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.conn()).poll_flush(cx)
            }

            /// A half-close: reading goes on.
            fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.conn()).poll_close(cx)
            }
        }
    )+};
}

io!(Stream, &Stream);
