//! Rust with the wasm target: found where it is, installed without root where it is not.
//!
//! Two ways lead to the target: `rustup target add`, or std built from Debian's sources into Embly's own cache
//! (`cache` keeps it, `debian` fetches, `stdlib` builds). The first writes to rustup's folders, through rustup;
//! the second writes to the cache only.

mod cache;
mod debian;
mod error;
mod hint;
mod rustc;
mod rustup;
mod stdlib;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use error::ToolchainError;

use super::Cancel;

pub use cache::root;

/// The target that functions are compiled for: WebAssembly with WASI preview 1.
pub const TARGET: &str = "wasm32-wasip1";

/// A Rust that compiles for [`TARGET`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The cargo to call.
    pub cargo: PathBuf,
    /// The compiler itself, not rustup's stand-in for it.
    pub rustc: PathBuf,
    /// What `rustc --version` says, without the word `rustc`.
    pub rustc_version: String,
    /// The folder in Embly's cache that holds the target's std; none where it is installed beside rustc.
    pub sysroot: Option<PathBuf>,
    /// Variables of the environment that cargo, and what it runs, do not get: secrets of functions.
    pub hidden: Vec<String>,
}

impl Toolchain {
    /// A cargo command that compiles for [`TARGET`] with this toolchain, whatever flags the user has set, in the
    /// environment or in cargo's configuration: a std in the cache is reached through a stand-in for rustc that lies
    /// beside it and adds `--sysroot`, because flags in one of cargo's four places for them would hide the others.
    pub fn cargo_command(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        for name in &self.hidden {
            command.env_remove(name);
        }
        match &self.sysroot {
            Some(sysroot) => {
                command
                    .env("RUSTC", cache::stand_in(sysroot))
                    .env(cache::REAL_RUSTC, &self.rustc);
            }
            None => {
                command.env("RUSTC", &self.rustc);
            }
        }
        command
    }
}

/// Looks for a Rust that can compile for [`TARGET`], as seen from the folder `project` (rustup lets folders choose).
/// `cache` is Embly's cache folder; it need not exist. None: the target is missing, [`ensure`] can install it.
///
/// # Errors
/// No Rust, one that does not run, or one that is too old.
pub fn find(project: &Path, cache: &Path) -> Result<Option<Toolchain>, ToolchainError> {
    let rust = rustc::detect(project)?;
    Ok(look(&rust, cache))
}

/// Like [`find`], and installs the target where it is missing and `install` allows it. `say` receives lines for people.
///
/// # Errors
/// Those of [`find`], an installation that is not allowed, or one that failed in every way there is.
pub fn ensure(
    project: &Path,
    cache: &Path,
    install: bool,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<Toolchain, ToolchainError> {
    let rust = rustc::detect(project)?;
    if let Some(toolchain) = look(&rust, cache) {
        return Ok(toolchain);
    }
    if !install {
        return Err(ToolchainError::NotAllowed);
    }
    say(&format!(
        "the wasm target `{TARGET}` is missing, it will be installed"
    ));
    let rustup = match rustup::add_target(&rust, project, cancel, say) {
        Ok(()) => match look(&rust, cache) {
            Some(toolchain) => return Ok(toolchain),
            None => {
                "rustup: says that it has added the target, but rustc does not see it".to_owned()
            }
        },
        Err(rustup::AddError::Cancelled) => return Err(ToolchainError::Cancelled),
        Err(rustup::AddError::Failed(why)) => {
            say(&format!(
                "{}; trying Debian's sources",
                why.lines().next().unwrap_or_default()
            ));
            why
        }
    };
    in_cache(&rust, cache, cancel, say, Some(rustup))
}

/// Like [`ensure`], but never asks rustup: what it installs goes to `cache` and nowhere else. For tests and for those
/// who want their Rust left as it is.
///
/// # Errors
/// As [`ensure`].
pub fn ensure_in_cache(
    project: &Path,
    cache: &Path,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<Toolchain, ToolchainError> {
    let rust = rustc::detect(project)?;
    match look(&rust, cache) {
        Some(toolchain) => Ok(toolchain),
        None => in_cache(&rust, cache, cancel, say, None),
    }
}

fn look(rust: &rustc::Rust, cache: &Path) -> Option<Toolchain> {
    if rust.has_target() {
        return Some(rust.toolchain(None));
    }
    cache::trusted(&cache::folder(cache, rust)).map(|sysroot| rust.toolchain(Some(sysroot)))
}

fn in_cache(
    rust: &rustc::Rust,
    cache: &Path,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
    tried: Option<String>,
) -> Result<Toolchain, ToolchainError> {
    let failed = |why: String| ToolchainError::Install {
        tries: tried.iter().cloned().chain([why]).collect(),
    };
    let mirror = debian::mirror(cancel).map_err(&failed)?;
    let slot = cache::Slot::lock(cache, rust, cancel, say)?;
    if let Some(toolchain) = look(rust, cache) {
        return Ok(toolchain); // another Embly installed it while we waited
    }
    match stdlib::install(rust, &mirror, slot, cancel, say) {
        Ok(sysroot) => Ok(rust.toolchain(Some(sysroot))),
        Err(_) if cancel.is_cancelled() => Err(ToolchainError::Cancelled),
        Err(why) => Err(failed(format!("Debian's sources: {why}"))),
    }
}
