//! `embly new`: a project that builds, answers, and has a test, in a folder that was empty. And the
//! crates of functions that come later, for `embly add`.

mod files;
mod function;
mod name;
mod template;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use function::{Crate, CrateError};
pub use name::{check as check_name, suggest as suggest_name};
pub use template::{TEMPLATES, Template};

impl Template {
    /// What it makes, by paths in the project, sorted; what comes with Embly is one folder.
    pub fn files(&self) -> Vec<String> {
        files::listed(self)
    }
}

/// A project that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its folder.
    pub folder: PathBuf,
    /// Its name, which is the folder's.
    pub name: String,
}

/// Why no project was made.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// The folder's name is not one that a project may have.
    #[error(
        "`{name}` is not a name for a project: lower-case letters, digits and `-`, a letter first, at most 63\nhint: `embly new {suggestion}`"
    )]
    Name {
        /// The name.
        name: String,
        /// The whole argument, with a name that would do.
        suggestion: String,
    },
    /// There is something in the folder already.
    #[error("{} is not empty: {}\nhint: `embly new` in an empty folder, or with another name", folder.display(), list(entries))]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// What is in it, sorted.
        entries: Vec<String>,
    },
    /// There is something that is not a folder.
    #[error("{} is there and is not a folder\nhint: `embly new` with another name", .0.display())]
    NotAFolder(PathBuf),
    /// The system refuses.
    #[error("{} cannot be written: {source}\nhint: `embly new` in a folder of yours", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Makes a project of this template in `target`: a new folder, or an empty one (`.git` may be in it). The name of a new
/// folder is the project's and must be a valid one; a folder that is there gives it as far as it can. A failure leaves
/// nothing behind.
///
/// # Errors
/// A bad name, a folder that is not empty, or one that cannot be written.
pub fn new(target: &Path, template: &Template) -> Result<Created, ScaffoldError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| ScaffoldError::Write { path, source }
    };
    let there = target.symlink_metadata().is_ok();
    let folder = if there {
        target.canonicalize()
    } else {
        std::path::absolute(target)
    }
    .map_err(at(target))?;
    let last = folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let name = match name::check(&last) {
        true => last,
        false if there => name::suggest(&last),
        false => {
            let suggestion = target
                .with_file_name(name::suggest(&last))
                .display()
                .to_string();
            return Err(ScaffoldError::Name {
                name: last,
                suggestion,
            });
        }
    };
    if there {
        if !folder.is_dir() {
            return Err(ScaffoldError::NotAFolder(folder));
        }
        fill(&folder, template, &name)?;
    } else {
        let parent = folder.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(at(parent))?;
        let partial = Partial::write(parent, template, &name)?;
        fs::rename(&partial.0, &folder).map_err(at(&folder))?;
    }
    Ok(Created { folder, name })
}

/// Into a folder that is there: all files are written beside their places first, then moved.
fn fill(folder: &Path, template: &Template, name: &str) -> Result<(), ScaffoldError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| ScaffoldError::Write { path, source }
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?.file_name();
        if entry != ".git" {
            entries.push(entry.to_string_lossy().into_owned());
        }
    }
    if !entries.is_empty() {
        entries.sort();
        return Err(ScaffoldError::NotEmpty {
            folder: folder.to_owned(),
            entries,
        });
    }
    let partial = Partial::write(folder, template, name)?;
    let mut moved: Vec<PathBuf> = Vec::new();
    for top in &partial.1 {
        let place = folder.join(top);
        if let Err(error) = fs::rename(partial.0.join(top), &place) {
            for path in moved {
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
            return Err(at(&place)(error));
        }
        moved.push(place);
    }
    Ok(())
}

/// A project that is not in its place yet, and what lies directly in it; removed when it is dropped
/// there.
struct Partial(PathBuf, BTreeSet<PathBuf>);

impl Partial {
    fn write(parent: &Path, template: &Template, name: &str) -> Result<Self, ScaffoldError> {
        let folder = parent.join(format!(".{name}.{}.partial", std::process::id()));
        let mut partial = Self(folder, BTreeSet::new());
        for (file, content) in files::all(template, name) {
            partial.1.extend(file.iter().next().map(PathBuf::from));
            let path = partial.0.join(file);
            let folder = path.parent().unwrap_or(&partial.0);
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, content));
            written.map_err(|source| ScaffoldError::Write {
                path: parent.to_owned(),
                source,
            })?;
        }
        Ok(partial)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The first few of them.
fn list(entries: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = entries
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if entries.len() > SHOWN {
        text.push_str(&format!(" and {} more", entries.len() - SHOWN));
    }
    text
}
