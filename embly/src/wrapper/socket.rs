//! The master's end of a wrapper's socket.
//!
//! Only what can be read is watched, until a write has found no room: each time a wrapper reads, the
//! kernel says that there is room, which would wake the master for nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::BytesMut;
use embly_wrapper::process;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A connected socket that does not block.
#[derive(Debug)]
pub struct Socket {
    /// Always there, unless it could not be watched for writes.
    fd: Option<AsyncFd<OwnedFd>>,
    watches_writes: bool,
}

/// What [`Socket::read`] has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// The end.
    End,
    /// Nothing.
    Nothing,
    /// All that was there.
    All,
    /// As much as there was room for.
    Part,
}

impl Socket {
    /// Watches a socket.
    ///
    /// # Errors
    /// That of `epoll_ctl`.
    pub fn new(fd: impl Into<OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            fd: Some(watch(fd.into(), Interest::READABLE)?),
            watches_writes: false,
        })
    }

    fn fd(&self) -> io::Result<&AsyncFd<OwnedFd>> {
        self.fd
            .as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The socket itself.
    ///
    /// # Errors
    /// When it is not there any more.
    pub fn borrow(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.fd()?.as_fd())
    }

    /// Waits for something to read, or for room to write where a write has found none before.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub async fn ready(&self, interest: Interest) -> io::Result<tokio::io::Ready> {
        let guard = self.fd()?.ready(interest).await?;
        Ok(guard.ready())
    }

    /// Waits for the first thing that `call` can read.
    ///
    /// # Errors
    /// That of `call`.
    pub async fn first<T>(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.fd()?
            .async_io(Interest::READABLE, |fd| call(fd.as_fd()))
            .await
    }

    /// Whether it is open and there is nothing to read. Costs no system call as long as the runtime
    /// has heard nothing of it.
    pub fn is_silent(&self) -> bool {
        let look = |fd: &OwnedFd| process::look(fd.as_fd());
        let heard = self.fd().and_then(|fd| fd.try_io(Interest::READABLE, look));
        heard.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Reads to the end of `buffer`, at most so many bytes.
    ///
    /// # Errors
    /// That of `recv`.
    pub fn read(&self, buffer: &mut BytesMut, most: usize) -> io::Result<Found> {
        let mut all = None;
        let result = self.fd()?.try_io(Interest::READABLE, |fd| {
            let bytes = process::read(fd.as_fd(), buffer, most)?;
            if bytes == most || bytes == 0 {
                return Ok(bytes);
            }
            // Nothing is left: the next thing shows as a new event, so nobody looks in vain.
            all = Some(Found::All);
            Err(io::ErrorKind::WouldBlock.into())
        });
        match result {
            Ok(0) => Ok(Found::End),
            Ok(_) => Ok(Found::Part),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Ok(all.unwrap_or(Found::Nothing))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes what there is room for. From the first `WouldBlock` on, writes are watched.
    ///
    /// # Errors
    /// That of `send`.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.watches_writes {
            let write = |fd: &OwnedFd| process::write(fd.as_fd(), bytes);
            return self.fd()?.try_io(Interest::WRITABLE, write);
        }
        let result = process::write(self.borrow()?, bytes);
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::WouldBlock
            && let Some(fd) = self.fd.take()
        {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.fd = Some(watch(fd.into_inner(), both)?);
            self.watches_writes = true;
        }
        result
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of types that may name another descriptor \
              each time; an `OwnedFd` never does"
)]
fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
