//! How far each schedule has got, for those that make up for what was missed: a small file each, in
//! the state folder.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::state::State;

/// Their folder, in the state folder.
const FOLDER: &str = "cron";

/// The files.
#[derive(Debug)]
pub struct Records {
    folder: PathBuf,
    /// As long as they are used.
    _state: Arc<State>,
}

/// They cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`: {source}; give another state folder with `--state DIR`", path.display())]
pub struct RecordError {
    path: PathBuf,
    source: io::Error,
}

impl Records {
    /// Those of a state folder.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(state: Arc<State>) -> Result<Self, RecordError> {
        let folder = state.path(Path::new(FOLDER));
        match crate::state::make(&folder) {
            Ok(()) => Ok(Self {
                folder,
                _state: state,
            }),
            Err(source) => Err(RecordError {
                path: folder,
                source,
            }),
        }
    }

    /// Up to when the gateway of this name has done its work; `None` where that is not known.
    pub fn done(&self, gateway: &str) -> Option<Timestamp> {
        let text = fs::read_to_string(self.folder.join(gateway)).ok()?;
        text.trim().parse().ok()
    }

    /// Keeps it, whole or not at all. Blocks for as long as a disk takes.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(&self, gateway: &str, done: Timestamp) -> Result<(), RecordError> {
        let path = self.folder.join(gateway);
        let new = self.folder.join(format!("{gateway}.new"));
        let write = || {
            let mut file = fs::File::create(&new)?;
            writeln!(file, "{done}")?;
            file.sync_all()?;
            fs::rename(&new, &path)
        };
        write().map_err(|source| RecordError { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_and_a_broken_file_is_as_none() {
        let place = tempfile::tempdir().unwrap();
        let state = Arc::new(State::take(place.path()).unwrap());
        let records = Records::open(Arc::clone(&state)).unwrap();
        assert_eq!(records.done("digest"), None);
        let time: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        records.keep("digest", time).unwrap();
        assert_eq!(records.done("digest"), Some(time));
        fs::write(place.path().join("cron/digest"), "yesterday").unwrap();
        assert_eq!(records.done("digest"), None);
    }
}
