//! The side of a gateway: which certificate a client gets, and new ones in place of old ones.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::{Accept, TlsAcceptor};

use super::{Files, LoadError};

/// Why a gateway has no TLS.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A certificate is not there.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The library refuses its own settings.
    #[error("cannot prepare TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// TLS for the connections of a gateway.
#[derive(Clone)]
pub struct Server {
    acceptor: TlsAcceptor,
    certificates: Arc<Certificates>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// With these certificates, files first; there is at least one. The first is for clients that
    /// name none. Offers these protocols (ALPN), the best first. Blocks.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(
        files: &[Files],
        made: Option<Arc<CertifiedKey>>,
        alpn: &[&[u8]],
    ) -> Result<Self, SetupError> {
        let certificates = Arc::new(Certificates::new(files, made)?);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as Arc<_>);
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificates,
        })
    }

    /// Begins TLS with a client.
    pub fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Accept<S> {
        self.acceptor.accept(stream)
    }

    /// Whether there is a file that could change.
    pub fn has_files(&self) -> bool {
        !self.certificates.watched().is_empty()
    }

    /// Looks at the files, and takes those that have changed and are as they were at the last look:
    /// nobody is in the middle of writing them. A certificate whose new files are of no use stays as
    /// it was. Blocks.
    pub fn reload(&self) -> Vec<Result<PathBuf, LoadError>> {
        self.certificates.reload()
    }
}

/// A certificate whose files are looked at.
#[derive(Debug)]
struct Watched {
    files: Files,
    /// What the files were when they were read …
    read: Look,
    /// … and when they were looked at last.
    seen: Look,
}

type Look = [Option<(i64, i64, u64, u64)>; 2];

#[derive(Debug)]
struct Certificates {
    /// Those that come from files, in front of the others in `now`.
    watched: Mutex<Vec<Watched>>,
    now: RwLock<Arc<[Arc<CertifiedKey>]>>,
}

impl Certificates {
    fn new(files: &[Files], made: Option<Arc<CertifiedKey>>) -> Result<Self, LoadError> {
        let mut watched = Vec::new();
        let mut now = Vec::new();
        for files in files {
            // Before it is read: a change meanwhile shows at the next look.
            let seen = files.stamp();
            now.push(Arc::new(files.load()?));
            watched.push(Watched {
                files: files.clone(),
                read: seen,
                seen,
            });
        }
        now.extend(made);
        Ok(Self {
            watched: Mutex::new(watched),
            now: RwLock::new(now.into()),
        })
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Arc<[Arc<CertifiedKey>]> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn reload(&self) -> Vec<Result<PathBuf, LoadError>> {
        let mut told = Vec::new();
        let mut now = self.now().to_vec();
        for (watched, current) in self.watched().iter_mut().zip(&mut now) {
            let look = watched.files.stamp();
            let settled = std::mem::replace(&mut watched.seen, look) == look;
            if look == watched.read || !settled {
                continue;
            }
            // What is wrong with it is said once, until it changes again.
            watched.read = look;
            told.push(watched.files.load().map(|new| {
                *current = Arc::new(new);
                watched.files.cert.clone()
            }));
        }
        if !told.is_empty() {
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = now.into();
        }
        told
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.now();
        let named = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok());
        let fits = |key: &&Arc<CertifiedKey>| {
            let (Some(name), Ok(first)) = (&named, key.end_entity_cert()) else {
                return false;
            };
            let parsed = ParsedCertificate::try_from(first);
            parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_ok())
        };
        now.iter().find(fits).or_else(|| now.first()).cloned()
    }
}
