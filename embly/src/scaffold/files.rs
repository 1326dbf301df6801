//! The files of a new project, embedded in the executable: the templates and the SDK's sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where each template goes; `{{name}}` stands for the project's name.
const TEMPLATES: [(&str, &str); 6] = [
    (
        "embly-project.yml",
        include_str!("../../templates/embly-project.yml"),
    ),
    ("Cargo.toml", include_str!("../../templates/Cargo.toml.in")),
    (
        "listener/Cargo.toml",
        include_str!("../../templates/listener/Cargo.toml.in"),
    ),
    (
        "listener/src/main.rs",
        include_str!("../../templates/listener/src/main.rs"),
    ),
    (".gitignore", include_str!("../../templates/gitignore")),
    ("README.md", include_str!("../../templates/README.md")),
];

/// The SDK's manifest and sources, by their paths in its folder; `build.rs` collects them.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// Every file with its content, by its path in the project.
pub(super) fn all(name: &str) -> impl Iterator<Item = (PathBuf, String)> + '_ {
    let templates = TEMPLATES
        .iter()
        .map(move |(path, text)| (PathBuf::from(path), text.replace("{{name}}", name)));
    let sdk = SDK
        .iter()
        .map(|(path, text)| (Path::new("vendor/embly-sdk").join(path), (*text).to_owned()));
    templates.chain(sdk)
}

/// What lies directly in the project's folder.
pub(super) fn tops() -> BTreeSet<&'static str> {
    TEMPLATES
        .iter()
        .filter_map(|(path, _)| path.split('/').next())
        .chain(["vendor"])
        .collect()
}
