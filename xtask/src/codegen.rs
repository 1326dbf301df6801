//! Makes the Rust types of the messages from `protos/proto`. They are kept in the repository so
//! that a build needs no generator; a test sees that they are current.
//!
//! `comms.proto` is for the master and its wrappers. The messages of the services are for the master
//! and for functions: the SDK stands alone, so it has a copy, without what only the master needs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Below `protos/proto`: `services/NAME.proto` has the package `embly.NAME`.
const SERVICES: &str = "services";

/// A generated file, by its path from the root of the repository.
type Made = (String, String);

/// Writes the generated types.
pub fn write(root: &Path) -> Result<()> {
    for (path, code) in generate(root)? {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, code).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn generate(root: &Path) -> Result<Vec<Made>> {
    let mut made = vec![(
        "protos/src/comms.rs".to_owned(),
        types(root, "comms.proto", "embly.comms", Bytes::Shared)?,
    )];
    for service in services(root)? {
        let (file, package) = (
            format!("{SERVICES}/{service}.proto"),
            format!("embly.{service}"),
        );
        made.push((
            format!("protos/src/services/{service}.rs"),
            types(root, &file, &package, Bytes::Shared)?,
        ));
        made.push((
            format!("embly-sdk/src/proto/{service}.rs"),
            types(root, &file, &package, Bytes::Owned)?,
        ));
    }
    Ok(made)
}

/// The names of the services that have messages.
fn services(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let folder = root.join("protos/proto").join(SERVICES);
    if !folder.exists() {
        return Ok(names);
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        names.extend(name.strip_suffix(".proto").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// What holds the bytes of a message.
enum Bytes {
    /// The buffer that they came in.
    Shared,
    /// A vector.
    Owned,
}

fn types(root: &Path, file: &str, package: &str, bytes: Bytes) -> Result<String> {
    let folder = root.join("protos/proto");
    let set = protox::compile([file], [&folder])?;
    let mut config = prost_build::Config::new();
    if let Bytes::Shared = bytes {
        config.bytes(["."]);
    }
    let module = prost_build::Module::from_protobuf_package_name(package);
    let requests = set
        .file
        .into_iter()
        .map(|file| (module.clone(), file))
        .collect();
    let code = config
        .generate(requests)?
        .remove(&module)
        .with_context(|| format!("{file} does not have the package {package}"))?;
    Ok(format!(
        "// Made by `cargo xtask codegen` from proto/{file}.\n{code}"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_generated_messages_are_those_of_the_schema() {
        for (path, made) in super::generate(crate::root()).unwrap() {
            let kept = std::fs::read_to_string(crate::root().join(&path)).unwrap_or_default();
            assert!(kept == made, "{path} is old: run `cargo xtask codegen`");
        }
    }
}
