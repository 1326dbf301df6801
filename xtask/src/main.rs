//! Commands for the people who work on Embly: `cargo xtask COMMAND`.

#![forbid(unsafe_code)]

mod codegen;
#[cfg(test)]
mod tidy;

use std::path::Path;

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask codegen    make protos/src/comms.rs from its schema";

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("codegen") => codegen::write(root()),
        _ => bail!(USAGE),
    }
}

/// The workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}
