//! Embeds the SDK's sources: `embly new` puts them into each project, because no registry has the crate.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let sdk = here.join("../embly-sdk");
    println!("cargo::rerun-if-changed={}", sdk.join("src").display());
    println!(
        "cargo::rerun-if-changed={}",
        sdk.join("Cargo.toml").display()
    );
    println!("cargo::rerun-if-changed=../Cargo.toml");

    let manifest = stand_alone(
        &read(&sdk.join("Cargo.toml")),
        &read(&here.join("../Cargo.toml")),
    );
    let mut list = format!("&[\n    (\"Cargo.toml\", {manifest:?}),\n");
    let mut sources = Vec::new();
    collect(&sdk.join("src"), &mut sources);
    sources.sort();
    for source in sources {
        let name = source.strip_prefix(&sdk).expect("it was found there");
        list.push_str(&format!("    ({name:?}, include_str!({source:?})),\n"));
    }
    list.push_str("]\n");
    fs::write(out.join("sdk.rs"), list).expect("cargo's output folder can be written");
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The manifest without what it inherits from this workspace: package keys get their values, shared lints go.
fn stand_alone(manifest: &str, workspace: &str) -> String {
    let shared = workspace
        .split("\n[workspace.package]\n")
        .nth(1)
        .unwrap_or_default();
    let shared = shared.split("\n[").next().unwrap_or_default();
    let mut text = String::new();
    for line in manifest
        .replace("\n[lints]\nworkspace = true\n", "\n")
        .lines()
    {
        match line.strip_suffix(".workspace = true") {
            Some(key) => {
                let value = shared
                    .lines()
                    .find(|one| one.split(" = ").next() == Some(key));
                text.push_str(
                    value.unwrap_or_else(|| panic!("the workspace has no `package.{key}`")),
                );
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    assert!(
        !text.contains("workspace = true"),
        "the SDK's manifest inherits in a way that a copy of it cannot:\n{text}"
    );
    text
}
