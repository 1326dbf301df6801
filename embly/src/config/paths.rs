//! The folders and files that a function names.

use std::io;
use std::path::{Component, Path, PathBuf};

use super::Language;
use super::codes;
use super::fields::Field;
use super::problem::{Problem, Problems, quote};
use super::suggest;
use crate::file;

/// `context` of a function, absolute; `root` if it is not set.
pub(super) fn context(
    field: Option<Field<'_>>,
    root: &Path,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let Some(field) = field else {
        return Some(root.to_owned());
    };
    let text = field.text(problems)?;
    let context = there(field, text, root, "the project folder", problems)?;
    if !context.is_dir() {
        let message = format!("{} is not a folder", quote(text));
        let problem = Problem::new(&codes::PATH_KIND, field.span(), message);
        problems.push(problem.help("`context` is the folder that the build may read"));
        return None;
    }
    Some(context)
}

/// A folder that a key names, absolute; relative to the project's.
pub(super) fn folder(field: Field<'_>, root: &Path, problems: &mut Problems) -> Option<PathBuf> {
    let text = field.text(problems)?;
    let folder = there(field, text, root, "the project folder", problems)?;
    if !folder.is_dir() {
        let message = format!("{} is not a folder", quote(text));
        let problem = Problem::new(&codes::PATH_KIND, field.span(), message);
        problems.push(problem.help(format!("write a folder, such as `{}`", field.key.example)));
        return None;
    }
    Some(folder)
}

/// `path` of a function, absolute and of the kind that the language needs, if it is known.
pub(super) fn path(
    field: Field<'_>,
    context: &Path,
    root: &Path,
    language: Option<Language>,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let text = field.text(problems)?;
    let base = match context == root {
        true => "the project folder",
        false => "the function's `context`",
    };
    let path = there(field, text, context, base, problems)?;
    if !path.starts_with(context) {
        let message = format!("{} is outside of {base}", quote(text));
        let problem = Problem::new(&codes::PATH_OUTSIDE, field.span(), message);
        problems.push(problem.help(wider(root, &path)));
        return None;
    }
    match kind(&path, language?) {
        Ok(()) => Some(path),
        Err((why, help)) => {
            let message = format!("{} {why}", quote(text));
            let problem = Problem::new(&codes::PATH_KIND, field.span(), message);
            problems.push(problem.help(help));
            None
        }
    }
}

/// Whether what is there fits the language; or why not, and what to write.
fn kind(path: &Path, language: Language) -> Result<(), (&'static str, &'static str)> {
    let module = path
        .extension()
        .is_some_and(|end| end == "wasm" || end == "wat");
    match language {
        Language::Rust if path.join("Cargo.toml").is_file() => Ok(()),
        Language::Rust if path.is_dir() => Err((
            "has no `Cargo.toml`",
            "write the folder of a crate, or make one there with `cargo init`",
        )),
        Language::Rust if module => Err((
            "is a file, not the folder of a crate",
            "for a ready module write `language: wasm`",
        )),
        Language::Rust => Err((
            "is a file, not the folder of a crate",
            "write the folder that `Cargo.toml` is in",
        )),
        Language::Wasm if module && path.is_file() => Ok(()),
        Language::Wasm if path.join("Cargo.toml").is_file() => Err((
            "is a folder, not a `.wasm` or `.wat` file",
            "for a crate write `language: rust`",
        )),
        Language::Wasm => Err((
            "is not a `.wasm` or `.wat` file",
            "write the path of the module, with its ending",
        )),
    }
}

/// What a file of certificates has in it.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// A file of certificates in PEM, absolute.
pub(super) fn certificates(
    field: Field<'_>,
    root: &Path,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let text = field.text(problems)?;
    let path = root.join(text);
    let why = match file::small(&path) {
        Ok(pem) if String::from_utf8_lossy(&pem).contains(CERTIFICATE) => return Some(path),
        Ok(_) => format!("{} has no certificate in it", quote(text)),
        Err(error) => format!("{} cannot be read: {error}", quote(text)),
    };
    let help = format!(
        "`ca` is a PEM file, relative to the project folder, {}",
        root.display()
    );
    problems.push(Problem::new(&codes::CA_FILE, field.span(), why).help(help));
    None
}

/// The real path of `text`, which is relative to `base`; reported if there is nothing.
fn there(
    field: Field<'_>,
    text: &str,
    base: &Path,
    base_name: &str,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let error = match base.join(text).canonicalize() {
        Ok(path) => return Some(path),
        Err(error) => error,
    };
    let name = field.key.name;
    let (message, help) = match error.kind() {
        io::ErrorKind::NotFound => (
            format!("{} is not there", quote(text)),
            match similar(base, text) {
                Some(similar) => format!("did you mean `{name}: {}`?", similar.escape_debug()),
                None if name == "path" => format!(
                    "it is relative to {base_name}, {}; `embly add function NAME` makes an entry with its crate, \
                     `cargo init` a crate for this one",
                    base.display()
                ),
                None => format!("`{name}` is relative to {base_name}, {}", base.display()),
            },
        ),
        _ => (
            format!("{} cannot be read: {error}", quote(text)),
            format!("`{name}` is relative to {base_name}, {}", base.display()),
        ),
    };
    problems.push(Problem::new(&codes::PATH_MISSING, field.span(), message).help(help));
    None
}

/// `text` with its last part replaced by something that is there.
fn similar(base: &Path, text: &str) -> Option<String> {
    let folder = text.trim_end_matches('/');
    let (parent, last) = match folder.rsplit_once('/') {
        Some((parent, last)) => (format!("{parent}/"), last),
        None => (String::new(), folder),
    };
    let entries = std::fs::read_dir(base.join(&parent)).ok()?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names.filter_map(|name| name.into_string().ok()).collect();
    // A folder's order is nobody's, and two may be equally near.
    names.sort();
    let near = suggest::nearest(last, names.iter().map(String::as_str))?;
    Some(format!("{parent}{near}"))
}

/// What to write so that the context holds `path`.
fn wider(root: &Path, path: &Path) -> String {
    let mut context = PathBuf::new();
    for folder in root.ancestors() {
        // The whole file system is nobody's context.
        let inside = path
            .strip_prefix(folder)
            .ok()
            .filter(|_| folder.parent().is_some());
        if let Some(inside) = inside {
            let here = if context.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &context
            };
            let (context, inside) = (here.display(), inside.display());
            return format!("write `context: {context}` and `path: ./{inside}`");
        }
        context.push(Component::ParentDir);
    }
    "move it below the context".to_owned()
}
