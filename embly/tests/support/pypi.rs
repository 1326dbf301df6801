//! Programs from the Python package index, each in an environment of its own in the folder of the build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::skipped;

/// A program of a package, `NAME==VERSION`; without it the test is skipped.
pub fn program(package: &str, name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(package);
    let done = folder.join("done");
    if !done.exists() {
        // What an end in the middle has left.
        let _ = fs::remove_dir_all(&folder);
        let succeeds = |program: &Path, arguments: &[&str]| {
            let mut command = Command::new(program);
            let ran = command.args(arguments).stdin(Stdio::null()).output();
            ran.is_ok_and(|ran| ran.status.success())
        };
        let python = Path::new("python3");
        let pip = folder.join("bin/pip");
        let install = ["install", "--quiet", "--disable-pip-version-check", package];
        if !succeeds(python, &["-m", "venv", folder.to_str().unwrap()]) || !succeeds(&pip, &install)
        {
            skipped(&format!("python3 with venv, and `{package}` from PyPI"));
            return None;
        }
        fs::write(done, "").unwrap();
    }
    Some(folder.join("bin").join(name))
}
