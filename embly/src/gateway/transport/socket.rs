//! The socket of a client, and the bytes on it.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustix::net::Shutdown;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};

use crate::config::Proxies;

/// The socket of a client. Whoever has a copy can watch it while another one reads and writes.
#[derive(Debug, Clone)]
pub enum Socket {
    /// TCP.
    Tcp(Arc<TcpStream>),
    /// A program on this machine, or in a container beside.
    Unix(Arc<UnixStream>),
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An address and a port.
    Ip(SocketAddr),
    /// A program on this machine.
    Unix,
}

impl Peer {
    /// Its address; that of this machine for a program on it.
    pub fn ip(self) -> IpAddr {
        match self {
            Self::Ip(at) => at.ip().to_canonical(),
            Self::Unix => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }

    /// Whether it is one of these.
    pub fn is_one_of(self, proxies: &Proxies) -> bool {
        match self {
            Self::Ip(at) => proxies.trust(at.ip()),
            Self::Unix => proxies.unix,
        }
    }

    /// Its port.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Ip(at) => Some(at.port()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(at) => at.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl Socket {
    /// Returns when the client has reset the connection. One that only ended its own side is
    /// still answered, and shows at the next write if it has gone.
    pub async fn reset(&self) {
        // An error of the poll itself means that the connection is of no more use.
        let _ = match self {
            Self::Tcp(stream) => stream.ready(Interest::ERROR).await,
            Self::Unix(stream) => stream.ready(Interest::ERROR).await,
        };
    }

    /// When the connection is closed, the client gets a reset. On a Unix socket there is no such
    /// thing.
    pub fn close_with_reset(&self) {
        if let Self::Tcp(stream) = self {
            // Fails for a connection that is gone, which is what is wanted.
            let _ = stream.set_zero_linger();
        }
    }

    /// Returns when there is something to read, or an error to see.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(context),
            Self::Unix(stream) => stream.poll_read_ready(context),
        }
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(context),
            Self::Unix(stream) => stream.poll_write_ready(context),
        }
    }

    fn try_read(&self, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read_buf(buffer),
            Self::Unix(stream) => stream.try_read_buf(buffer),
        }
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Unix(stream) => stream.try_write_vectored(slices),
        }
    }

    fn end(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => rustix::net::shutdown(&**stream, Shutdown::Write)?,
            Self::Unix(stream) => rustix::net::shutdown(&**stream, Shutdown::Write)?,
        }
        Ok(())
    }
}

/// How long a client may take nothing; all copies are one.
#[derive(Debug, Clone)]
pub struct Patience(Arc<AtomicU64>);

impl Patience {
    /// So long; `None` is without end.
    pub fn of(time: Option<Duration>) -> Self {
        let patience = Self(Arc::default());
        patience.set(time);
        patience
    }

    /// From the next time on that it takes nothing, so long.
    pub fn set(&self, time: Option<Duration>) {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let millis = time.map_or(u64::MAX, millis);
        self.0.store(millis, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        let millis = self.0.load(Ordering::Relaxed);
        (millis != u64::MAX).then(|| Duration::from_millis(millis))
    }
}

/// The bytes on a socket. A client that takes nothing for too long is given up.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    patience: Patience,
    /// Since a write has had to wait.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What was read from it already.
    before: Bytes,
}

impl Wire {
    /// Those on this socket.
    pub fn new(socket: Socket, patience: Patience) -> Self {
        Self {
            socket,
            patience,
            stalled: None,
            before: Bytes::new(),
        }
    }

    /// These come first.
    pub fn put_back(&mut self, bytes: Bytes) {
        self.before = bytes;
    }

    fn poll_with(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        while let Poll::Ready(ready) = self.socket.poll_write_ready(context) {
            ready?;
            match write(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    self.stalled = None;
                    return Poll::Ready(result);
                }
            }
        }
        let stalled = match &mut self.stalled {
            Some(stalled) => stalled,
            None => match self.patience.get() {
                Some(time) => self.stalled.insert(Box::pin(sleep(time))),
                None => return Poll::Pending,
            },
        };
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let bytes = self.before.len().min(buffer.remaining());
            buffer.put_slice(&self.before[..bytes]);
            self.before.advance(bytes);
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.socket.poll_read_ready(context))?;
            match self.socket.try_read(buffer) {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(context, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(context, |socket| socket.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.end())
    }
}
