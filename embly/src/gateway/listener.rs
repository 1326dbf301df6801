//! Listening sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::{Peer, Socket};
use crate::report::Reporter;

/// After an accept that failed for want of descriptors or memory: long enough for some to be
/// freed, short enough that a client does not notice.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A socket that listens.
#[derive(Debug)]
pub struct Listener(TcpListener);

/// Why a gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else does.
    #[error("gateway `{gateway}`: port {} is taken on {}, stop what listens there or choose another `port:`", at.port(), at.ip())]
    Taken {
        /// Its name.
        gateway: String,
        /// Where.
        at: SocketAddr,
    },
    /// A low port.
    #[error("gateway `{gateway}`: no permission to listen on port {}, choose one from 1024 up", at.port())]
    NotPermitted {
        /// Its name.
        gateway: String,
        /// Where.
        at: SocketAddr,
    },
    /// Not an address of this machine.
    #[error("gateway `{gateway}`: {} is not an address of this machine, correct `bind:`", at.ip())]
    NotHere {
        /// Its name.
        gateway: String,
        /// Where.
        at: SocketAddr,
    },
    /// Anything else.
    #[error("gateway `{gateway}`: cannot listen on {at}: {source}")]
    Other {
        /// Its name.
        gateway: String,
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl Listener {
    /// Listens on `bind:port`; port 0 is any free one.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(gateway: &str, bind: IpAddr, port: u16) -> Result<Self, BindError> {
        let at = SocketAddr::new(bind, port);
        let gateway = gateway.to_owned();
        TcpListener::bind(at)
            .await
            .map(Self)
            .map_err(|source| match source.kind() {
                io::ErrorKind::AddrInUse => BindError::Taken { gateway, at },
                io::ErrorKind::PermissionDenied => BindError::NotPermitted { gateway, at },
                io::ErrorKind::AddrNotAvailable => BindError::NotHere { gateway, at },
                _ => BindError::Other {
                    gateway,
                    at,
                    source,
                },
            })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// That of `getsockname`.
    pub fn local(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The next connection. One that is gone already, or a machine at its limits, is waited
    /// out; the error is reported once per pause.
    pub async fn accept(&self, gateway: &str, reporter: &Reporter) -> (Socket, Peer) {
        loop {
            match self.0.accept().await {
                Ok((stream, client)) => {
                    // Answers are written whole; waiting for more helps nobody. A connection
                    // that is gone already shows at its first read.
                    let _ = stream.set_nodelay(true);
                    return (Socket::Tcp(Arc::new(stream)), Peer::Ip(client));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    reporter.warn(format!(
                        "gateway `{gateway}`: cannot accept a connection: {error}"
                    ));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
