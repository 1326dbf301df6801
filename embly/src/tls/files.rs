//! A certificate and its key, in two PEM files.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio_rustls::rustls;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::sign::CertifiedKey;

/// The largest file, in bytes: chains have a few KiB.
const FILE_MAX: u64 = 1 << 20;

/// Where a certificate is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Its chain: its own certificate first, then those that vouch for it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("`{}` cannot be read: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// A file has something else.
    #[error("`{}` {why}", .path.display())]
    Useless {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The two do not belong together.
    #[error("`{}` is not the key of `{}`: {why}", .key.display(), .cert.display())]
    Pair {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the library says.
        why: rustls::Error,
    },
}

impl LoadError {
    /// Whether it is about this file alone.
    pub fn is_of(&self, file: &Path) -> bool {
        match self {
            Self::Unreadable { path, .. } | Self::Useless { path, .. } => path == file,
            Self::Pair { key, .. } => key == file,
        }
    }
}

/// What changes when a file does; `None` for one that is not there.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Files {
    /// Reads both. Blocks.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self) -> Result<CertifiedKey, LoadError> {
        let text = read(&self.cert)?;
        let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|why| useless(&self.cert, format!("is not PEM: {why}")))?;
        let Some(first) = chain.first() else {
            let why = "has no certificate in it".to_owned();
            return Err(useless(&self.cert, why));
        };
        ParsedCertificate::try_from(first)
            .map_err(|why| useless(&self.cert, format!("has no usable certificate: {why}")))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?);
        let key = key.map_err(|why| match why {
            pem::Error::NoItemsFound => useless(&self.key, "has no private key in it".to_owned()),
            why => useless(&self.key, format!("is not PEM: {why}")),
        })?;
        CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|why| match why {
            rustls::Error::InconsistentKeys(_) => LoadError::Pair {
                cert: self.cert.clone(),
                key: self.key.clone(),
                why,
            },
            why => useless(&self.key, format!("has no usable private key: {why}")),
        })
    }

    /// What changes when one of the files does.
    pub(super) fn stamp(&self) -> [Stamp; 2] {
        let stamp = |meta: Metadata| (meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino());
        [&self.cert, &self.key].map(|path| fs::metadata(path).ok().map(stamp))
    }
}

fn useless(path: &Path, why: String) -> LoadError {
    LoadError::Useless {
        path: path.to_owned(),
        why,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let unreadable = |why| LoadError::Unreadable {
        path: path.to_owned(),
        why,
    };
    if fs::metadata(path).map_err(unreadable)?.len() > FILE_MAX {
        return Err(useless(path, format!("has more than {FILE_MAX} bytes")));
    }
    fs::read(path).map_err(unreadable)
}
