//! The encrypted file of secrets, `secrets.enc` in the state folder. It is read as it is, and changed
//! under a lock, by writing another one that takes its place.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::{self, Key, KeyError};
use super::seal::{self, Unopened};
use super::{Secret, Unfit, is_name};
use crate::state;

/// Name of the file.
const FILE: &str = "secrets.enc";

/// Whoever holds the lock on this one may change it.
const LOCK: &str = "secrets.lock";

/// Where it is written before it takes its place.
const NEW: &str = "secrets.enc.new";

/// Bytes of all names and values together: they are held in memory, and looked for in every line
/// of output.
const MOST: usize = 256 * 1024;

/// A file of more bytes is none of ours: JSON makes six bytes of one at most.
const LONGEST_FILE: u64 = 8 * MOST as u64;

/// A secret of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Secret,
    /// When it was set, in seconds since 1970.
    pub set: i64,
}

/// The secrets of the file, by their names.
pub type Stored = BTreeMap<String, Entry>;

/// An entry as it is written.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
    set: i64,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The system does not let us.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It was written with another key.
    #[error(
        "the secrets in `{}` were encrypted with another key than the one in `{}`: let `{}` name that one",
        path.display(), key.display(), key::KEY_FILE
    )]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// It is not as it was written.
    #[error(
        "the secrets in `{}` were damaged, cut or changed by somebody else: put the file back from a backup, or remove it and set them anew",
        .0.display()
    )]
    Damaged(PathBuf),
    /// It is something else.
    #[error("`{}` is not a file of secrets: move it away", .0.display())]
    Foreign(PathBuf),
    /// It is of a version that we do not know.
    #[error("the secrets in `{}` were written by another version of Embly: use that one", .0.display())]
    Version(PathBuf),
    /// It holds too much.
    #[error("all secrets together have more than {} KiB: remove some", MOST / 1024)]
    Full,
}

/// When the file was last changed, as the system tells it; two that are equal have the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// Where secrets are kept.
#[derive(Debug, Clone)]
pub struct Vault {
    /// The state folder.
    folder: PathBuf,
    /// The file with the key; `None` where there is no place for it.
    key: Option<PathBuf>,
}

impl Vault {
    /// The one of a state folder, with the key that the environment names, else the usual one.
    pub fn new(state: &Path) -> Self {
        Self::with_key(state, key::file())
    }

    /// With a key in this file.
    pub fn with_key(state: &Path, key: Option<PathBuf>) -> Self {
        let folder = state.to_owned();
        Self { folder, key }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Whether the key lies in the folder of what it encrypts, where it protects nothing.
    pub fn key_is_inside(&self) -> bool {
        let key = self.key.as_ref().and_then(|path| path.canonicalize().ok());
        match (key, self.folder.canonicalize()) {
            (Some(key), Ok(folder)) => key.starts_with(folder),
            _ => false,
        }
    }

    /// What is in the file; nothing where there is none.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn read(&self) -> Result<Stored, VaultError> {
        let path = self.path();
        let io = |source| VaultError::Io {
            what: "read",
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Stored::new()),
            file => file.map_err(io)?,
        };
        let mut sealed = Vec::new();
        file.take(LONGEST_FILE + 1)
            .read_to_end(&mut sealed)
            .map_err(io)?;
        if sealed.len() as u64 > LONGEST_FILE {
            return Err(VaultError::Foreign(path));
        }
        let key_file = self.key.clone().ok_or(KeyError::Unnamed)?;
        let key = key::read(&key_file)?;
        let plain = seal::open(&key, sealed).map_err(|why| match why {
            Unopened::Foreign => VaultError::Foreign(path.clone()),
            Unopened::Version => VaultError::Version(path.clone()),
            Unopened::Damaged => VaultError::Damaged(path.clone()),
            Unopened::OtherKey => VaultError::OtherKey {
                path: path.clone(),
                key: key_file,
            },
        })?;
        parse(&plain).ok_or(VaultError::Damaged(path))
    }

    /// Changes what is in the file; whoever does so at the same time waits. The key is made where
    /// none is there yet and nothing needs one; the second value says where.
    ///
    /// # Errors
    /// See [`VaultError`]. Nothing has changed then.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut Stored) -> T,
    ) -> Result<(T, Option<PathBuf>), VaultError> {
        let key_file = self.key.clone().ok_or(KeyError::Unnamed)?;
        let path = self.path();
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| VaultError::Io { what, path, source }
        };
        state::make(&self.folder).map_err(io("make", &self.folder))?;
        let lock_path = self.folder.join(LOCK);
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io("open", &lock_path))?;
        lock.lock().map_err(io("lock", &lock_path))?;
        let there = path.try_exists().map_err(io("read", &path))?;
        let (key, made) = match key::read(&key_file) {
            Err(KeyError::Missing(_)) if !there => (key::create(&key_file)?, Some(key_file)),
            key => (key?, None),
        };
        let mut stored = self.read()?;
        let changed = change(&mut stored);
        self.write(&key, &stored)?;
        Ok((changed, made))
    }

    fn write(&self, key: &Key, stored: &Stored) -> Result<(), VaultError> {
        let (new, path) = (self.folder.join(NEW), self.path());
        let plain = text(stored)?;
        let written = (|| {
            let sealed = seal::seal(key, &plain)
                .map_err(|_| io::Error::other("the system has no random numbers"))?;
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(&sealed)?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.folder)?.sync_all()
        })();
        written.map_err(|source| VaultError::Io {
            what: "write",
            path,
            source,
        })
    }

    /// When the file was last changed; `None` where there is none, or it cannot be seen.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let meta = fs::metadata(self.path()).ok()?;
        Some(Stamp {
            inode: meta.ino(),
            bytes: meta.len(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

fn parse(plain: &[u8]) -> Option<Stored> {
    let written: Vec<Written<'_>> = serde_json::from_slice(plain).ok()?;
    let entry = |written: Written<'_>| {
        let value = Secret::new(written.value.into_owned());
        let (name, set) = (written.name.into_owned(), written.set);
        let value = value.ok().filter(|_| is_name(&name))?;
        Some((name, Entry { value, set }))
    };
    written.into_iter().map(entry).collect()
}

fn text(stored: &Stored) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let bytes: usize = stored
        .iter()
        .map(|(name, entry)| name.len() + entry.value.expose().len())
        .sum();
    if bytes > MOST {
        return Err(VaultError::Full);
    }
    let list: Vec<Written<'_>> = stored
        .iter()
        .map(|(name, entry)| Written {
            name: Cow::Borrowed(name),
            value: Cow::Borrowed(entry.value.expose()),
            set: entry.set,
        })
        .collect();
    // All of it at once: growing leaves copies behind that nobody wipes.
    let most = 64 * stored.len() + 6 * bytes + 2;
    let mut plain = Zeroizing::new(Vec::with_capacity(most));
    serde_json::to_writer(&mut *plain, &list).expect("texts and numbers have a JSON form");
    Ok(plain)
}

/// Why a value cannot be taken, as an error of the command line.
impl Unfit {
    /// With the name of the secret.
    pub fn of(self, name: &str) -> String {
        format!("the secret `{name}` {self}")
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn entry(value: &str) -> Entry {
        let value = Secret::new(value.to_owned()).unwrap();
        Entry { value, set: 7 }
    }

    fn vault() -> (tempfile::TempDir, Vault) {
        let place = tempfile::tempdir().unwrap();
        let key = place.path().join("key");
        let vault = Vault::with_key(&place.path().join("data"), Some(key));
        (place, vault)
    }

    #[test]
    fn what_is_set_is_there_and_the_first_change_makes_the_key() {
        let (place, vault) = vault();
        assert_eq!(vault.read().unwrap(), Stored::new());
        let value = "quotes \" and\nlines";
        let set = |name: &str, value: &str| {
            let change = |all: &mut Stored| drop(all.insert(name.to_owned(), entry(value)));
            vault.change(change).unwrap().1
        };
        assert_eq!(set("A", value), Some(place.path().join("key")));
        assert_eq!(set("B", "other"), None);
        let there = vault.read().unwrap();
        assert_eq!(there["A"], entry(value));
        assert_eq!(there.len(), 2);
        let file = fs::read(vault.path()).unwrap();
        assert!(!String::from_utf8_lossy(&file).contains("quotes"));
        assert_eq!(fs::metadata(vault.path()).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let (_place, vault) = vault();
        thread::scope(|scope| {
            for n in 0..16 {
                let vault = &vault;
                scope.spawn(move || {
                    let name = format!("S{n}");
                    vault
                        .change(|all| drop(all.insert(name, entry("value"))))
                        .unwrap();
                });
            }
        });
        assert_eq!(vault.read().unwrap().len(), 16);
    }

    #[test]
    fn without_its_key_the_file_is_neither_read_nor_written() {
        let (place, vault) = vault();
        vault
            .change(|all| drop(all.insert("A".into(), entry("value"))))
            .unwrap();
        let before = fs::read(vault.path()).unwrap();
        fs::remove_file(place.path().join("key")).unwrap();
        let told = |vault: &Vault, words: &str| {
            let read = vault.read().unwrap_err().to_string();
            let changed = vault.change(|all| all.clear()).unwrap_err().to_string();
            assert_eq!(read, changed);
            assert!(read.contains(words), "{read}");
        };
        told(&vault, "is not there: put the one back");
        assert!(!place.path().join("key").exists());
        told(
            &Vault::with_key(&place.path().join("data"), None),
            "export EMBLY_SECRETS_KEY_FILE=",
        );
        key::create(&place.path().join("key")).unwrap();
        told(&vault, "encrypted with another key");
        assert_eq!(fs::read(vault.path()).unwrap(), before);
    }

    #[test]
    fn a_file_that_was_cut_or_changed_is_refused_and_left_as_it_is() {
        let (_place, vault) = vault();
        vault
            .change(|all| drop(all.insert("A".into(), entry("value"))))
            .unwrap();
        let whole = fs::read(vault.path()).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        for wrong in [&changed[..], &whole[..whole.len() - 1], b"", b"A=value"] {
            fs::write(vault.path(), wrong).unwrap();
            let error = vault.read().unwrap_err();
            assert!(
                matches!(error, VaultError::Damaged(_) | VaultError::Foreign(_)),
                "{error}"
            );
            assert!(vault.change(|all| all.clear()).is_err());
            assert_eq!(fs::read(vault.path()).unwrap(), wrong);
        }
        fs::write(vault.path(), vec![0; LONGEST_FILE as usize + 1]).unwrap();
        assert!(matches!(vault.read(), Err(VaultError::Foreign(_))));
    }

    #[test]
    fn more_than_fits_is_refused_and_changes_nothing() {
        let (_place, vault) = vault();
        let big = "x".repeat(super::super::LONGEST);
        let fill = |all: &mut Stored| {
            for n in 0..8 {
                all.insert(format!("S{n}"), entry(&big));
            }
        };
        assert!(matches!(vault.change(fill), Err(VaultError::Full)));
        assert_eq!(vault.read().unwrap(), Stored::new());
    }
}
