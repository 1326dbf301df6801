//! Makes the Rust types of the messages from `comms.proto`. They are kept in the
//! repository so that a build needs no generator; a test sees that they are current.

use std::path::Path;

use anyhow::{Context, Result};

const OUT: &str = "protos/src/comms.rs";

/// Writes the generated types.
pub fn write(root: &Path) -> Result<()> {
    std::fs::write(root.join(OUT), generate(root)?).with_context(|| format!("cannot write {OUT}"))
}

fn generate(root: &Path) -> Result<String> {
    let folder = root.join("protos/proto");
    let set = protox::compile(["comms.proto"], [&folder])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    let module = prost_build::Module::from_protobuf_package_name("embly.comms");
    let requests = set
        .file
        .into_iter()
        .map(|file| (module.clone(), file))
        .collect();
    let code = config
        .generate(requests)?
        .remove(&module)
        .context("the schema has no package embly.comms")?;
    Ok(format!(
        "// Made by `cargo xtask codegen` from proto/comms.proto.\n{code}"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_generated_messages_are_those_of_the_schema() {
        let kept = std::fs::read_to_string(crate::root().join(super::OUT)).unwrap();
        let made = super::generate(crate::root()).unwrap();
        assert!(kept == made, "run `cargo xtask codegen`");
    }
}
