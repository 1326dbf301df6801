//! The private folder for the master's sockets.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::admin;

/// A folder of its own for each master, removed when dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

/// Why there is no such folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made.
    #[error("cannot make the socket folder `{}`: {source}; set XDG_RUNTIME_DIR to a folder that you can write", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read the socket folder `{}`: {source}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could change it.
    #[error("the socket folder `{}` is not private to this user; remove it, or set XDG_RUNTIME_DIR", .0.display())]
    NotPrivate(PathBuf),
}

/// Whether a master of this user runs, whatever its project is.
pub fn is_any_running() -> bool {
    let entries = bases().into_iter().flat_map(fs::read_dir).flatten();
    entries
        .flatten()
        .any(|entry| UnixStream::connect(entry.path().join(admin::SOCKET)).is_ok())
}

impl Folder {
    /// Makes the folder: `$XDG_RUNTIME_DIR/embly/ID`, else `/tmp/embly-UID/ID`.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn create() -> Result<Self, FolderError> {
        let base = made_base()?;
        sweep(&base);
        let path = base.join(format!("{:08x}", rand::random::<u32>()));
        make(&path)?;
        Ok(Self { path })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name, which no other master of this user has.
    pub fn id(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The socket for wrappers, in each folder.
pub const SOCKET: &str = "wrapper.sock";

/// The folders of all masters of this user: their names, and their admin sockets. What masters that
/// were killed have left is removed.
///
/// # Errors
/// They are not private, or cannot be read.
pub fn folders() -> Result<Vec<(String, PathBuf)>, FolderError> {
    let mut found = Vec::new();
    for base in bases() {
        let unreadable = |source| FolderError::Read {
            path: base.clone(),
            source,
        };
        match is_private(&base) {
            Ok(true) => {}
            // The service is another user's.
            Ok(false) if base == Path::new(OF_SERVICE) => continue,
            Ok(false) => return Err(FolderError::NotPrivate(base)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(error)),
        }
        sweep(&base);
        for entry in fs::read_dir(&base).map_err(unreadable)?.flatten() {
            let socket = entry.path().join(admin::SOCKET);
            // One that has just begun has none.
            if socket.exists() {
                found.push((entry.file_name().to_string_lossy().into_owned(), socket));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn make(path: &Path) -> Result<(), FolderError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|source| FolderError::Create {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Where all masters have their folders, made where it is not there.
pub(super) fn made_base() -> Result<PathBuf, FolderError> {
    let base = base();
    make(&base)?;
    // In /tmp anybody may have made it first.
    match is_private(&base) {
        Ok(true) => Ok(base),
        Ok(false) => Err(FolderError::NotPrivate(base)),
        Err(source) => Err(FolderError::Create { path: base, source }),
    }
}

/// Where a service of systemd has its own, as `RuntimeDirectory=embly` makes it: who comes by `sudo` or `ssh` has another
/// `XDG_RUNTIME_DIR`, or none.
const OF_SERVICE: &str = "/run/embly/embly";

/// Where masters of this user may have their folders.
pub(super) fn bases() -> Vec<PathBuf> {
    let mut bases = vec![base()];
    if bases[0] != Path::new(OF_SERVICE) {
        bases.push(OF_SERVICE.into());
    }
    bases
}

/// Where a master makes its own.
fn base() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder).join("embly"),
        None => PathBuf::from(format!(
            "/tmp/embly-{}",
            rustix::process::geteuid().as_raw()
        )),
    }
}

fn is_private(base: &Path) -> io::Result<bool> {
    let meta = fs::symlink_metadata(base)?;
    let uid = rustix::process::geteuid().as_raw();
    Ok(meta.is_dir() && meta.uid() == uid && meta.mode() & 0o077 == 0)
}

/// A folder without a socket may be one whose master has just begun.
const YOUNG: Duration = Duration::from_secs(60);

/// Removes what masters that were killed have left behind: folders whose admin socket nobody
/// listens on any more.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let dead = match UnixStream::connect(entry.path().join(admin::SOCKET)) {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let age = entry
                    .metadata()
                    .and_then(|meta| meta.modified())
                    .map(|at| at.elapsed());
                age.is_ok_and(|age| age.is_ok_and(|age| age > YOUNG))
            }
            Err(_) => false,
        };
        if dead {
            // Another master may be doing the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Whoever removed it before us did our work.
        let _ = fs::remove_dir_all(&self.path);
    }
}
