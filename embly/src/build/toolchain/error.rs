//! Why there is no toolchain.

use std::io;
use std::path::PathBuf;

use super::{TARGET, hint};

/// Why no Rust that compiles for wasm could be found or made. The last line says what to type.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// There is no `rustc`, or no `cargo` beside it.
    #[error("`{0}` was not found\nhint: install Rust {needed} or newer, for example with rustup, and try again", needed = env!("CARGO_PKG_RUST_VERSION"))]
    NoRust(&'static str),
    /// `rustc` is there and does not work.
    #[error(
        "`rustc` does not work: {0}\nhint: try `rustc --version --verbose` in the project's folder"
    )]
    Broken(String),
    /// The compiler is older than what the SDK needs.
    #[error("rustc {found} is too old, {needed} or newer is needed\nhint: `rustup update stable`, or a newer package of Rust", needed = env!("CARGO_PKG_RUST_VERSION"))]
    TooOld {
        /// The version that is there.
        found: String,
    },
    /// The target is missing and installing is forbidden.
    #[error("the wasm target `{TARGET}` is missing\nhint: `embly toolchain install`")]
    NotAllowed,
    /// Every way to install the target failed.
    #[error(
        "the wasm target `{TARGET}` could not be installed{}\n{}",
        list(tries),
        hint::packages()
    )]
    Install {
        /// One text per way, in the order in which they were tried.
        tries: Vec<String>,
    },
    /// Embly's cache folder cannot be used.
    #[error("the cache folder {} cannot be used: {source}\nhint: set `XDG_CACHE_HOME` to a folder that only you can write to", path.display())]
    Cache {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It was asked to stop.
    #[error(
        "the installation of the wasm target `{TARGET}` was stopped\nhint: `embly toolchain install`"
    )]
    Cancelled,
}

fn list(tries: &[String]) -> String {
    tries
        .iter()
        .map(|text| format!("\n  {}", text.trim_end().replace('\n', "\n    ")))
        .collect()
}
