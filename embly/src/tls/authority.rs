//! A certificate authority for one machine: it vouches for what a developer serves there.
//!
//! Its folder has `authority.pem`, which browsers and tools can be told to trust, its key, and a
//! certificate for each set of names, with the key in the same file. Keys have mode 0600.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, RootCertStore};

use super::{Files, LoadError};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the authority is valid: nobody wants to trust a new one every year.
const AUTHORITY_FOR: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// How long a certificate is: the longest that browsers take.
const CERTIFICATE_FOR: Duration = Duration::from_secs(397 * 24 * 60 * 60);

/// One that is valid for less than this is made anew.
const NEAR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// An authority is made anew when it would not outlive its certificates.
const AUTHORITY_USED_FOR: Duration =
    Duration::from_secs(AUTHORITY_FOR.as_secs() - CERTIFICATE_FOR.as_secs() - NEAR.as_secs());

/// Names for which every certificate is valid.
const OWN_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why there is no authority or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its folder.
    #[error("cannot keep certificates for development in `{}`: {why}", .folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The library.
    #[error("cannot make a certificate for development: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate that was made cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// The authority in a folder.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    /// Held while something is made: two masters may start at once.
    _lock: File,
}

impl Authority {
    /// The one in this folder, which is made if it is not there. Blocks.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn in_folder(folder: &Path) -> Result<Self, AuthorityError> {
        let failed = |why| AuthorityError::Folder {
            folder: folder.to_owned(),
            why,
        };
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed)?,
        }
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|errno| failed(errno.into()))?;
        let authority = Self {
            folder: folder.to_owned(),
            _lock: lock,
        };
        if !authority.is_usable() {
            authority.make()?;
        }
        Ok(authority)
    }

    /// The file with its certificate, for those who are to trust it.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.join("authority.key")
    }

    fn is_usable(&self) -> bool {
        let files = Files {
            cert: self.certificate(),
            key: self.key(),
        };
        let made = fs::metadata(&files.cert).and_then(|meta| meta.modified());
        let age = made.map(|made| SystemTime::now().duration_since(made).unwrap_or_default());
        age.is_ok_and(|age| age < AUTHORITY_USED_FOR) && files.load().is_ok()
    }

    fn make(&self) -> Result<(), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = authority();
        let now = SystemTime::now();
        params.not_before = (now - DAY).into();
        params.not_after = (now + AUTHORITY_FOR).into();
        let certificate = params.self_signed(&key)?;
        self.write(&self.key(), &key.serialize_pem(), 0o600)?;
        self.write(&self.certificate(), &certificate.pem(), 0o644)
    }

    /// A certificate for these names and those of this machine: the one that was made before, or a
    /// new one. Blocks.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn certify(&self, names: &[String]) -> Result<Arc<CertifiedKey>, AuthorityError> {
        let own = OWN_NAMES.iter().map(|name| (*name).to_owned());
        let mut names: Vec<String> = own.chain(names.iter().cloned()).collect();
        names.sort();
        names.dedup();
        let path = self.folder.join(format!("{}.pem", digest(&names)));
        let files = Files {
            cert: path.clone(),
            key: path.clone(),
        };
        if let Ok(kept) = files.load()
            && self.vouches_for(&kept, &names)
        {
            return Ok(Arc::new(kept));
        }
        let unreadable = |why| AuthorityError::Folder {
            folder: self.folder.clone(),
            why,
        };
        let key = fs::read_to_string(self.key()).map_err(unreadable)?;
        let issuer = Issuer::new(authority(), KeyPair::from_pem(&key)?);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name("Embly development certificate");
        let now = SystemTime::now();
        params.not_before = (now - DAY).into();
        params.not_after = (now + CERTIFICATE_FOR - DAY).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?;
        let both = format!("{}{}", certificate.pem(), key.serialize_pem());
        self.write(&path, &both, 0o600)?;
        Ok(Arc::new(files.load()?))
    }

    /// Whether a certificate is this authority's, for all these names, and for a while.
    fn vouches_for(&self, kept: &CertifiedKey, names: &[String]) -> bool {
        let check = || {
            let mut roots = RootCertStore::empty();
            let own = CertificateDer::from_pem_file(self.certificate()).ok()?;
            roots.add(own).ok()?;
            let provider = Arc::new(ring::default_provider());
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().ok()?;
            let since = (SystemTime::now() + NEAR).duration_since(SystemTime::UNIX_EPOCH);
            let then = UnixTime::since_unix_epoch(since.ok()?);
            let valid_for = |name: &String| -> Option<()> {
                // A certificate for all names below one is good for one of them.
                let name = ServerName::try_from(name.replace('*', "any")).ok()?;
                let first = kept.end_entity_cert().ok()?;
                let checked: Result<_, rustls::Error> =
                    verifier.verify_server_cert(first, &[], &name, &[], then);
                checked.ok().map(drop)
            };
            names.iter().try_for_each(valid_for)
        };
        check().is_some()
    }

    /// Writes a file, in one step.
    fn write(&self, path: &Path, text: &str, mode: u32) -> Result<(), AuthorityError> {
        let write = || {
            let new = path.with_extension("new");
            // One that was left behind may have another mode.
            let _ = fs::remove_file(&new);
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
            file.write_all(text.as_bytes())?;
            fs::rename(new, path)
        };
        write().map_err(|why| AuthorityError::Folder {
            folder: self.folder.clone(),
            why,
        })
    }
}

/// What the authority says of itself; the same each time, since certificates name it so.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Embly development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// A short name for a set of names.
fn digest(names: &[String]) -> String {
    let digest = ::ring::digest::digest(&::ring::digest::SHA256, names.join("\n").as_bytes());
    let short = digest.as_ref().iter().take(8);
    short.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_certificate_is_kept_for_its_names_and_made_anew_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("authority");
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let authority = Authority::in_folder(&folder).unwrap();
            authority.certify(&names).unwrap().cert[0].to_vec()
        };
        let first = of(&["a.test", "*.b.test"]);
        assert_eq!(first, of(&["*.b.test", "a.test"]));
        assert_ne!(first, of(&["a.test"]));
        for file in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let name = file.file_name().into_string().unwrap();
            let text = fs::read_to_string(file.path()).unwrap();
            if text.contains("PRIVATE KEY") {
                assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            } else {
                assert!(["authority.pem", "lock"].contains(&&*name), "{name}");
            }
        }
        // A new authority does not vouch for what an old one has made.
        fs::remove_file(folder.join("authority.key")).unwrap();
        assert_ne!(first, of(&["a.test", "*.b.test"]));
    }
}
