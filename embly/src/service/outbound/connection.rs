//! A connection to somebody else, counted as long as it is open.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// A connection that is silent for so long is asked whether the other side is still there …
const PROBE_AFTER: Duration = Duration::from_secs(60);

/// … this often …
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// … and is broken after so many probes without an answer: a machine that has lost its power shows
/// within two minutes.
const PROBES: u32 = 4;

/// A TCP connection that the dialler has made.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    /// Small messages of protocols with questions and answers do not wait for more: what is large
    /// comes in large pieces anyway.
    pub(super) fn new(stream: TcpStream, permit: OwnedSemaphorePermit) -> Self {
        // Each only makes a connection better, and does not fail for one that is there.
        let _ = stream.set_nodelay(true);
        let _ = sockopt::set_socket_keepalive(&stream, true);
        let _ = sockopt::set_tcp_keepidle(&stream, PROBE_AFTER);
        let _ = sockopt::set_tcp_keepintvl(&stream, PROBE_EVERY);
        let _ = sockopt::set_tcp_keepcnt(&stream, PROBES);
        Self {
            stream,
            _permit: permit,
        }
    }

    /// Whom it leads to.
    ///
    /// # Errors
    /// When it is broken already.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Has the system send a reset when it is dropped, so that what was sent does not look whole.
    pub fn abort(&self) {
        // One that is broken needs no reset.
        let _ = self.stream.set_zero_linger();
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
