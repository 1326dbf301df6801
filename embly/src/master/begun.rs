//! Commands that become a master and are not one yet: what they have to build may take minutes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::folder::{self, FolderError};

/// How the names of their files end, beside the folders of those that are one.
const ENDING: &str = "begun";

/// A file with the path of a project, locked as long as its master is not there.
#[derive(Debug)]
pub struct Begun {
    path: PathBuf,
    _lock: File,
}

impl Begun {
    /// Says that a master of this project is to come.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn new(project: &Path) -> Result<Self, FolderError> {
        let base = folder::made_base()?;
        let path = base.join(format!("{:08x}.{ENDING}", rand::random::<u32>()));
        let make = || {
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            // Before there is anything in it: an empty one is not looked at.
            file.lock()?;
            file.write_all(project.as_os_str().as_encoded_bytes())?;
            io::Result::Ok(file)
        };
        match make() {
            Ok(lock) => Ok(Self { path, _lock: lock }),
            Err(source) => Err(FolderError::Create { path, source }),
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Whoever looks next removes what is left.
        let _ = fs::remove_file(&self.path);
    }
}

/// The projects of which a master is to come. What commands that were killed have left is removed.
pub fn begun() -> Vec<PathBuf> {
    let folders = folder::bases().into_iter().flat_map(fs::read_dir);
    let entries = folders.flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == ENDING));
    let mut found: Vec<PathBuf> = files.filter_map(|path| project(&path)).collect();
    found.sort();
    found
}

fn project(path: &Path) -> Option<PathBuf> {
    let project = fs::read_to_string(path).ok().filter(|it| !it.is_empty())?;
    let is_left = File::open(path).is_ok_and(|file| file.try_lock().is_ok());
    if is_left {
        // Another command may be doing the same.
        let _ = fs::remove_file(path);
        return None;
    }
    Some(project.into())
}
