//! Which project file is meant: the nearest one, from a folder upward.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::FILE_NAME;

/// The project file for `start`, absolute: in that folder, or in the nearest one above it.
/// `start` may be any file or folder below the project, or the project file itself.
pub fn find(start: &Path) -> Result<PathBuf, NotFound> {
    let mut missing = NotFound {
        start: start.to_owned(),
        looked: Vec::new(),
        similar: None,
        unreadable: None,
    };
    let start = match start.canonicalize() {
        Ok(start) => start,
        Err(error) => {
            missing.unreadable = Some(error.kind());
            return Err(missing);
        }
    };
    let folder = match start.is_dir() {
        true => start.as_path(),
        false => start.parent().unwrap_or(&start),
    };
    for folder in folder.ancestors() {
        let file = folder.join(FILE_NAME);
        if file.is_file() {
            return Ok(file);
        }
        if missing.similar.is_none() {
            missing.similar = similar(folder);
        }
        missing.looked.push(folder.to_owned());
    }
    Err(missing)
}

/// A file that was probably meant to be one.
fn similar(folder: &Path) -> Option<PathBuf> {
    const NAMES: [&str; 4] = [
        "embly-project.yaml",
        "embly_project.yml",
        "embly.yml",
        "embly.yaml",
    ];
    let files = NAMES.iter().map(|name| folder.join(name));
    files.into_iter().find(|file| file.is_file())
}

/// There is no project file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFound {
    /// Where the search began, as it was given.
    pub start: PathBuf,
    /// The folders that were looked in, nearest first; none if `start` could not be read.
    pub looked: Vec<PathBuf>,
    similar: Option<PathBuf>,
    unreadable: Option<io::ErrorKind>,
}

/// Several lines: what is missing, every folder that was looked in, what to type.
impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.start.display();
        match self.unreadable {
            Some(io::ErrorKind::NotFound) => {
                write!(f, "there is nothing at `{start}`, so no project either")?;
            }
            Some(kind) => write!(f, "`{start}` cannot be read: {kind}")?,
            None => {
                write!(f, "no `{FILE_NAME}` in this folder or above it; looked in")?;
                for folder in &self.looked {
                    write!(f, "\n  {}", folder.display())?;
                }
            }
        }
        match &self.similar {
            Some(file) => write!(
                f,
                "\nhint: `{}` is there; rename it to `{FILE_NAME}`",
                file.display()
            ),
            None if self.start.is_file() => write!(
                f,
                "\nhint: `{start}` is a file: the name of a bundle ends in `.embly`, and a project is a folder"
            ),
            None => write!(
                f,
                "\nhint: give the folder of a project, or make one with `embly new NAME`"
            ),
        }
    }
}

impl std::error::Error for NotFound {}
