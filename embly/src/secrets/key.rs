//! The key of the file of secrets: a small file of its own, which should not lie beside what it
//! encrypts. One line: `embly-secrets-key-1:` and 64 hex digits.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::file;

/// The environment variable that names the file.
pub const KEY_FILE: &str = "EMBLY_SECRETS_KEY_FILE";

/// Where it is otherwise, below `$XDG_CONFIG_HOME`, else `~/.config`.
const DEFAULT: &str = "embly/secrets.key";

/// What the file begins with: the version of its form.
const PREFIX: &str = "embly-secrets-key-1:";

/// Bytes of a key.
pub(super) const LENGTH: usize = 32;

/// A file of more bytes is something else.
const LONGEST_FILE: u64 = 1024;

/// A key.
pub(super) struct Key(pub Zeroizing<[u8; LENGTH]>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nobody has said where it is, and there is no place for it.
    #[error(
        "there is no place for their key: set HOME, or type `export {KEY_FILE}=FILE`, a file that is made where it is not there"
    )]
    Unnamed,
    /// It is not where it should be, and the secrets need this one.
    #[error(
        "the key file `{}` is not there: put the one back that they were encrypted with, or let `{KEY_FILE}` name it",
        .0.display()
    )]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("cannot read the key file `{}`: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be made.
    #[error("cannot make the key file `{}`: {source}; `{KEY_FILE}` names another", path.display())]
    Unmade {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read or change it.
    #[error(
        "others than its owner may use the key file `{0}` (mode {mode:03o}): type `chmod 600 {0}`",
        path.display(), mode = mode
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error(
        "the key file `{}` belongs to user {owner}, neither to this one nor to root: have it made anew",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Something else is in it.
    #[error("the file `{}` is not a key that `embly secrets set` has made; `{KEY_FILE}` names another", .0.display())]
    Malformed(PathBuf),
}

/// The file that the environment names, else the usual one; `None` where there is no place for it.
pub(super) fn file() -> Option<PathBuf> {
    let named = std::env::var_os(KEY_FILE).filter(|name| !name.is_empty());
    let usual = || Some(file::of_user("XDG_CONFIG_HOME", ".config")?.join(DEFAULT));
    named.map(PathBuf::from).or_else(usual)
}

/// Reads a key.
///
/// # Errors
/// See [`KeyError`].
pub(super) fn read(path: &Path) -> Result<Key, KeyError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => KeyError::Missing(path.to_owned()),
        _ => KeyError::Unreadable {
            path: path.to_owned(),
            source,
        },
    };
    let file = file::open(path).map_err(unreadable)?;
    // Of the file that was opened, whatever has the name now.
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(KeyError::Malformed(path.to_owned()));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(KeyError::Open {
            path: path.to_owned(),
            mode: meta.mode() & 0o777,
        });
    }
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() != own && meta.uid() != 0 {
        return Err(KeyError::Foreign {
            path: path.to_owned(),
            owner: meta.uid(),
        });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(PREFIX.len() + 2 * LENGTH + 2));
    file.take(LONGEST_FILE)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    parse(&text).ok_or_else(|| KeyError::Malformed(path.to_owned()))
}

/// Makes a key, in a file that is not there yet; folders that are missing are made for this user alone.
///
/// # Errors
/// See [`KeyError`].
pub(super) fn create(path: &Path) -> Result<Key, KeyError> {
    let unmade = |source| KeyError::Unmade {
        path: path.to_owned(),
        source,
    };
    let mut key = Key(Zeroizing::default());
    SystemRandom::new()
        .fill(&mut *key.0)
        .map_err(|_| unmade(io::Error::other("the system has no random numbers")))?;
    let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 2 * LENGTH + 1));
    text.push_str(PREFIX);
    for byte in key.0.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("less than 16"));
        }
    }
    text.push('\n');
    let made = (|| {
        if let Some(folder) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })();
    if let Err(error) = made {
        if error.kind() != io::ErrorKind::AlreadyExists {
            // Half a key is of no use; where there is none, there is nothing to remove.
            let _ = fs::remove_file(path);
        }
        return Err(unmade(error));
    }
    Ok(key)
}

fn parse(text: &[u8]) -> Option<Key> {
    let digits = text
        .trim_ascii_end()
        .strip_prefix(PREFIX.as_bytes())
        .filter(|digits| digits.len() == 2 * LENGTH)?;
    let mut key = Key(Zeroizing::default());
    for (byte, pair) in key.0.iter_mut().zip(digits.chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_that_was_made_is_private_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(*read(&path).unwrap().0 == *made.0);
        // And is never made over another one.
        assert!(create(&path).is_err());
        assert!(*read(&path).unwrap().0 == *made.0);
        let other = create(&folder.path().join("other")).unwrap();
        assert!(*other.0 != *made.0);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_what_to_type() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create(&path).unwrap();
        for mode in [0o604, 0o640, 0o602, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).err().unwrap().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read(&path).is_ok());
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_not_shown() {
        let digits = "0".repeat(63);
        for text in [
            "",
            "hunter2",
            PREFIX,
            &format!("{PREFIX}{digits}"),
            &format!("{PREFIX}{digits}x"),
            &format!("{PREFIX}{digits}00"),
            &format!("embly-secrets-key-2:{digits}0"),
            &"x".repeat(100_000),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("key");
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = read(&path).err().unwrap();
            assert!(matches!(error, KeyError::Malformed(_)), "{text}: {error}");
            assert!(!error.to_string().contains("hunter2"));
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).is_err());
        assert!(matches!(
            read(&folder.path().join("none")),
            Err(KeyError::Missing(_))
        ));
    }
}
