//! A folder for what a command keeps only as long as it runs.

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// One that is private to this user, for this command.
    ///
    /// # Errors
    /// What the system says.
    pub fn make(command: &str) -> io::Result<Self> {
        let name = format!("embly-{command}-{}", uuid::Uuid::now_v7().simple());
        let folder = env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left lies in the folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
