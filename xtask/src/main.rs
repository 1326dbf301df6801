//! Commands for the people who work on Embly: `cargo xtask COMMAND`.

#![forbid(unsafe_code)]

mod codegen;
#[cfg(test)]
mod tidy;

use std::path::Path;

use anyhow::{Result, bail};

const USAGE: &str = "usage:
  cargo xtask codegen              make protos/src/comms.rs from its schema
  cargo xtask bench NAME [ARGS…]   measure: jail";

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("codegen") => codegen::write(root()),
        Some("bench") => bench(),
        _ => bail!(USAGE),
    }
}

/// Runs a program of `embly/benches`.
fn bench() -> Result<()> {
    let mut arguments = std::env::args().skip(2);
    let Some(name) = arguments.next() else {
        bail!(USAGE)
    };
    let status = std::process::Command::new(env!("CARGO"))
        .args(["bench", "--package", "embly", "--bench", &name, "--"])
        .args(arguments)
        .current_dir(root())
        .status()?;
    if !status.success() {
        bail!("the measurement failed");
    }
    Ok(())
}

/// The workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}
