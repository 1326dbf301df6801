//! What a bundle says of itself: its first entry lists all files, its second has the checksum of the
//! first, and a signature of that.

use std::collections::HashMap;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::{BundleError, Limits, tar};

/// The first entry.
pub const MANIFEST: &str = "embly-bundle.json";

/// The second one.
pub const SEAL: &str = "embly-bundle.seal";

/// The project file, which each bundle has.
pub const PROJECT: &str = "embly-project.yml";

/// Folders that files of a bundle are in.
pub const FOLDERS: [&str; 4] = ["ca", "functions", "migrations", "static"];

/// The version of the format that is written, and the latest that is read.
pub const FORMAT: u64 = 1;

/// Folders within each other: no project has more, and no path is longer anyway.
const DEEPEST: usize = 32;

/// All files of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format.
    pub format: u64,
    /// The program that has made it, for people.
    pub made_by: String,
    /// In the order of their paths, as they come.
    pub files: Vec<Entry>,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Where, with `/` between folders.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Of its content, in hex.
    pub sha256: String,
}

/// What proves a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Of the bytes of the manifest, in hex.
    pub sha256: String,
    /// Who has signed it, if anybody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The public key, in hex.
    pub key: String,
    /// Ed25519 of what [`super::key`] says, in hex.
    pub ed25519: String,
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    super::hex(digest(&SHA256, bytes).as_ref())
}

/// As it is written.
pub fn encode(value: &impl Serialize) -> Vec<u8> {
    // Strings and numbers always have a JSON form.
    let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
    text.push(b'\n');
    text
}

impl Manifest {
    /// Reads the first entry and sees that nothing in it can do harm.
    ///
    /// # Errors
    /// It is of a later format, or not one that `embly bundle` writes.
    pub fn read(text: &[u8], limits: &Limits) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Any {
            format: u64,
        }
        let damaged = |error: serde_json::Error| BundleError::Damaged(format!("its list: {error}"));
        // What a later format has beside it is not known.
        let Any { format } = serde_json::from_slice(text).map_err(damaged)?;
        if format > FORMAT {
            return Err(BundleError::Newer(format));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(damaged)?;
        if manifest.format != FORMAT {
            let text = format!("there is no format {}", manifest.format);
            return Err(BundleError::Damaged(text));
        }
        manifest.check(limits)?;
        Ok(manifest)
    }

    /// Whether all of it may be unpacked: names, and how much it is.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, limits: &Limits) -> Result<(), BundleError> {
        if self.files.len() > limits.files {
            return Err(BundleError::TooMany(limits.files));
        }
        let mut total: u64 = 0;
        let mut names = Names::default();
        let mut before: Option<&str> = None;
        for Entry { path, size, sha256 } in &self.files {
            let wrong = |why: &'static str| BundleError::Entry {
                path: path.clone(),
                why,
            };
            check_path(path).map_err(wrong)?;
            if before.is_some_and(|before| before == path) {
                return Err(wrong("is there twice"));
            }
            if before.is_some_and(|before| before > path.as_str()) {
                return Err(wrong("is not in its place: paths are in order"));
            }
            before = Some(path);
            names.add(path).map_err(wrong)?;
            let hex = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            if sha256.len() != 64 || !sha256.bytes().all(hex) {
                return Err(wrong("has no checksum"));
            }
            total = total.saturating_add(*size);
            if total > limits.bytes {
                return Err(BundleError::TooLarge(limits.bytes));
            }
        }
        if !self.files.iter().any(|file| file.path == PROJECT) {
            return Err(BundleError::Damaged(format!("it has no `{PROJECT}`")));
        }
        Ok(())
    }
}

/// Whether a path stays below the folder that a bundle is unpacked to, in one of the [`FOLDERS`].
/// The rest of a project folder, such as `data`, `.env` or what cargo reads, is nothing that a bundle
/// can bring along.
///
/// # Errors
/// What is wrong with it, to be read after the path.
pub fn check_path(path: &str) -> Result<(), &'static str> {
    if path.starts_with('/') {
        return Err("is an absolute path");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("has characters that no path of a bundle has");
    }
    if path.len() > tar::LONGEST_PATH || tar::header(path, 0).is_none() {
        return Err("is too long: a name has at most 100 bytes, a path 255");
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.contains(&"..") {
        return Err("leads out of the folder");
    }
    if parts.iter().any(|part| matches!(*part, "" | ".")) {
        return Err("is not a plain path");
    }
    if parts.len() > DEEPEST {
        return Err("is too deep");
    }
    match parts.as_slice() {
        [PROJECT] => Ok(()),
        ["functions", name] if name.ends_with(".wasm") || name.ends_with(".wat") => Ok(()),
        ["functions", ..] => Err("is not a module of a function"),
        [folder, _, ..] if FOLDERS.contains(folder) => Ok(()),
        _ => Err("is not where files of a bundle are"),
    }
}

/// Names that were seen, as a file system sees them that does not tell upper from lower case.
#[derive(Debug, Default)]
struct Names {
    /// As they were written first, and whether it is a folder.
    seen: HashMap<String, (String, bool)>,
}

impl Names {
    fn add(&mut self, path: &str) -> Result<(), &'static str> {
        for (at, _) in path.match_indices('/') {
            self.one(&path[..at], true)?;
        }
        self.one(path, false)
    }

    fn one(&mut self, path: &str, folder: bool) -> Result<(), &'static str> {
        let folded: String = path.chars().flat_map(char::to_lowercase).collect();
        match self.seen.get(&folded) {
            None => {
                self.seen.insert(folded, (path.to_owned(), folder));
                Ok(())
            }
            Some((before, _)) if before != path => {
                Err("differs from another one in upper and lower case only")
            }
            Some((_, true)) if folder => Ok(()),
            Some((_, before)) if *before != folder => Err("is a file and a folder"),
            Some(_) => Err("is there twice"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_where_files_of_a_bundle_are() {
        for right in [
            "embly-project.yml",
            "functions/hello.wasm",
            "static/0/.well-known/x",
            "static/0/a b/ü..html",
            "migrations/main/001-first.sql",
        ] {
            assert_eq!(check_path(right), Ok(()), "{right}");
        }
        let long = format!("static/{}", "x".repeat(101));
        let deep = format!("static{}", "/x".repeat(DEEPEST));
        for wrong in [
            "",
            "/etc/passwd",
            "..",
            "../x",
            "static/../../x",
            "static/..",
            "static/./x",
            "static//x",
            "static/",
            "static",
            "functions",
            "functions/hello.cwasm",
            "functions/a/hello.wasm",
            "Cargo.toml",
            ".env",
            "data/secrets.enc",
            ".embly/wasm/hello.wasm",
            "static/a\\b",
            "static/a\nb",
            "static/a\0b",
            "Static/x",
            &long,
            &deep,
        ] {
            assert!(check_path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_that_a_file_system_could_take_for_the_same_are_refused() {
        for (first, second) in [
            ("static/0/a", "static/0/a"),
            ("static/0/Read", "static/0/read"),
            ("static/0/a", "static/0/a/b"),
            ("static/0/a/b", "static/0/a"),
            ("static/A/x", "static/a/y"),
            ("static/0/\u{c4}", "static/0/\u{e4}"),
        ] {
            let mut names = Names::default();
            names.add(first).unwrap();
            assert!(names.add(second).is_err(), "{first} {second}");
        }
        let mut names = Names::default();
        names.add("static/0/a/b").unwrap();
        names.add("static/0/a/c").unwrap();
    }
}
