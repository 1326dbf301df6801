//! What most commands begin with: the project file, the cache, a runtime.

use std::cell::OnceCell;
use std::fs::{self, DirBuilder};
use std::io::{self, IsTerminal};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::{Chosen, Exit, Kept};
use crate::config::{self, Environment, Problems, Project};
use crate::file;
use crate::report::{Format, Reporter, columns_of, typed};
use crate::secrets::{Stored, Vault};
use crate::state;
use crate::versions::Versions;

/// What a command needs beside the project file.
#[derive(Debug, Clone, Copy)]
pub enum Need<'a> {
    /// Nothing: it does not matter whether secrets are there.
    Nothing,
    /// The secrets that functions list; with the state folder, if somebody named one.
    Secrets(Option<&'a Path>),
}

/// Finds the project file.
pub fn find(path: &Path, reporter: &Reporter) -> Result<PathBuf, Exit> {
    config::find(path).map_err(|error| {
        reporter.error(error.to_string());
        Exit::Usage
    })
}

/// The state folder of a project, unless somebody named another.
pub fn state(file: &Path, named: Option<&Path>) -> PathBuf {
    match named {
        Some(folder) => folder.to_owned(),
        None => file.with_file_name(state::FOLDER),
    }
}

/// The project file and the state folder of a command about what is kept. On a server, which has what was
/// deployed and no project of its own, the project is that of the version which is served.
///
/// # Errors
/// There is no project, and nothing was deployed.
pub fn kept(kept: &Kept) -> Result<(PathBuf, PathBuf), config::NotFound> {
    let found = config::find(&kept.chosen.place.path);
    if let (Some(folder), Err(_)) = (&kept.state, &found) {
        let versions = Versions::new(folder);
        if let Some(number) = versions.current().ok().flatten() {
            let file = versions.project(number).join(config::FILE_NAME);
            return Ok((file, folder.clone()));
        }
    }
    let file = found?;
    let state = state(&file, kept.state.as_deref());
    Ok((file, state))
}

/// Says that there is nothing that [`kept`] could be about.
pub fn nothing_kept(error: &config::NotFound, kept: &Kept, reporter: &Reporter) -> Exit {
    reporter.error(match &kept.state {
        Some(folder) if !folder.is_dir() => format!("there is no folder `{}`", folder.display()),
        Some(folder) => format!(
            "nothing was deployed to `{}`, and there is no project here: give its folder as well",
            folder.display()
        ),
        None => format!(
            "{error}\nhint: where a bundle is served, its state folder is enough: `--state DIR`"
        ),
    });
    Exit::Usage
}

/// Finds and reads the project file. All its problems are said.
pub fn project(
    chosen: &Chosen,
    dev: bool,
    need: Need<'_>,
    reporter: &Reporter,
) -> Result<Project, Exit> {
    let file = find(&chosen.place.path, reporter)?;
    let project = load(&file, chosen.named(), dev, need, reporter)?;
    let of = in_environment(chosen.named());
    reporter.info(format!("project {}{of}", shown(&project.file)));
    Ok(project)
}

/// What is said behind the name of a project.
pub fn in_environment(environment: Option<&str>) -> String {
    let name = environment.map(|name| format!(", environment {name}"));
    name.unwrap_or_default()
}

/// Reads a project file that was found.
pub fn load(
    file: &Path,
    environment: Option<&str>,
    dev: bool,
    need: Need<'_>,
    reporter: &Reporter,
) -> Result<Project, Exit> {
    read(file, environment, dev, need, reporter).map_err(|_| Exit::Usage)
}

/// The same, for whoever passes the problems on.
pub fn read(
    file: &Path,
    environment: Option<&str>,
    dev: bool,
    need: Need<'_>,
    reporter: &Reporter,
) -> Result<Project, Box<Problems>> {
    read_in((file, file), (environment, None), dev, need, reporter)
}

/// The same of the project in a bundle, which was unpacked for a while.
pub fn read_unpacked(
    file: &Path,
    bundle: &Path,
    environment: Option<&str>,
    need: Need<'_>,
    reporter: &Reporter,
) -> Result<Project, Box<Problems>> {
    let known_as = bundle.join(config::FILE_NAME);
    read_in(
        (file, &known_as),
        (environment, None),
        false,
        need,
        reporter,
    )
}

/// Reads it once more, perhaps with another of its environments; what was said before is not said again.
pub fn read_again(
    file: &Path,
    environment: Option<&str>,
    said: &Problems,
    dev: bool,
    need: Need<'_>,
    reporter: &Reporter,
) -> Result<Project, Box<Problems>> {
    read_in((file, file), (environment, Some(said)), dev, need, reporter)
}

fn read_in(
    (file, known_as): (&Path, &Path),
    (chosen, said): (Option<&str>, Option<&Problems>),
    dev: bool,
    need: Need<'_>,
    reporter: &Reporter,
) -> Result<Project, Box<Problems>> {
    let news = |problems: &Problems| match said {
        Some(said) => problems.clone().without(said),
        None => problems.clone(),
    };
    let wrong = |problems: Problems| {
        let news = news(&problems);
        if !news.is_empty() {
            show(&news, reporter);
        }
        Box::new(problems)
    };
    let mut environment = Environment::of_process();
    if dev && let Some(folder) = file.parent() {
        let more = config::dotenv(&folder.join(config::DOTENV)).map_err(wrong)?;
        environment = environment.or(more);
    }
    let environment = environment.with_secrets(match need {
        Need::Nothing => config::Secrets::Unneeded,
        Need::Secrets(folder) => {
            let vault = Vault::new(&state(file, folder));
            // Read when a function lists one, and once.
            let stored = OnceCell::new();
            let is_kept = move |name: &str| {
                let read = || vault.read().map_err(|error| error.to_string());
                let stored: &Result<Stored, String> = stored.get_or_init(read);
                let stored = stored.as_ref().map_err(String::clone)?;
                Ok(stored.contains_key(name))
            };
            // The folder in the project is where it is looked for anyway.
            let elsewhere = folder.filter(|folder| state(file, None) != state(file, Some(folder)));
            let option = elsewhere.map(|folder| format!(" --state {}", typed(&shown(folder))));
            config::Secrets::Kept {
                is_kept: Box::new(is_kept),
                option: option.unwrap_or_default(),
            }
        }
    });
    // It runs here only in the environment that was chosen, and with all that it needs.
    let another = said.is_some() && !dev;
    let elsewhere = another || matches!(need, Need::Nothing);
    let environment = environment.choose(chosen).elsewhere(elsewhere);
    let mut project = config::load(file, &environment).map_err(|all| wrong(all.of(known_as)))?;
    project.warnings = project.warnings.of(known_as);
    let warnings = news(&project.warnings);
    if !warnings.is_empty() {
        show(&warnings, reporter);
    }
    Ok(project)
}

/// Says all of them.
pub fn show(problems: &Problems, reporter: &Reporter) {
    let options = reporter.options();
    if options.format == Format::Json {
        // Strings and numbers always have a JSON form.
        let json = serde_json::to_string(problems).unwrap_or_default();
        println!("{{\"event\":\"problems\",\"problems\":{json}}}");
    }
    reporter.raw(&problems.render(options.color, columns_of(io::stderr())));
    // Once, below all of them; a program that reads events knows where to look.
    if options.format == Format::Text
        && let Some(first) = problems.iter().next()
    {
        reporter.info(format!("`embly explain {}` says more", first.code.id));
    }
}

/// Where Embly's cache folder is: `$XDG_CACHE_HOME/embly`, else `~/.cache/embly`.
pub fn cache_path(reporter: &Reporter) -> Result<PathBuf, Exit> {
    let Some(base) = file::of_user("XDG_CACHE_HOME", ".cache") else {
        reporter.error("there is no place for the cache: set HOME or XDG_CACHE_HOME");
        return Err(Exit::Failed);
    };
    Ok(base.join("embly"))
}

/// Embly's cache folder, private to the user; made where it is not there.
pub fn cache(reporter: &Reporter) -> Result<PathBuf, Exit> {
    let cache = cache_path(reporter)?;
    let base = cache.parent().unwrap_or(&cache);
    fs::create_dir_all(base)
        .and_then(|()| private_folder(&cache))
        .map(|()| cache.clone())
        .map_err(|error| {
            let cache = cache.display();
            reporter.error(format!(
                "cannot use the cache folder `{cache}`: {error}; set XDG_CACHE_HOME"
            ));
            Exit::Failed
        })
}

/// Makes a folder that only this user can write, or sees that it is one: native code lies there.
fn private_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let meta = fs::metadata(path)?;
    if !meta.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if meta.uid() != rustix::process::geteuid().as_raw() || meta.mode() & 0o022 != 0 {
        return Err(io::Error::other("others than this user may write it"));
    }
    // What is not a folder has nothing in it.
    Ok(rustix::fs::access(
        path.join("."),
        rustix::fs::Access::WRITE_OK,
    )?)
}

/// Whether a person watches the build.
pub fn progress(reporter: &Reporter) -> bool {
    let options = reporter.options();
    options.format == Format::Text && !options.quiet && io::stderr().is_terminal()
}

/// The path as the user would type it: relative to the current folder if it lies below.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here
        .as_deref()
        .and_then(|here| path.strip_prefix(here).ok());
    short.unwrap_or(path).display().to_string()
}
