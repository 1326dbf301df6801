//! TLS towards others: who they are is checked, against the certificate authorities of the system and
//! those of the project.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{self, Handle};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use tokio_util::task::AbortOnDropHandle;

use super::Host;
use crate::file;

/// Sessions that are kept to make the next connection to the same server shorter.
const SESSIONS: usize = 256;

/// Why certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The file cannot be read.
    #[error("cannot read the certificate authorities in `{}`: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// It is something else.
    #[error(
        "`{}` has no certificate authorities: {why}; write them in PEM, each from `-----BEGIN \
         CERTIFICATE-----` to `-----END CERTIFICATE-----`", .path.display()
    )]
    Useless {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The library refuses its own settings.
    #[error("cannot prepare TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Whose word counts for who a server is.
#[derive(Debug, Clone)]
pub struct Authorities(Arc<RootCertStore>);

impl Authorities {
    /// Those of the system, or those that browsers know where it has none. Blocks.
    pub fn of_the_system() -> Self {
        let mut roots = RootCertStore::empty();
        // Single files that are broken are the system's matter; the others count.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self(Arc::new(roots))
    }

    /// Those of the system, and those in a PEM file. Blocks.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn in_file(path: &Path) -> Result<Self, CaError> {
        Self::of_the_system().with_file(path)
    }

    /// These, and those in a PEM file. Blocks.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn with_file(&self, path: &Path) -> Result<Self, CaError> {
        let useless = |why: String| CaError::Useless {
            path: path.to_owned(),
            why,
        };
        let unreadable = |why| CaError::Unreadable {
            path: path.to_owned(),
            why,
        };
        let text = file::small(path).map_err(unreadable)?;
        let mut roots = RootCertStore::empty();
        roots.extend(self.0.roots.iter().cloned());
        for certificate in CertificateDer::pem_slice_iter(&text) {
            let certificate = certificate.map_err(|error| useless(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| useless(error.to_string()))?;
        }
        if roots.len() == self.0.len() {
            return Err(useless("there is no certificate in it".to_owned()));
        }
        Ok(Self(Arc::new(roots)))
    }
}

/// Begins TLS, with one set of authorities. Those that share one share its sessions as well.
#[derive(Clone)]
pub struct Client(Arc<ClientConfig>);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// With these authorities; offers these protocols (ALPN), the best first.
    ///
    /// # Errors
    /// [`CaError::Tls`].
    pub fn new(authorities: &Authorities, alpn: &[&[u8]]) -> Result<Self, CaError> {
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&authorities.0))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Self(Arc::new(config)))
    }

    /// The same, offering these protocols instead.
    pub fn offering(&self, alpn: Vec<Vec<u8>>) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        config.alpn_protocols = alpn;
        Self(Arc::new(config))
    }

    /// For libraries that take it as it is.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }

    /// Begins TLS on a stream. How long that may take is the caller's to say.
    ///
    /// It takes as much CPU time as ten requests, and a function can ask for it as often as it
    /// likes; so it is done by a thread of its own, and only others who begin TLS wait for it.
    ///
    /// # Errors
    /// What the handshake failed with; [`explain`] says it in words.
    pub async fn connect<S>(&self, name: ServerName<'static>, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connector = TlsConnector::from(Arc::clone(&self.0));
        let begins = handshakes()?.spawn(connector.connect(name, stream));
        // Whoever waits no longer wants no more of it.
        let begins = AbortOnDropHandle::new(begins);
        begins.await.map_err(io::Error::other)?
    }
}

/// Where handshakes are made.
///
/// # Errors
/// When the system has no thread for it.
fn handshakes() -> io::Result<&'static Handle> {
    static THREAD: OnceLock<Handle> = OnceLock::new();
    if let Some(handle) = THREAD.get() {
        return Ok(handle);
    }
    let runtime = runtime::Builder::new_current_thread().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("tls".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    // Where two came at once one thread has nothing to do.
    Ok(THREAD.get_or_init(|| handle))
}

/// A host as TLS checks it.
///
/// # Errors
/// A name that no certificate can have.
pub fn server_name(host: &Host) -> Result<ServerName<'static>, String> {
    match host {
        Host::Address(IpAddr::V4(address)) => Ok(ServerName::IpAddress((*address).into())),
        Host::Address(IpAddr::V6(address)) => Ok(ServerName::IpAddress((*address).into())),
        Host::Name(name) => ServerName::try_from(name.clone())
            .map_err(|_| format!("`{name}` is not a name that a certificate can have")),
    }
}

/// What a failed handshake means.
pub fn explain(error: &io::Error) -> String {
    use rustls::{CertificateError, Error};
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "its certificate is signed by nobody that is trusted here; name the file of its authority \
             with `ca: FILE` in its entry of `allow`"
                .to_owned()
        }
        Some(Error::InvalidCertificate(why)) => format!("its certificate is not good: {why}"),
        Some(Error::InvalidMessage(_)) => {
            "what it answers is not TLS; is it a port for plain connections?".to_owned()
        }
        Some(Error::AlertReceived(alert)) => format!("it refuses TLS: {alert:?}"),
        Some(error) => error.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it has closed the connection instead of TLS; is it a port for plain connections?"
                .to_owned()
        }
        None => error.to_string(),
    }
}
