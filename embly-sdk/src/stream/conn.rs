//! The connection to another function, or to whoever called this one.

use super::{end, input, send::Sending};
use crate::{
    error::Error,
    reason::{Exit, Reason},
    sys::{self, Errno},
    task::{self, reactor},
};
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A stream of bytes in both directions: to the parent (the argument of a handler) or to a child
/// ([`spawn_function`](crate::spawn_function)).
///
/// It is a number, to be copied as one likes. A stream has no boundaries between messages: what
/// was written with two calls may be read with one, and the other way round.
///
/// Plain functions use `Read`, `Write` and the methods here, which wait. Async functions
/// `.await` it and then take the [`bytes`](Self::bytes) that are there, and write with
/// [`send`](Self::send); it is an [`AsyncRead`](futures_io::AsyncRead) and
/// [`AsyncWrite`](futures_io::AsyncWrite) as well.
///
/// # The end
/// When the other side has closed its direction or exited with 0, reading gives 0 bytes. When it
/// ended in any other way (a trap, a limit, a name that does not exist), reading gives an error
/// that carries the [ending](Error::exit) after the last byte. So an answer that was cut short
/// never looks whole.
///
/// # An echo
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{Conn, Error, prelude::*};
///
/// fn echo(mut conn: Conn) -> Result<(), Error> {
///     loop {
///         let bytes = conn.bytes()?; // waits for the first one
///         if bytes.is_empty() {
///             return Ok(()); // the end
///         }
///         conn.write_all(&bytes)?;
///     }
/// }
/// ```
/// `read_to_end` would not do here: it waits for the end of the stream, as its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conn {
    id: i32,
}

/// What a look at a stream can find.
pub(crate) enum Found {
    /// Bytes.
    News,
    /// The good end.
    End,
}

impl Conn {
    pub(crate) const PARENT: Self = Self::new(1);

    pub(crate) const fn new(id: i32) -> Self {
        Self { id }
    }

    pub(crate) fn id(self) -> i32 {
        self.id
    }

    /// Waits until something has arrived that was not read yet, or the stream has ended.
    ///
    /// # Errors
    /// When the stream has ended, but not with a half-close or exit 0.
    pub fn wait(self) -> Result<(), Error> {
        task::block_on(self)
    }

    /// Everything that has arrived so far; waits for the first byte. Empty only at the end.
    ///
    /// (It takes `self`, not `&mut self`, so that it is found before `Read::bytes` of the
    /// standard library. With a `conn: &mut Conn`, write `(*conn).bytes()`.)
    ///
    /// # Errors
    /// When the stream has ended, but not with a half-close or exit 0.
    pub fn bytes(self) -> Result<Vec<u8>, Error> {
        if !input::holds_a_piece(self.id) {
            self.wait()?;
        }
        Ok(input::take_all(self.id))
    }

    /// As [`bytes`](Self::bytes), as text. A character of which only a part has arrived is held
    /// back until the rest has.
    ///
    /// # Errors
    /// As `bytes`; and when it is not UTF-8: the bytes are then still there to be read with
    /// `bytes`.
    pub fn string(self) -> Result<String, Error> {
        loop {
            self.wait()?;
            let news = input::has_news(self.id);
            let bytes = input::take_all(self.id);
            let error = match String::from_utf8(bytes) {
                Ok(text) => return Ok(text),
                Err(error) => error,
            };
            let whole = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            if error.utf8_error().error_len().is_some() || !news {
                input::unread(self.id, bytes);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error).into());
            }
            input::hold_back(self.id, &bytes[whole..]);
            if whole > 0 {
                let mut bytes = error.into_bytes();
                bytes.truncate(whole);
                return Ok(String::from_utf8(bytes).expect("it was checked up to here"));
            }
        }
    }

    /// Sends these bytes while other futures go on: the async form of `write_all`.
    ///
    /// ```no_run
    /// # use embly_sdk as embly;
    /// # async fn f(body: Vec<u8>) -> Result<(), embly::Error> {
    /// let child = embly::spawn_function("resize")?;
    /// child.send(&body).await?;
    /// child.close()?;
    /// child.await?;
    /// println!("{} bytes of the answer are there", child.bytes()?.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(self, bytes: &[u8]) -> Sending<'_> {
        Sending::new(self, bytes)
    }

    /// Says that no more bytes will come from us (a half-close). Reading goes on.
    ///
    /// # Errors
    /// When the stream is not open any more.
    pub fn close(self) -> Result<(), Error> {
        sys::close(self.id).map_err(|errno| io::Error::from(errno).into())
    }

    /// Waits until the other side has ended and says how, whether it was a good end or not.
    ///
    /// A child that has more to say than fits under way waits for us to read it: read to the end
    /// first.
    ///
    /// # Errors
    /// When the stream is not open any more.
    pub fn status(self) -> Result<Exit, Error> {
        let exit = task::block_on_poll(|cx| match end::exit(self.id) {
            Ok(Some(exit)) => Poll::Ready(Ok(exit)),
            Ok(None) => {
                reactor::on_change(self.id, cx.waker());
                Poll::Pending
            }
            Err(errno) => Poll::Ready(Err(io::Error::from(errno))),
        });
        Ok(exit?)
    }

    /// What has arrived, without waiting for anything.
    pub(crate) fn now(self) -> Vec<u8> {
        input::take_all(self.id)
    }

    /// Looks for bytes that nobody has seen yet.
    pub(crate) fn poll_news(self, cx: &mut Context<'_>) -> Poll<io::Result<Found>> {
        if input::has_news(self.id) {
            return Poll::Ready(Ok(Found::News));
        }
        let n = ready!(self.poll_sys(cx, || input::fill(self.id)))?;
        Poll::Ready(if n > 0 {
            Ok(Found::News)
        } else {
            self.end().map(|()| Found::End)
        })
    }

    /// Makes a host call; when there is nothing yet, the task is woken at the next change.
    pub(super) fn poll_sys<T>(
        self,
        cx: &mut Context<'_>,
        call: impl FnOnce() -> sys::Result<T>,
    ) -> Poll<io::Result<T>> {
        match call() {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(Errno::AGAIN) => {
                reactor::on_change(self.id, cx.waker());
                Poll::Pending
            }
            Err(errno) => Poll::Ready(Err(errno.into())),
        }
    }

    /// After the last byte: whether the end is a good one.
    pub(super) fn end(self) -> io::Result<()> {
        match end::exit(self.id)? {
            Some(exit) if exit.reason != Reason::Ok => Err(end::error(exit)),
            Some(_) | None => Ok(()),
        }
    }
}

impl Future for Conn {
    type Output = Result<(), Error>;

    /// The async form of [`wait`](Conn::wait).
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.poll_news(cx))?;
        Poll::Ready(Ok(()))
    }
}
