//! The text files of the repository.

use std::fs;
use std::path::Path;

/// What others make: versions (in a second worktree `.git` is a file), builds, data, and what a fuzzer
/// has found, which may be any word.
const NOT_OURS: [&str; 6] = [".git", "target", ".embly", "data", "node_modules", "corpus"];

/// A folder with this file in it is a cache.
const CACHE: &str = "CACHEDIR.TAG";

/// A text file.
pub struct File {
    /// From the root of the repository, with `/`.
    pub path: String,
    pub text: String,
}

impl File {
    /// Whether its name ends so.
    pub fn is(&self, ending: &str) -> bool {
        self.path.ends_with(ending)
    }

    /// Whether it lies in this folder.
    pub fn under(&self, folder: &str) -> bool {
        self.path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Every text file, sorted by path.
pub fn files() -> Vec<File> {
    let mut found = Vec::new();
    collect(crate::root(), "", &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 100, "the repository has more files than that");
    found
}

/// Every text file with this ending.
pub fn ending(ending: &str) -> Vec<File> {
    files().into_iter().filter(|file| file.is(ending)).collect()
}

/// One file that must be there.
pub fn file(path: &str) -> String {
    fs::read_to_string(crate::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if !entry.path().join(CACHE).exists() {
                collect(&entry.path(), &format!("{path}/"), found);
            }
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found.push(File { path, text });
        }
    }
}
