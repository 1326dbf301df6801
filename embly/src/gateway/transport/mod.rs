//! Between the socket and what a gateway speaks: who a proxy speaks for, and TLS.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod proxy;
mod socket;
mod stream;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Gateway, Site};
use crate::config::{self, GatewayKind, Proxies, Timeouts};
use crate::report::typed;
use crate::tls::{self, Authority, AuthorityError, SetupError};
pub use socket::{Patience, Peer, Socket, Wire};
pub use stream::Stream;

/// A client gets this long to begin TLS, and no longer than for a head.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// A proxy gets this long to say whom it speaks for, and no longer than a client for a head.
const HEADER_WITHIN: Duration = Duration::from_secs(5);

/// The files of certificates are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How the clients of one socket are met. A reload replaces it.
#[derive(Debug, Default)]
pub struct Transport {
    tls: Option<tls::Server>,
    /// Whose word about clients counts.
    pub proxies: Proxies,
    proxy_protocol: bool,
    /// Of these, those that count before it is known whom a request is for.
    pub timeouts: Timeouts,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No certificate.
    #[error("gateway `{gateway}`: {source}")]
    Tls {
        /// Its name.
        gateway: String,
        /// Why.
        source: Box<SetupError>,
    },
    /// No certificate for development.
    #[error("gateway `{gateway}`: {source}")]
    Authority {
        /// Its name.
        gateway: String,
        /// Why.
        source: Box<AuthorityError>,
    },
    /// Nobody else trusts the authority of a developer.
    #[error(
        "gateway `{gateway}`: `tls: {{dev: true}}` is for `embly dev`, write `tls: {{cert: FILE, key: FILE}}`"
    )]
    OnlyDev {
        /// Its name.
        gateway: String,
    },
}

/// A client that was met.
#[derive(Debug)]
pub struct Met {
    /// What it says.
    pub stream: Stream,
    /// Who it is.
    pub peer: Peer,
}

impl Transport {
    /// For gateways that share a socket; there is at least one. `authority` is the folder of the one
    /// for development, and what to say of it is returned. Blocks.
    ///
    /// # Errors
    /// See [`TransportError`].
    pub fn new(
        gateways: &[&config::Gateway],
        authority: Option<&Path>,
    ) -> Result<(Self, Option<String>), TransportError> {
        let first = gateways[0];
        let gateway = || first.name.clone();
        let tls = gateways.iter().filter_map(|gateway| gateway.tls.as_ref());
        let tls: Vec<_> = tls.collect();
        let mut transport = Self {
            tls: None,
            // The same for all of them.
            proxies: first.proxies.clone(),
            proxy_protocol: first.proxy_protocol,
            timeouts: first.timeouts,
        };
        if tls.is_empty() {
            return Ok((transport, None));
        }
        let files: Vec<_> = tls.iter().flat_map(|tls| tls.files.clone()).collect();
        let (mut made, mut told) = (None, None);
        if tls.iter().any(|tls| tls.dev) {
            let folder = authority.ok_or_else(|| TransportError::OnlyDev { gateway: gateway() })?;
            let hosts = gateways.iter().flat_map(|gateway| &gateway.hosts);
            let names: Vec<_> = hosts.map(ToString::to_string).collect();
            let certified = Authority::in_folder(folder).and_then(|authority| {
                told = Some(trust(&authority.certificate()));
                authority.certify(&names)
            });
            made = Some(certified.map_err(|source| TransportError::Authority {
                gateway: gateway(),
                source: source.into(),
            })?);
        }
        let alpn: &[&[u8]] = match first.kind {
            GatewayKind::Http => &[b"h2", b"http/1.1"],
            // There are none over HTTP/2 here.
            GatewayKind::Websocket => &[b"http/1.1"],
            GatewayKind::Tcp => &[],
        };
        let tls = tls::Server::new(&files, made, alpn).map_err(|source| TransportError::Tls {
            gateway: gateway(),
            source: source.into(),
        })?;
        transport.tls = Some(tls);
        Ok((transport, told))
    }

    /// For a client that is the master itself: nobody stands before it, and nobody reads along.
    pub fn of_the_master(timeouts: Timeouts) -> Self {
        Self {
            timeouts,
            ..Self::default()
        }
    }

    /// Whether a client gets nothing but its own bytes, without a wait.
    pub fn is_plain(&self) -> bool {
        self.tls.is_none() && !self.proxy_protocol
    }

    /// Begins what is to be begun before a client is listened to.
    ///
    /// # Errors
    /// The client does not, or not in time.
    pub async fn meet(
        &self,
        socket: Socket,
        mut peer: Peer,
        patience: Patience,
    ) -> io::Result<Met> {
        let mut wire = Wire::new(socket, patience);
        let within = |most: Duration| self.timeouts.head.map_or(most, |head| head.min(most));
        if self.proxy_protocol {
            if !peer.is_one_of(&self.proxies) {
                return Err(io::Error::other("it is not one of the `proxies`"));
            }
            let header = timeout(within(HEADER_WITHIN), proxy::header(&mut wire, peer));
            let (client, more) = header.await??;
            peer = client;
            wire.put_back(more.freeze());
        }
        let stream = match &self.tls {
            None => Stream::Plain(wire),
            Some(tls) => {
                let accepted = timeout(within(HANDSHAKE_WITHIN), tls.accept(wire)).await;
                Stream::Tls(Box::new(accepted??))
            }
        };
        Ok(Met { stream, peer })
    }
}

/// How to make browsers and tools trust an authority.
fn trust(certificate: &Path) -> String {
    let path = certificate.to_string_lossy();
    let path = typed(&path);
    format!(
        "its certificate is for development: trust the authority in {path} with `curl --cacert {path}`, \
         or on Debian for the whole machine with `sudo cp {path} \
         /usr/local/share/ca-certificates/embly-dev.crt && sudo update-ca-certificates`"
    )
}

impl Site {
    /// Looks at the files of certificates, as long as it is polled.
    pub(super) async fn follow_certificates(self: Arc<Self>) {
        loop {
            let transport = self.transport();
            let Some(tls) = transport.tls.clone().filter(tls::Server::has_files) else {
                // There is nothing to look at until a reload.
                self.changed.notified().await;
                continue;
            };
            sleep(LOOK_EVERY).await;
            // A panic was printed.
            let told = tokio::task::spawn_blocking(move || tls.reload()).await;
            let Gateway {
                name, switchboard, ..
            } = &*self.first();
            for told in told.unwrap_or_default() {
                match told {
                    Ok(file) => switchboard.reporter().info(format!(
                        "gateway `{name}`: new certificate from `{}`",
                        file.display()
                    )),
                    Err(error) => switchboard.reporter().warn(format!(
                        "gateway `{name}`: {error}; the certificate is the one from before"
                    )),
                }
            }
        }
    }
}
