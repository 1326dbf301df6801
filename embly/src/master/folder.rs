//! The private folder for the master's sockets.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

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
    /// Somebody else could change it.
    #[error("the socket folder `{}` is not private to this user; remove it, or set XDG_RUNTIME_DIR", .0.display())]
    NotPrivate(PathBuf),
}

impl Folder {
    /// Makes the folder: `$XDG_RUNTIME_DIR/embly/ID`, else `/tmp/embly-UID/ID`.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn create() -> Result<Self, FolderError> {
        let uid = rustix::process::geteuid().as_raw();
        let base = match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
            Some(folder) => PathBuf::from(folder).join("embly"),
            None => PathBuf::from(format!("/tmp/embly-{uid}")),
        };
        let make = |path: &Path| match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        };
        let failed = |path: &Path, source| FolderError::Create {
            path: path.to_owned(),
            source,
        };
        make(&base).map_err(|source| failed(&base, source))?;
        // In /tmp anybody may have made it first.
        let meta = fs::symlink_metadata(&base).map_err(|source| failed(&base, source))?;
        if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
            return Err(FolderError::NotPrivate(base));
        }
        let path = base.join(format!("{:08x}", rand::random::<u32>()));
        make(&path).map_err(|source| failed(&path, source))?;
        Ok(Self { path })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Whoever removed it before us did our work.
        let _ = fs::remove_dir_all(&self.path);
    }
}
