//! Why a Rust function has no wasm.

use std::io;
use std::path::{Path, PathBuf};

use crate::report::typed;

/// Why a function was not built. The last line says what to do, where it is not cargo that says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RustError {
    /// The function's folder holds no crate.
    #[error("no `Cargo.toml` in `{}`\nhint: `cargo init --bin {}`, or correct the function's `path`", folder.display(), typed(&folder.to_string_lossy()))]
    NoManifest {
        /// The function's folder.
        folder: PathBuf,
    },
    /// The function's folder holds a workspace without a crate of its own.
    #[error("{} is a cargo workspace, not a crate\nhint: set the function's `path` to one of its members: {}", folder.display(), members.join(", "))]
    OnlyWorkspace {
        /// The function's folder.
        folder: PathBuf,
        /// Names of the crates in it.
        members: Vec<String>,
    },
    /// cargo does not understand the crate; its own words.
    #[error("cargo cannot read the crate\n{0}")]
    Manifest(String),
    /// Nothing in the crate becomes a wasm file.
    #[error("the crate `{package}` has no program\nhint: add `src/main.rs`")]
    NoProgram {
        /// The crate's name.
        package: String,
    },
    /// It is not clear which program is meant.
    #[error("the crate `{package}` has several programs: {}\nhint: write `default-run = \"{}\"` below `[package]` in its `Cargo.toml`", programs.join(", "), programs[0])]
    SeveralPrograms {
        /// The crate's name.
        package: String,
        /// Names of the programs, at least two.
        programs: Vec<String>,
    },
    /// It does not compile; cargo's messages went to the observer.
    #[error("the crate `{package}` does not compile, see cargo's messages")]
    Compile {
        /// The crate's name.
        package: String,
    },
    /// cargo is not there any more.
    #[error("`cargo` was not found\nhint: `embly doctor`")]
    NoCargo,
    /// cargo could not be run.
    #[error("`cargo` {0}")]
    Cargo(String),
    /// It was asked to stop.
    #[error("the build was stopped")]
    Cancelled,
    /// The result could not be written.
    #[error("{} cannot be written: {why}\nhint: Embly keeps its build output in the project's `.embly` folder", path.display())]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
}

impl RustError {
    pub(super) fn output(path: &Path, why: &io::Error) -> Self {
        Self::Output {
            path: path.to_owned(),
            why: why.to_string(),
        }
    }
}
