//! Bundles that are run are unpacked in the cache, each in a folder of its own as long as its master
//! lives.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::bundle::{self, About, BundleError, Limits, VerifyKey};
use crate::config::{Bind, Language, Project, StoreKind, Target};

/// Where they are, in the cache.
pub const FOLDER: &str = "bundles";

/// Held by whoever uses a folder; the kernel gives it up with the process, however that ends.
const LOCK: &str = "lock";

/// A bundle in a folder, which is removed when this is dropped.
#[derive(Debug)]
pub struct Unpacked {
    place: PathBuf,
    /// What it is.
    pub about: About,
    _lock: File,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The folder.
    #[error("cannot use the cache folder `{}`: {source}; set XDG_CACHE_HOME", path.display())]
    Place {
        /// It.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Unpacked {
    /// Unpacks a bundle to a folder of its own in the cache. What masters that were killed have left
    /// there is removed.
    ///
    /// # Errors
    /// See [`UnpackError`]; nothing is left then.
    pub fn new(
        from: impl Read,
        cache: &Path,
        must: Option<&VerifyKey>,
    ) -> Result<Self, UnpackError> {
        let all = cache.join(FOLDER);
        let (place, lock) = place(&all).map_err(|source| UnpackError::Place {
            path: all.clone(),
            source,
        })?;
        let mut unpacked = Self {
            place,
            about: About {
                checksum: String::new(),
                signed_by: None,
                files: 0,
                bytes: 0,
            },
            _lock: lock,
        };
        let project = unpacked.project();
        private(&project).map_err(|source| UnpackError::Place {
            path: project.clone(),
            source,
        })?;
        unpacked.about = bundle::unpack(from, &project, must, &Limits::default())?;
        Ok(unpacked)
    }

    /// The folder of the project.
    pub fn project(&self) -> PathBuf {
        self.place.join("project")
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next one.
        let _ = fs::remove_dir_all(&self.place);
    }
}

fn private(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    options.mode(0o600).open(path)
}

/// A folder of its own, with its lock.
fn place(all: &Path) -> io::Result<(PathBuf, File)> {
    match private(all) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    // Nobody looks for what was left behind while another one has a folder and no lock yet.
    let one_at_a_time = lock(&all.join(LOCK))?;
    one_at_a_time.lock()?;
    for entry in fs::read_dir(all)?.flatten() {
        let left = entry.path();
        let dead = left.is_dir() && lock(&left.join(LOCK)).is_ok_and(|it| it.try_lock().is_ok());
        if dead {
            // The next one tries again.
            let _ = fs::remove_dir_all(&left);
        }
    }
    let place = all.join(format!("{:016x}", rand::random::<u64>()));
    private(&place)?;
    let own = lock(&place.join(LOCK))?;
    own.lock()?;
    Ok((place, own))
}

/// Whether all that the project of a bundle has served, run or built lies in the bundle. A project
/// file that names other places was not made by `embly bundle`.
///
/// # Errors
/// What lies elsewhere, in words.
pub fn contained(project: &Project) -> Result<(), String> {
    let outside = |what: String, path: &Path| {
        Err(format!(
            "{what} is at `{}`, which is not in the bundle: somebody has made it by other means, do not use it",
            path.display()
        ))
    };
    let inside = |path: &Path| path.starts_with(&project.root);
    for function in &project.functions {
        let name = &function.name;
        if function.language != Language::Wasm {
            let language = function.language.name();
            return Err(format!(
                "function `{name}` is written in {language}, and a bundle has modules only: make it with `embly bundle`"
            ));
        }
        if !inside(&function.path) {
            return outside(format!("function `{name}`"), &function.path);
        }
    }
    for gateway in &project.gateways {
        let name = &gateway.name;
        for route in &gateway.routes {
            if let Target::Files(files) = &route.target
                && !inside(&files.root)
            {
                return outside(
                    format!("a folder of files of gateway `{name}`"),
                    &files.root,
                );
            }
        }
        if let Bind::Unix(path) = &gateway.bind
            && inside(path)
        {
            return Err(format!(
                "the Unix socket of gateway `{name}` would be in the bundle: write an absolute path"
            ));
        }
    }
    for store in &project.stores {
        let StoreKind::Sql { migrations, .. } = &store.kind else {
            continue;
        };
        for migration in migrations {
            if !inside(&migration.path) {
                let what = format!("a migration of the store `{}`", store.name);
                return outside(what, &migration.path);
            }
        }
    }
    Ok(())
}
