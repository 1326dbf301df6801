//! Keys with which bundles are signed. Two small files of one line each: `embly-signing-key-1:` and
//! 64 hex digits, for whoever makes bundles, and `embly-verify-key-1:` and 64 hex digits, for whoever
//! takes them.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::manifest::{Seal, Signature};
use super::{BundleError, hex, unhex};
use crate::file;

const SECRET: &str = "embly-signing-key-1:";
const PUBLIC: &str = "embly-verify-key-1:";

/// Bytes of a key, of either kind.
const LENGTH: usize = 32;

/// A file of more bytes is something else.
const LONGEST_FILE: u64 = 1024;

/// What is signed begins with this, so that no signature of something else fits.
const CONTEXT: &[u8] = b"embly-bundle-1\0";

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read the key `{}`: {source}\nhint: `embly bundle --new-key FILE` makes one", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something is where it is to be made.
    #[error("there is a file `{}` already, and a key is never made over another: name another one, or move it away", .0.display())]
    There(PathBuf),
    /// It cannot be made.
    #[error("cannot make the key `{}`: {source}", path.display())]
    Unmade {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read or change it.
    #[error("others than its owner may use the key `{0}` (mode {mode:03o}): type `chmod 600 {0}`", path.display(), mode = mode)]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Something else is in it.
    #[error("`{}` is not a key to {what} bundles: type `embly bundle --new-key FILE`, which makes `FILE` to sign and `FILE.pub` to verify", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// `sign` or `verify`.
        what: &'static str,
    },
}

/// Signs bundles.
pub struct SigningKey(Ed25519KeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public()).finish()
    }
}

impl SigningKey {
    /// Reads one.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let malformed = || KeyError::Malformed {
            path: path.to_owned(),
            what: "sign",
        };
        let seed = Zeroizing::new(read(path, SECRET, true)?.ok_or_else(malformed)?);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed);
        pair.map(Self).map_err(|_| malformed())
    }

    /// Makes one, in a file that is not there yet, and the key to verify beside it: where that is.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn create(path: &Path) -> Result<PathBuf, KeyError> {
        let unmade = |path: &Path, source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyError::There(path.to_owned()),
            _ => KeyError::Unmade {
                path: path.to_owned(),
                source,
            },
        };
        let mut seed = Zeroizing::new([0; LENGTH]);
        SystemRandom::new()
            .fill(&mut *seed)
            .map_err(|_| unmade(path, io::Error::other("the system has no random numbers")))?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)
            .map_err(|error| unmade(path, io::Error::other(error.to_string())))?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".pub");
        let beside = PathBuf::from(beside);
        let secret = Zeroizing::new(format!("{SECRET}{}\n", *Zeroizing::new(hex(&*seed))));
        let public = format!("{PUBLIC}{}\n", hex(pair.public_key().as_ref()));
        // The one that must not be lost first: nothing is made where it is there.
        write(path, 0o600, &secret).map_err(|source| unmade(path, source))?;
        write(&beside, 0o644, &public).map_err(|source| {
            // Of no use without the other one.
            let _ = fs::remove_file(path);
            unmade(&beside, source)
        })?;
        Ok(beside)
    }

    /// The key to verify, in hex.
    pub fn public(&self) -> String {
        hex(self.0.public_key().as_ref())
    }

    /// Signs the checksum of a manifest.
    pub(super) fn sign(&self, sha256: &str) -> Signature {
        Signature {
            key: self.public(),
            ed25519: hex(self.0.sign(&signed(sha256)).as_ref()),
        }
    }
}

/// What bundles must be signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyKey(String);

impl VerifyKey {
    /// Reads one.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let key = read(path, PUBLIC, false)?.ok_or_else(|| KeyError::Malformed {
            path: path.to_owned(),
            what: "verify",
        })?;
        Ok(Self(hex(&key)))
    }
}

/// Who has signed it, if anybody has; where somebody must have, that it was this one.
pub(super) fn signer(seal: &Seal, must: Option<&VerifyKey>) -> Result<Option<String>, BundleError> {
    let Some(Signature { key, ed25519 }) = &seal.signature else {
        return match must {
            Some(_) => Err(BundleError::Unsigned),
            None => Ok(None),
        };
    };
    if must.is_some_and(|must| must.0 != *key) {
        return Err(BundleError::WrongSigner(key.clone()));
    }
    let public = unhex::<LENGTH>(key).ok_or(BundleError::BadSignature)?;
    let signature = unhex::<64>(ed25519).ok_or(BundleError::BadSignature)?;
    UnparsedPublicKey::new(&ED25519, public)
        .verify(&signed(&seal.sha256), &signature)
        .map_err(|_| BundleError::BadSignature)?;
    Ok(Some(key.clone()))
}

fn signed(sha256: &str) -> Vec<u8> {
    [CONTEXT, sha256.as_bytes()].concat()
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .inspect_err(|_| {
            // Half a key is of no use.
            let _ = fs::remove_file(path);
        })
}

/// `None`: something else is in it.
fn read(path: &Path, prefix: &str, private: bool) -> Result<Option<[u8; LENGTH]>, KeyError> {
    let unreadable = |source| KeyError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = file::open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if private && meta.mode() & 0o077 != 0 {
        return Err(KeyError::Open {
            path: path.to_owned(),
            mode: meta.mode() & 0o777,
        });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_FILE as usize));
    if meta.is_file() {
        let mut file = file.take(LONGEST_FILE);
        file.read_to_end(&mut text).map_err(unreadable)?;
    }
    let digits = text.trim_ascii_end().strip_prefix(prefix.as_bytes());
    Ok(digits.and_then(|digits| unhex(str::from_utf8(digits).ok()?)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_private_made_once_and_signs_what_its_other_half_verifies() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let public = SigningKey::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(SigningKey::create(&path).is_err());
        let key = SigningKey::read(&path).unwrap();
        let must = VerifyKey::read(&public).unwrap();
        let seal = |sha256: &str, signature| Seal {
            sha256: sha256.to_owned(),
            signature,
        };
        let right = key.sign("ab");
        let signed = signer(&seal("ab", Some(right.clone())), Some(&must)).unwrap();
        assert_eq!(signed, Some(key.public()));
        let other = signer(&seal("ac", Some(right)), Some(&must));
        assert!(matches!(other, Err(BundleError::BadSignature)));
        let none = signer(&seal("ab", None), Some(&must));
        assert!(matches!(none, Err(BundleError::Unsigned)));
        SigningKey::create(&folder.path().join("other")).unwrap();
        let stranger = SigningKey::read(&folder.path().join("other")).unwrap();
        let theirs = signer(&seal("ab", Some(stranger.sign("ab"))), Some(&must));
        assert!(matches!(theirs, Err(BundleError::WrongSigner(_))));

        // Each is refused in the place of the other, and where others may read it.
        assert!(SigningKey::read(&public).is_err());
        let error = VerifyKey::read(&path).unwrap_err().to_string();
        assert!(error.contains("--new-key"), "{error}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = SigningKey::read(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
