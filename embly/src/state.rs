//! The state folder of a project: what must outlive the master. Made when something is first kept,
//! and used by one master at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Whoever holds the lock on this file in the folder may use it; it says who that is.
const LOCK: &str = "lock";

/// Where it is, in the project, unless somebody says otherwise.
pub const FOLDER: &str = "data";

/// Makes the folder where it is not there, private to this user.
///
/// # Errors
/// What the system says.
pub fn make(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The folder, as long as this master has it.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    /// The kernel gives it up with the process, however that ends.
    _lock: File,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another master has it.
    #[error("the state folder `{}` is in use by another master{who}: stop that one, or give this one a folder of its own with `--state DIR`", folder.display())]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// ", process 123", where that is known.
        who: String,
    },
    /// It cannot be made or written.
    #[error("cannot use the state folder `{}`: {source}; give another one with `--state DIR`", folder.display())]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Whether a master uses the folder now.
pub fn is_taken(folder: &Path) -> bool {
    let lock = File::open(folder.join(LOCK));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
}

impl State {
    /// Takes the folder, and makes it where it is not there.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn take(folder: &Path) -> Result<Self, StateError> {
        let unusable = |source| StateError::Unusable {
            folder: folder.to_owned(),
            source,
        };
        make(folder).map_err(unusable)?;
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join(LOCK))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message.
                let _ = lock.read_to_string(&mut pid);
                let pid = pid.trim();
                return Err(StateError::Taken {
                    folder: folder.to_owned(),
                    who: match pid.parse::<u32>() {
                        Ok(pid) => format!(", process {pid}"),
                        Err(_) => String::new(),
                    },
                });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(unusable)?;
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// A path in it.
    pub fn path(&self, relative: &Path) -> PathBuf {
        self.folder.join(relative)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_to_take_a_folder_is_told_who_has_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("deep/data");
        let first = State::take(&folder).unwrap();
        let error = State::take(&folder).unwrap_err().to_string();
        let who = format!("process {}", std::process::id());
        assert!(error.contains(&who) && error.contains("--state"), "{error}");
        assert!(is_taken(&folder) && !is_taken(place.path()));
        drop(first);
        assert!(!is_taken(&folder));
        State::take(&folder).unwrap();
    }
}
