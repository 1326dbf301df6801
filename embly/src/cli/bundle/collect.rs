//! What of a project goes into its bundle.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::bundle::{Bundle, Content, PROJECT, WriteError};
use crate::config::{self, Function, Problems, Project, StoreKind, Thing};

/// Why it cannot go into one.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The project file names what is for no other machine.
    #[error("the project file names what no bundle can have")]
    Problems(Problems),
    /// An environment builds a function in another way, and does not say what of.
    #[error(
        "function `{function}` is built in another way in environment `{environment}`, and a bundle has a \
         module for each `path`: write its `path` there as well"
    )]
    Differs {
        /// Its name.
        function: String,
        /// That of the environment.
        environment: String,
    },
    /// A file.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A folder without files has this one, so that it is there: neither a file that is served nor a
/// migration.
const KEEP: &str = ".keep";

/// The one folder with hidden files that are served.
const WELL_KNOWN: &str = ".well-known";

/// A project that was built, in one of its environments or in none.
#[derive(Debug)]
pub struct Variant {
    /// The name of the environment.
    pub environment: Option<String>,
    pub project: Project,
    /// The modules of its functions; where one is not here it is that of the project in no environment.
    pub modules: HashMap<String, PathBuf>,
}

/// All of a project that was built: in no environment, and in each that there is.
pub fn contents(base: &Variant, others: &[Variant]) -> Result<Bundle, CollectError> {
    let mut bundle = Bundle::default();
    let mut places = Places::default();
    let mut migrated: Vec<(&Variant, String)> = Vec::new();
    let mut placed: HashSet<(&str, String)> = HashSet::new();
    let text = config::relocated(&base.project.file, &mut |thing, environment| {
        let named = |it: &&Variant| it.environment.as_deref() == environment;
        let of = others.iter().find(named).unwrap_or(base);
        match thing {
            Thing::Module(name) => {
                let module = of.modules.get(name).or_else(|| base.modules.get(name));
                let module = module.map_or(Path::new(""), PathBuf::as_path);
                let ending = match module.extension() {
                    Some(ending) if ending == "wat" => "wat",
                    _ => "wasm",
                };
                if let Some(environment) = of.environment.as_deref() {
                    placed.insert((environment, name.to_owned()));
                }
                let path = format!("functions/{}.{ending}", of.own(name));
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
            Thing::Migrations(store) => {
                migrated.push((of, store.to_owned()));
                format!("./migrations/{}", of.own(store))
            }
        }
    });
    let text = text.map_err(CollectError::Problems)?;
    for of in others {
        let environment = of.environment.as_deref().unwrap_or_default();
        for function in of.modules.keys() {
            if !placed.contains(&(environment, function.clone())) {
                return Err(CollectError::Differs {
                    function: function.clone(),
                    environment: environment.to_owned(),
                });
            }
        }
    }
    bundle.add(PROJECT, Content::Bytes(text.into_bytes()));
    for (of, name) in migrated {
        let mut stores = of.project.stores.iter();
        let Some(StoreKind::Sql { migrations, .. }) = stores
            .find(|store| store.name == name)
            .map(|store| &store.kind)
        else {
            continue;
        };
        let folder = format!("migrations/{}", of.own(&name));
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

/// Functions that an environment adds, or that are built in it of something else.
pub fn built_otherwise(project: &Project, base: &Project) -> Vec<Function> {
    let same = |one: &Function, other: &Function| {
        let of = |it: &Function| (it.name.clone(), it.path.clone(), it.context.clone());
        of(one) == of(other) && one.language == other.language
    };
    let functions = project.functions.iter();
    let others = functions.filter(|one| !base.functions.iter().any(|other| same(one, other)));
    others.cloned().collect()
}

impl Variant {
    /// The name of what this environment names itself: no name has a dot.
    fn own(&self, name: &str) -> String {
        match &self.environment {
            Some(environment) => format!("{name}.{environment}"),
            None => name.to_owned(),
        }
    }
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
