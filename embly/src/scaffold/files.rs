//! The files of a new project, embedded in the executable: the templates, the SDK's sources, and the
//! schema of the project file.

use std::path::{Path, PathBuf};

use super::Template;
use crate::config;

/// The folder of what comes with Embly and is not the project's own.
const VENDOR: &str = "vendor";

/// The SDK's manifest and sources, by their paths in its folder; `build.rs` collects them.
const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// Every file with its content, by its path in the project.
pub(super) fn all(template: &Template, name: &str) -> Vec<(PathBuf, String)> {
    let mut files: Vec<_> = own(template)
        .into_iter()
        .map(|(path, text)| {
            let text = text
                .replace("{{try}}", template.tries)
                .replace("{{where}}", template.places)
                .replace("{{name}}", name)
                .replace("{{function}}", template.function);
            (PathBuf::from(path), text)
        })
        .collect();
    files.extend(sdk(&Path::new(VENDOR).join("embly-sdk")));
    let schema = format!("{:#}\n", config::json_schema());
    files.push((Path::new(VENDOR).join("embly-project.schema.json"), schema));
    files
}

/// Paths of what is the project's own, sorted, and of the folder of what is not.
pub(super) fn listed(template: &Template) -> Vec<String> {
    let mut paths: Vec<_> = own(template).into_iter().map(|(path, _)| path).collect();
    paths.push(format!("{VENDOR}/"));
    paths.sort();
    paths
}

/// The SDK, below this folder.
pub(super) fn sdk(folder: &Path) -> impl Iterator<Item = (PathBuf, String)> + '_ {
    SDK.iter()
        .map(|(path, text)| (folder.join(path), (*text).to_owned()))
}

/// The files of the project's own; `{{name}}` stands for its name, `{{function}}` for that of its
/// function.
fn own(template: &Template) -> Vec<(String, &'static str)> {
    let function = template.function;
    let mut files = vec![
        (config::FILE_NAME.to_owned(), template.project),
        (
            "Cargo.toml".to_owned(),
            include_str!("../../templates/Cargo.toml.in"),
        ),
        (
            format!("{function}/Cargo.toml"),
            include_str!("../../templates/function.toml.in"),
        ),
        (format!("{function}/src/main.rs"), template.source),
        (
            ".gitignore".to_owned(),
            include_str!("../../templates/gitignore"),
        ),
        (
            "README.md".to_owned(),
            include_str!("../../templates/README.md"),
        ),
    ];
    let more = template.more.iter();
    files.extend(more.map(|(path, text)| ((*path).to_owned(), *text)));
    files
}
