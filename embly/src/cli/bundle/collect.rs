//! What of a project goes into its bundle.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::bundle::{Bundle, Content, PROJECT, WriteError};
use crate::config::{self, Problems, Project, StoreKind, Thing};

/// Why it cannot go into one.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The project file names what is for no other machine.
    #[error("the project file names what no bundle can have")]
    Problems(Problems),
    /// A file.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A folder without files has this one, so that it is there: neither a file that is served nor a
/// migration.
const KEEP: &str = ".keep";

/// The one folder with hidden files that are served.
const WELL_KNOWN: &str = ".well-known";

/// All of a project that was built, from these modules.
pub fn contents(
    project: &Project,
    modules: &HashMap<String, PathBuf>,
) -> Result<Bundle, CollectError> {
    let mut bundle = Bundle::default();
    let mut places = Places::default();
    let text = config::relocated(&project.file, &mut |thing| match thing {
        Thing::Module(name) => {
            let module = modules.get(name).map(PathBuf::as_path);
            let module = module.unwrap_or(Path::new(""));
            let ending = match module.extension() {
                Some(ending) if ending == "wat" => "wat",
                _ => "wasm",
            };
            let path = format!("functions/{name}.{ending}");
            bundle.add(&path, Content::File(module.to_owned()));
            format!("./{path}")
        }
        Thing::Files(folder) => {
            let at = places.folder(folder);
            format!("./static/{at}")
        }
        Thing::Authorities(file) => {
            let at = places.authority(file);
            format!("./ca/{at}.pem")
        }
        Thing::Migrations(store) => format!("./migrations/{store}"),
    });
    let text = text.map_err(CollectError::Problems)?;
    bundle.add(PROJECT, Content::Bytes(text.into_bytes()));
    for store in &project.stores {
        let StoreKind::Sql { migrations, .. } = &store.kind else {
            continue;
        };
        let folder = format!("migrations/{}", store.name);
        for migration in migrations {
            let path = format!("{folder}/{}", migration.name);
            bundle.add(path, Content::File(migration.path.clone()));
        }
        if migrations.is_empty() {
            bundle.add(format!("{folder}/{KEEP}"), Content::Bytes(Vec::new()));
        }
    }
    let Places { folders, files } = places;
    for (at, file) in files.into_iter().enumerate() {
        bundle.add(format!("ca/{at}.pem"), Content::File(file));
    }
    for (at, folder) in folders.into_iter().enumerate() {
        let path = format!("static/{at}");
        if served(&folder, &folder, &path, &mut bundle)? == 0 {
            bundle.add(format!("{path}/{KEEP}"), Content::Bytes(Vec::new()));
        }
    }
    Ok(bundle)
}

/// Numbers for what several places may name.
#[derive(Debug, Default)]
struct Places {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Places {
    fn folder(&mut self, path: PathBuf) -> usize {
        number(&mut self.folders, path)
    }

    fn authority(&mut self, path: PathBuf) -> usize {
        number(&mut self.files, path)
    }
}

fn number(known: &mut Vec<PathBuf>, path: PathBuf) -> usize {
    // The project file was right a moment ago; what is gone shows when it is read.
    let path = path.canonicalize().unwrap_or(path);
    match known.iter().position(|known| *known == path) {
        Some(at) => at,
        None => {
            known.push(path);
            known.len() - 1
        }
    }
}

/// Adds what is served of a folder; how many files.
fn served(
    root: &Path,
    folder: &Path,
    path: &str,
    bundle: &mut Bundle,
) -> Result<usize, WriteError> {
    let unreadable = |path: &Path, source: io::Error| WriteError::Read {
        path: path.to_owned(),
        source,
    };
    let mut count = 0;
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let entry = entry.map_err(|error| unreadable(folder, error))?;
        let from = entry.path();
        let cannot = |why: &'static str| WriteError::Entry {
            from: from.display().to_string(),
            why,
        };
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| cannot("has a name that is not UTF-8"))?;
        // Of what is hidden nothing is served.
        if name.starts_with('.') && name != WELL_KNOWN {
            continue;
        }
        let path = format!("{path}/{name}");
        let kind = entry
            .file_type()
            .map_err(|error| unreadable(&from, error))?;
        if kind.is_dir() {
            count += served(root, &from, &path, bundle)?;
        } else if kind.is_file() {
            bundle.add(path, Content::File(from));
            count += 1;
        } else if kind.is_symlink() {
            let to = from
                .canonicalize()
                .map_err(|error| unreadable(&from, error))?;
            if !to.starts_with(root) || !to.is_file() {
                return Err(cannot(
                    "is a link that does not lead to a file of its folder",
                ));
            }
            bundle.add(path, Content::File(to));
            count += 1;
        } else {
            return Err(cannot("is not a file"));
        }
    }
    Ok(count)
}
