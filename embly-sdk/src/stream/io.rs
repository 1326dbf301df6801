//! Reading and writing, in the plain and in the async way.

use super::{conn::Conn, end, hint, input};
use crate::{
    sys::{self, Errno},
    task,
};
use futures_io::{AsyncRead, AsyncWrite};
use std::{
    io::{self, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Bytes that `read_to_end` takes at once: a stream's first window.
const CHUNK: usize = 16 * 1024;

impl Conn {
    fn poll_read_some(self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let kept = input::read(self.id(), buf);
        if kept > 0 {
            return Poll::Ready(Ok(kept));
        }
        let n = ready!(self.poll_sys(cx, || sys::read(self.id(), buf)))?;
        Poll::Ready(if n > 0 { Ok(n) } else { self.end().map(|()| 0) })
    }

    pub(crate) fn poll_write_some(
        self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_sys(cx, || sys::write(self.id(), bytes))
            .map_err(|error| self.why(error))
    }

    /// The other side takes no more: says how it ended, where that explains it.
    fn why(self, error: io::Error) -> io::Error {
        let pipe = error.kind() == io::Error::from(Errno::PIPE).kind();
        match end::exit(self.id()) {
            Ok(Some(exit)) if pipe && !exit.is_ok() => end::error(exit),
            _ => error,
        }
    }
}

impl Read for Conn {
    /// Waits for data; 0 only at the end.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        task::block_on_poll(|cx| self.poll_read_some(cx, buf))
    }

    /// Waits for the end. For an answer to each piece that arrives, use [`bytes`](Conn::bytes).
    fn read_to_end(&mut self, all: &mut Vec<u8>) -> io::Result<usize> {
        let before = all.len();
        let mut chunk = [0; CHUNK];
        loop {
            if all.len() > before {
                hint::wait(*self);
            }
            match self.read(&mut chunk)? {
                0 => return Ok(all.len() - before),
                n => all.extend_from_slice(&chunk[..n]),
            }
        }
    }

    /// As `read_to_end`; the text is added only when all of it is UTF-8.
    fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        let mut all = Vec::new();
        self.read_to_end(&mut all)?;
        let more = String::from_utf8(all)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        text.push_str(&more);
        Ok(more.len())
    }
}

impl Write for Conn {
    /// Waits until the other side has room.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        task::block_on_poll(|cx| self.poll_write_some(cx, bytes))
    }

    /// Nothing to do: bytes are on their way when they are written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Conn {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_read_some(cx, buf)
    }
}

impl AsyncWrite for Conn {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_some(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A half-close: reading goes on.
    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(sys::close(self.id()).map_err(io::Error::from))
    }
}
