//! `embly add function`: the crate of a function, in a project that is there. What is there already is
//! never overwritten, and a failure takes back what was made.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use super::{Template, files};

/// Where the SDK goes in a project in which nobody has it.
const SDK: &str = "vendor/embly-sdk";

/// Why no crate was made.
#[derive(Debug, thiserror::Error)]
pub enum CrateError {
    /// The place is not below the project.
    #[error("`{}` is not a place in the project\nhint: `--path` is relative to the project's folder", .0.display())]
    Outside(PathBuf),
    /// There is something else.
    #[error("`{}` is there and is no crate\nhint: choose another place with `--path`", .0.display())]
    NotACrate(PathBuf),
    /// Cargo is missing.
    #[error("cannot run `cargo`: {0}\nhint: `embly doctor` says what is missing")]
    NoCargo(#[source] io::Error),
    /// Cargo refuses, in its words.
    #[error("cargo cannot make the crate\n{0}")]
    Cargo(String),
    /// The system refuses.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A crate of a function. What was made for it is removed again when this is dropped without
/// [`Crate::keep`].
#[derive(Debug)]
pub struct Crate {
    folder: PathBuf,
    /// What was not there before, the topmost of each.
    made: Vec<PathBuf>,
    /// Files that were changed, as they were.
    changed: Vec<(PathBuf, Vec<u8>)>,
}

impl Crate {
    /// A crate of this name and template at `path`, relative to the project's folder `root`. One that is
    /// there stays as it is. `others` are the folders of functions, which say where the SDK is.
    ///
    /// # Errors
    /// A bad place, or cargo or the system refuses; then all is as it was.
    pub fn make(
        root: &Path,
        path: &Path,
        name: &str,
        template: &Template,
        others: &[PathBuf],
    ) -> Result<Self, CrateError> {
        let usual = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        let folder = normal(&root.join(path));
        if !path.components().all(usual) || folder == normal(root) {
            return Err(CrateError::Outside(path.to_owned()));
        }
        let mut made = Self {
            folder,
            made: Vec::new(),
            changed: Vec::new(),
        };
        if made.folder.join("Cargo.toml").is_file() {
            return Ok(made);
        }
        // An empty folder is as good as none; others stay.
        if made.folder.symlink_metadata().is_ok() && fs::remove_dir(&made.folder).is_err() {
            return Err(CrateError::NotACrate(path.to_owned()));
        }
        made.fill(root, name, template, others)?;
        Ok(made)
    }

    /// Whether it was made, and not there before.
    pub fn is_new(&self) -> bool {
        !self.made.is_empty()
    }

    /// It stays.
    pub fn keep(mut self) {
        self.made.clear();
        self.changed.clear();
    }

    fn fill(
        &mut self,
        root: &Path,
        name: &str,
        template: &Template,
        others: &[PathBuf],
    ) -> Result<(), CrateError> {
        let workspace = workspace(root);
        if let Some(manifest) = &workspace {
            let before = fs::read(manifest).map_err(at(manifest))?;
            self.changed.push((manifest.clone(), before));
        }
        self.will_make(self.folder.clone());
        // It enters the crate into the workspace, as people have written that.
        let mut cargo = Command::new("cargo");
        cargo
            .args(["new", "--quiet", "--bin", "--vcs", "none", "--name", name])
            .arg(&self.folder)
            .current_dir(root);
        let ran = cargo.output().map_err(CrateError::NoCargo)?;
        if !ran.status.success() {
            let said = String::from_utf8_lossy(&ran.stderr);
            return Err(CrateError::Cargo(said.trim().to_owned()));
        }
        let shared = workspace.and_then(|manifest| fs::read_to_string(manifest).ok());
        let line = match shared.as_deref().is_some_and(shares_sdk) {
            true => "embly.workspace = true".to_owned(),
            false => match others.iter().find_map(|other| sdk_of(other, &self.folder)) {
                Some(line) => line,
                None => {
                    let sdk = root.join(SDK);
                    self.write_sdk(&sdk)?;
                    by_path(&sdk, &self.folder)
                }
            },
        };
        let manifest = self.folder.join("Cargo.toml");
        let text = fs::read_to_string(&manifest).map_err(at(&manifest))?;
        let section = "[dependencies]\n";
        let text = match text.contains(section) {
            true => text.replacen(section, &format!("{section}{line}\n"), 1),
            false => format!("{text}\n{section}{line}\n"),
        };
        fs::write(&manifest, text).map_err(at(&manifest))?;
        let source = self.folder.join("src/main.rs");
        fs::write(&source, template.source).map_err(at(&source))
    }

    fn write_sdk(&mut self, sdk: &Path) -> Result<(), CrateError> {
        if sdk.exists() {
            return Ok(());
        }
        self.will_make(sdk.to_owned());
        for (path, text) in files::sdk(sdk) {
            let folder = path.parent().unwrap_or(sdk);
            fs::create_dir_all(folder).map_err(at(folder))?;
            fs::write(&path, text).map_err(at(&path))?;
        }
        Ok(())
    }

    /// Notes the topmost folder of this path that is not there yet.
    fn will_make(&mut self, path: PathBuf) {
        let missing = path.ancestors().take_while(|folder| !folder.exists());
        self.made.extend(missing.last().map(Path::to_owned));
    }
}

impl Drop for Crate {
    fn drop(&mut self) {
        for path in &self.made {
            let _ = fs::remove_dir_all(path);
        }
        for (path, text) in &self.changed {
            if fs::read(path).is_ok_and(|now| now != *text) {
                let _ = fs::write(path, text);
            }
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CrateError {
    let path = path.to_owned();
    move |source| CrateError::Write { path, source }
}

/// The manifest of the cargo workspace that a crate in this folder would belong to.
fn workspace(folder: &Path) -> Option<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["locate-project", "--workspace", "--message-format", "plain"]);
    let found = cargo.current_dir(folder).output().ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    let path = PathBuf::from(path.trim_end());
    (found.status.success() && path.is_file()).then_some(path)
}

/// Whether a workspace says for all its crates where the SDK is.
fn shares_sdk(manifest: &str) -> bool {
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        if section == "[workspace.dependencies]" && is_sdk(line)
            || line == "[workspace.dependencies.embly]"
        {
            return true;
        }
    }
    false
}

/// Whether a line of a manifest says where the SDK is.
fn is_sdk(line: &str) -> bool {
    let rest = line.strip_prefix("embly");
    rest.is_some_and(|rest| rest.starts_with([' ', '=', '.']))
}

/// The line of another function's manifest that says where the SDK is, for a crate in `folder`.
fn sdk_of(other: &Path, folder: &Path) -> Option<String> {
    let manifest = fs::read_to_string(other.join("Cargo.toml")).ok()?;
    let line = manifest.lines().map(str::trim).find(|line| is_sdk(line))?;
    if line.contains("workspace = true") {
        return None;
    }
    match line.split_once("path = \"") {
        Some((_, rest)) => {
            let (path, _) = rest.split_once('"')?;
            Some(by_path(&normal(&other.join(path)), folder))
        }
        None => Some(line.to_owned()),
    }
}

fn by_path(sdk: &Path, folder: &Path) -> String {
    let path = relative(folder, sdk);
    format!(
        "embly = {{ package = \"embly-sdk\", path = {:?} }}",
        path.display().to_string()
    )
}

/// The path without `.` and `..`, as far as that can be said without looking.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}

/// From a folder to another place; both absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let pairs = from.iter().zip(&to);
    let same = pairs.take_while(|(one, other)| one == other).count();
    let up = from[same..].iter().map(|_| Component::ParentDir);
    up.chain(to[same..].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_found_where_others_have_it() {
        for (text, shared) in [
            ("[workspace.dependencies]\nembly = { path = \"x\" }\n", true),
            ("[workspace.dependencies]\nembly.path = \"x\"\n", true),
            ("[workspace.dependencies.embly]\npath = \"x\"\n", true),
            (
                "[workspace.dependencies]\nembly-x = \"1\"\n[a]\nembly = \"1\"\n",
                false,
            ),
            ("[workspace]\nmembers = [\"embly\"]\n", false),
        ] {
            assert_eq!(shares_sdk(text), shared, "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        let is = |line: &str, expected: Option<&str>| {
            let text = format!("[dependencies]\n{line}\n");
            fs::write(other.join("Cargo.toml"), text).unwrap();
            let found = sdk_of(&other, &folder.path().join("a/b"));
            assert_eq!(found.as_deref(), expected, "{line}");
        };
        is(
            "embly = { package = \"embly-sdk\", path = \"../sdk\" }",
            Some("embly = { package = \"embly-sdk\", path = \"../../sdk\" }"),
        );
        is(
            "embly = { package = \"embly-sdk\", path = \"/sdk\" }",
            Some(&by_path(Path::new("/sdk"), &folder.path().join("a/b"))),
        );
        is("embly = { git = \"x\" }", Some("embly = { git = \"x\" }"));
        is("embly.workspace = true", None);
        is("embly-other = \"1\"", None);
    }
}
