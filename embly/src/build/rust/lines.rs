//! Files and lines for backtraces, in what is built for whoever works on it.
//!
//! Only the crates of the workspace get debug information: what they depend on is compiled once, for
//! this and for what is shipped. Whoever says something about it in a profile has chosen.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::metadata::Metadata;

/// What decides whether a module has them.
const KEYS: [&str; 2] = ["debug", "strip"];

/// Where cargo looks in each folder.
const CONFIGS: [&str; 2] = [".cargo/config.toml", ".cargo/config"];

/// Arguments for cargo; none where the user has chosen.
pub(super) fn arguments(workspace: &Metadata) -> Vec<String> {
    if is_chosen(&workspace.workspace_root) {
        return Vec::new();
    }
    // `line-tables-only` leaves out the modules of functions that were inlined; this is 2 % more.
    let set = |name: &str| format!("profile.release.package.{name}.debug=\"limited\"");
    let crates = workspace.packages.iter();
    crates
        .flat_map(|package| ["--config".to_owned(), set(&package.name)])
        .collect()
}

/// Whether the environment, the workspace or cargo's configuration says something about it.
fn is_chosen(workspace: &Path) -> bool {
    let variable = |key: &str| format!("CARGO_PROFILE_RELEASE_{}", key.to_uppercase());
    if KEYS.iter().any(|key| env::var_os(variable(key)).is_some()) {
        return true;
    }
    let configs = |folder: &Path| CONFIGS.map(|config| folder.join(config));
    let mut files: Vec<PathBuf> = workspace.ancestors().flat_map(configs).collect();
    files.push(workspace.join("Cargo.toml"));
    if let Some(home) = env::var_os("CARGO_HOME") {
        files.push(PathBuf::from(home).join("config.toml"));
    } else if let Some(home) = env::home_dir() {
        files.extend(configs(&home));
    }
    // One that cannot be read says nothing to cargo either.
    let mut texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    texts.any(|text| says(&text))
}

/// Whether a file in TOML sets one of the keys in the profile `release`, or for a crate in it. Whoever
/// writes tables in one line is not understood, and gets lines.
fn says(text: &str) -> bool {
    let mut table = String::new();
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            header.trim_end_matches(']').clone_into(&mut table);
        } else if let Some((key, _)) = line.split_once('=') {
            let whole = format!("{table}.{}", key.trim());
            let whole = whole.trim_start_matches('.');
            let inside = whole.strip_prefix("profile.release.");
            if inside.is_some_and(|key| KEYS.contains(&key.rsplit('.').next().unwrap_or(key))) {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::says;

    #[test]
    fn a_profile_that_says_something_about_lines_is_seen() {
        for text in [
            "[profile.release]\nlto = true\ndebug = false\n",
            "[package]\nname = \"x\"\n[profile.release]\n strip=true",
            "[profile]\nrelease.debug = 1",
            "profile.release.debug = 0\n",
            "[profile.release.package.x]\ndebug = true\n",
        ] {
            assert!(says(text), "{text}");
        }
        for text in [
            "",
            "[profile.dev]\ndebug = true\n[profile.release]\nlto = true\n",
            "[profile.release]\n# debug = true\n[features]\ndebug = []\n",
            "[dependencies]\ndebug = \"1\"\n",
        ] {
            assert!(!says(text), "{text}");
        }
    }
}
