//! A connection, plain or with TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::service::outbound::Connection;

/// A connection that is reset when it is dropped, unless all was sent that was to be sent.
#[derive(Debug)]
pub struct Wire {
    carries: Carries,
    settled: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Carries {
    Plain(Connection),
    Tls(Box<TlsStream<Wire>>),
}

/// Says that a wire needs no reset any more.
#[derive(Debug)]
pub struct Settled(Arc<AtomicBool>);

impl Settled {
    /// All was sent, with the end.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Wire {
    /// Without TLS.
    pub fn plain(connection: Connection) -> Self {
        Self {
            carries: Carries::Plain(connection),
            settled: Arc::default(),
        }
    }

    /// With TLS, over one without.
    pub fn tls(stream: TlsStream<Wire>) -> Self {
        let settled = Arc::clone(&stream.get_ref().0.settled);
        Self {
            carries: Carries::Tls(Box::new(stream)),
            settled,
        }
    }

    /// To say that it needs no reset.
    pub fn settled(&self) -> Settled {
        Settled(Arc::clone(&self.settled))
    }

    /// The connection below.
    pub fn connection(&self) -> &Connection {
        match &self.carries {
            Carries::Plain(connection) => connection,
            Carries::Tls(stream) => stream.get_ref().0.connection(),
        }
    }

    /// The protocol that was agreed on (ALPN).
    pub fn alpn(&self) -> String {
        let chosen = match &self.carries {
            Carries::Plain(_) => None,
            Carries::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        };
        String::from_utf8_lossy(chosen.unwrap_or_default()).into_owned()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if !self.settled.load(Ordering::Relaxed) {
            self.connection().abort();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.carries {
            Carries::Plain(connection) => Pin::new(connection).poll_read(context, buffer),
            Carries::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.carries {
            Carries::Plain(connection) => Pin::new(connection).poll_write(context, bytes),
            Carries::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carries {
            Carries::Plain(connection) => Pin::new(connection).poll_flush(context),
            Carries::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    /// A half-close; with TLS after its own.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carries {
            Carries::Plain(connection) => Pin::new(connection).poll_shutdown(context),
            Carries::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
