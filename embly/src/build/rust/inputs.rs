//! What a build has read, to be watched for changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::metadata::{Metadata, Package};
use super::{RustBuild, depinfo};

/// Files in a workspace's root that every crate in it depends on.
const WORKSPACE_FILES: [&str; 6] = [
    "Cargo.toml",
    "Cargo.lock",
    ".cargo/config.toml",
    ".cargo/config",
    "rust-toolchain.toml",
    "rust-toolchain",
];
/// Crates that are looked at after a failure, at most.
const MAX_CRATES: usize = 1_000;
/// Files and folders that are listed of one crate after a failure, at most.
const MAX_ENTRIES: usize = 10_000;

/// The sources in the dep-info beside `wasm`, the manifests above them, and the workspace's own files.
pub(super) fn after_success(wasm: &Path, workspace: &Path, target: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(wasm.with_extension("d")).unwrap_or_default();
    let mut found = workspace_files(workspace);
    let mut folders = BTreeSet::new();
    // What a build script generates changes with what the script itself reads.
    for source in depinfo::parse(&text)
        .into_iter()
        .filter(|path| !path.starts_with(target))
    {
        for folder in source.ancestors().skip(1) {
            if !folders.insert(folder.to_owned()) {
                break;
            }
            let manifest = folder.join("Cargo.toml");
            if manifest.is_file() {
                found.insert(manifest);
                break;
            }
        }
        found.insert(source);
    }
    found.into_iter().collect()
}

/// All sources and source folders of a crate and of those that it names by path: the cure may be in any of them, or in
/// a file that is not there yet.
pub(super) fn after_failure(
    build: &RustBuild<'_>,
    workspace: &Metadata,
    package: &Package,
) -> Vec<PathBuf> {
    let mut found = workspace_files(&workspace.workspace_root);
    let mut seen = BTreeSet::from([package.folder()]);
    let mut open = vec![package.clone()];
    let mut others: Vec<Metadata> = Vec::new();
    while let Some(package) = open.pop() {
        list(&package.folder(), &mut found);
        let used = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        for path in used.filter_map(|dependency| dependency.path.as_ref()) {
            let folder = path.canonicalize().unwrap_or_else(|_| path.clone());
            if seen.len() >= MAX_CRATES || !seen.insert(folder.clone()) {
                continue;
            }
            let known = std::iter::once(workspace)
                .chain(&others)
                .find_map(|one| one.package_in(&folder))
                .cloned();
            match known {
                Some(package) => open.push(package),
                None => match Metadata::read(build.toolchain, &folder, build.cancel) {
                    Ok(other) => {
                        open.extend(other.package_in(&folder).cloned());
                        others.push(other);
                    }
                    Err(_) => list(&folder, &mut found),
                },
            }
        }
    }
    found.into_iter().collect()
}

/// The same for a crate that cargo cannot even read.
pub(super) fn of_broken_crate(folder: &Path) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    // The manifest at fault may be that of the workspace around it.
    found.extend(
        folder
            .ancestors()
            .map(|above| above.join("Cargo.toml"))
            .filter(|manifest| manifest.is_file()),
    );
    found.insert(folder.join("Cargo.toml"));
    list(folder, &mut found);
    found.into_iter().collect()
}

fn workspace_files(root: &Path) -> BTreeSet<PathBuf> {
    let there = WORKSPACE_FILES
        .iter()
        .map(|name| root.join(name))
        .filter(|path| path.is_file());
    there.collect()
}

/// Adds `folder`, the Rust sources and manifests in it, and the folders below that are not hidden, output, or crates of
/// their own.
fn list(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    let mut open = vec![folder.to_owned()];
    let mut count = 0;
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            count += 1;
            if count > MAX_ENTRIES {
                return;
            }
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    let skipped = name.starts_with('.')
                        || name == "target"
                        || path.join("Cargo.toml").is_file();
                    if !skipped {
                        open.push(path);
                    }
                }
                Ok(_) if name == "Cargo.toml" || name.ends_with(".rs") => {
                    found.insert(path);
                }
                _ => {}
            }
        }
        found.insert(folder);
    }
}
