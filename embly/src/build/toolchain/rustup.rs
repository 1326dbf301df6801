//! The first way: `rustup target add`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::TARGET;
use super::rustc::{Rust, on_path};
use crate::build::Cancel;
use crate::build::process::{self, RunError};

/// For a rustup that only prints.
const PRINT_LIMIT: Duration = Duration::from_secs(30);
/// For the download of std (20 MB) and its unpacking.
const ADD_LIMIT: Duration = Duration::from_secs(180);

/// Why rustup did not add the target.
#[derive(Debug)]
pub(super) enum AddError {
    /// It was asked to stop.
    Cancelled,
    /// In words, beginning with `rustup:`.
    Failed(String),
}

/// Adds the target to the toolchain that is active in `project`, if that toolchain is rustup's.
pub(super) fn add_target(
    rust: &Rust,
    project: &Path,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<(), AddError> {
    let rustup = on_path("rustup").ok_or_else(|| failed("not installed"))?;
    let home = ask(&rustup, project, &["show", "home"], PRINT_LIMIT, cancel)?;
    if !within(&rust.sysroot, Path::new(home.trim_end())) {
        return Err(failed(&format!(
            "the compiler in {} is not one of rustup's",
            rust.sysroot.display()
        )));
    }
    say(&format!("running `rustup target add {TARGET}`"));
    ask(
        &rustup,
        project,
        &["target", "add", TARGET],
        ADD_LIMIT,
        cancel,
    )
    .map(drop)
}

fn ask(
    rustup: &Path,
    project: &Path,
    arguments: &[&str],
    limit: Duration,
    cancel: &Cancel,
) -> Result<String, AddError> {
    let mut command = Command::new(rustup);
    command
        .args(arguments)
        .current_dir(project)
        .env("RUSTUP_AUTO_INSTALL", "0");
    let called = format!("`rustup {}`", arguments.join(" "));
    match process::capture(&mut command, limit, cancel) {
        Ok(done) if done.status.success() => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        Ok(done) => Err(failed(&format!("{called} failed\n{}", done.tail()))),
        Err(RunError::Cancelled) => Err(AddError::Cancelled),
        Err(error) => Err(failed(&format!("{called} {error}"))),
    }
}

fn failed(why: &str) -> AddError {
    AddError::Failed(format!("rustup: {why}"))
}

fn within(path: &Path, folder: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    !folder.as_os_str().is_empty() && real(path).starts_with(real(folder))
}
