//! Which Rust is there.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{TARGET, Toolchain, ToolchainError};
use crate::build::Cancel;
use crate::build::process::{self, RunError};

/// For a rustc that only prints.
const PRINT_LIMIT: Duration = Duration::from_secs(60);

/// The Rust that is in use, with or without the wasm target.
#[derive(Clone, Debug)]
pub(super) struct Rust {
    pub(super) cargo: PathBuf,
    pub(super) rustc: PathBuf,
    pub(super) sysroot: PathBuf,
    /// `1.95.0 (59807616e 2026-04-14)`: libraries fit a compiler only if this is the same, character by character.
    pub(super) version: String,
    target_libdir: PathBuf,
}

impl Rust {
    /// `1.95.0`, or `1.97.0-nightly`.
    pub(super) fn release(&self) -> &str {
        self.version.split(' ').next().unwrap_or_default()
    }

    /// Whether std for the wasm target is installed beside this rustc.
    pub(super) fn has_target(&self) -> bool {
        has_std(&self.target_libdir)
    }

    pub(super) fn toolchain(&self, sysroot: Option<PathBuf>) -> Toolchain {
        Toolchain {
            cargo: self.cargo.clone(),
            rustc: self.rustc.clone(),
            rustc_version: self.version.clone(),
            sysroot,
            hidden: Vec::new(),
        }
    }
}

/// Whether `libdir` holds a `libstd*.rlib`.
pub(super) fn has_std(libdir: &Path) -> bool {
    fs::read_dir(libdir).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.strip_prefix("libstd")
                .is_some_and(|rest| rest.starts_with(['-', '.']) && rest.ends_with(".rlib"))
        })
    })
}

/// Asks the `rustc` that counts in `project`: `$RUSTC`, or the one on the path.
pub(super) fn detect(project: &Path) -> Result<Rust, ToolchainError> {
    let asked = env::var_os("RUSTC")
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| OsString::from("rustc"));
    let text = print(&asked, project, &["--version"])?;
    let version = text
        .trim()
        .strip_prefix("rustc ")
        .unwrap_or(text.trim())
        .to_owned();
    if !new_enough(&version, env!("CARGO_PKG_RUST_VERSION")) {
        return Err(ToolchainError::TooOld { found: version });
    }
    let sysroot = PathBuf::from(print(&asked, project, &["--print", "sysroot"])?.trim_end());
    let target_libdir = print(
        &asked,
        project,
        &["--print", "target-libdir", "--target", TARGET],
    )?;
    let beside = |name: &str| Some(sysroot.join("bin").join(name)).filter(|path| path.is_file());
    Ok(Rust {
        cargo: beside("cargo")
            .or_else(|| on_path("cargo"))
            .ok_or(ToolchainError::NoRust("cargo"))?,
        rustc: beside("rustc")
            .or_else(|| on_path("rustc"))
            .unwrap_or_else(|| PathBuf::from(asked)),
        target_libdir: PathBuf::from(target_libdir.trim_end()),
        sysroot,
        version,
    })
}

fn print(rustc: &OsString, project: &Path, arguments: &[&str]) -> Result<String, ToolchainError> {
    let mut command = Command::new(rustc);
    // A folder may ask rustup for a toolchain that is not there: say so, never download it in passing.
    command
        .args(arguments)
        .current_dir(project)
        .env("RUSTUP_AUTO_INSTALL", "0");
    let done =
        process::capture(&mut command, PRINT_LIMIT, &Cancel::new()).map_err(
            |error| match error {
                RunError::NotFound if project.is_dir() => ToolchainError::NoRust("rustc"),
                other => ToolchainError::Broken(other.to_string()),
            },
        )?;
    if !done.status.success() {
        return Err(ToolchainError::Broken(done.tail()));
    }
    String::from_utf8(done.stdout)
        .map_err(|_| ToolchainError::Broken("its answer is not UTF-8".to_owned()))
}

/// Compares `major.minor` only: a missing or odd version passes, cargo will say what is wrong.
fn new_enough(version: &str, needed: &str) -> bool {
    fn pair(text: &str) -> Option<(u32, u32)> {
        let mut parts = text.split(['.', '-', ' ']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
    match (pair(version), pair(needed)) {
        (Some(version), Some(needed)) => version >= needed,
        _ => true,
    }
}

/// The first file called `name` in the folders of `PATH`.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(new_enough("1.95.0 (59807616e 2026-04-14)", "1.95"));
        assert!(new_enough("1.100.0-nightly (abc 2027-01-01)", "1.95"));
        assert!(new_enough("2.0.0", "1.95"));
        assert!(!new_enough(
            "1.85.1 (4eb161250 2025-03-15) (built from a source tarball)",
            "1.95"
        ));
        assert!(!new_enough("1.9.0", "1.95"));
    }

    #[test]
    fn std_is_told_from_libraries_with_a_similar_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("libstd_detect-3d3875e706481197.rlib"),
            "",
        )
        .unwrap();
        assert!(!has_std(folder.path()));
        fs::write(folder.path().join("libstd-0c.rlib"), "").unwrap();
        assert!(has_std(folder.path()));
        assert!(!has_std(Path::new("/no/such/folder")));
    }
}
