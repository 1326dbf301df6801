//! The folder in Embly's cache that holds std for one compiler: complete and ours, or not used.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::rustc::{Rust, has_std};
use super::{TARGET, ToolchainError};
use crate::build::Cancel;

/// Lists every file with its size; written last.
const COMPLETE: &str = "complete";
/// First line of [`COMPLETE`]; another one means another layout.
const FORMAT: &str = "embly toolchain 2";
/// How the folder of an installation that is under way begins.
const PARTIAL: &str = "partial-";
/// Tells the stand-in where rustc is.
pub(super) const REAL_RUSTC: &str = "EMBLY_RUSTC";
/// Calls rustc, and lets it find the std that lies beside this file when it compiles for the wasm
/// target. Its version names the installation: cargo compiles again what was compiled with another
/// version, and code that was compiled with another std, of the same version, is of no use.
const STAND_IN: &str = r#"#!/bin/sh
# rustc, with the wasm target that lies beside this file
if [ "$*" = -vV ]; then
    "${EMBLY_RUSTC:-rustc}" -vV && echo "std: INSTALLATION"
    exit
fi
for argument; do
    case $argument in
        wasm32-wasip1|--target=wasm32-wasip1) exec "${EMBLY_RUSTC:-rustc}" --sysroot "${0%/*}/.." "$@" ;;
    esac
done
exec "${EMBLY_RUSTC:-rustc}" "$@"
"#;

/// Where std of all compilers lies.
pub fn root(cache: &Path) -> PathBuf {
    cache.join("toolchain")
}

/// Where std for this compiler lies, or would.
pub(super) fn folder(cache: &Path, rust: &Rust) -> PathBuf {
    let words = rust
        .version
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    root(cache).join(
        words
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-"),
    )
}

/// The stand-in for rustc of an installed folder.
pub(super) fn stand_in(sysroot: &Path) -> PathBuf {
    sysroot.join("bin/rustc")
}

/// The target's libraries in a sysroot.
pub(super) fn libdir(sysroot: &Path) -> PathBuf {
    sysroot.join("lib/rustlib").join(TARGET).join("lib")
}

/// `folder`, if an installation there was completed, is still whole, and nobody else can write to it.
pub(super) fn trusted(folder: &Path) -> Option<PathBuf> {
    let ours = |path: &Path| {
        let meta = fs::symlink_metadata(path).ok()?;
        (meta.is_dir()
            && meta.uid() == rustix::process::geteuid().as_raw()
            && meta.mode() & 0o022 == 0)
            .then_some(())
    };
    ours(folder.parent()?)?;
    ours(folder)?;
    let list = fs::read_to_string(folder.join(COMPLETE)).ok()?;
    let mut lines = list.lines();
    (lines.next()? == FORMAT).then_some(())?;
    for line in lines {
        let (size, name) = line.split_once(' ')?;
        let meta = fs::symlink_metadata(folder.join(name)).ok()?;
        (meta.is_file() && meta.len() == size.parse::<u64>().ok()?).then_some(())?;
    }
    has_std(&libdir(folder)).then(|| folder.to_owned())
}

/// The right to install into the cache, held by one process at a time.
pub(super) struct Slot {
    folder: PathBuf,
    partial: PathBuf,
    _lock: File,
}

impl Slot {
    /// Makes the cache's folder, waits for another installation to end, clears what a killed one has left.
    pub(super) fn lock(
        cache: &Path,
        rust: &Rust,
        cancel: &Cancel,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self, ToolchainError> {
        let root = root(cache);
        let at = |path: &Path| {
            let path = path.to_owned();
            |source| ToolchainError::Cache { path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&root)
            .map_err(at(&root))?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).map_err(at(&root))?;
        let file = root.join("lock");
        let lock = File::create(&file).map_err(at(&file))?;
        let mut said = false;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(at(&file)(source)),
                Err(TryLockError::WouldBlock) if cancel.is_cancelled() => {
                    return Err(ToolchainError::Cancelled);
                }
                Err(TryLockError::WouldBlock) => {
                    if !said {
                        say("another Embly is installing the wasm target, waiting for it");
                        said = true;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
            }
        }
        // A killed installation leaves its folder, and for a moment processes that still write to it: each has its own.
        for entry in fs::read_dir(&root).map_err(at(&root))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let slot = Self {
            folder: folder(cache, rust),
            partial: root.join(format!("{PARTIAL}{}", std::process::id())),
            _lock: lock,
        };
        remove(&slot.partial).map_err(at(&slot.partial))?;
        Ok(slot)
    }

    /// Scratch space on the same file system; removed with the slot.
    pub(super) fn work(&self) -> PathBuf {
        self.partial.join("work")
    }

    /// The folder to fill before [`Slot::commit`].
    pub(super) fn sysroot(&self) -> PathBuf {
        self.partial.join("sysroot")
    }

    /// Makes the empty folders and the stand-in for rustc.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let private = |path: PathBuf| DirBuilder::new().recursive(true).mode(0o700).create(path);
        private(self.work())?;
        private(libdir(&self.sysroot()).join("self-contained"))?;
        private(self.sysroot().join("bin"))?;
        let program = stand_in(&self.sysroot());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos().to_string();
        fs::write(&program, STAND_IN.replace("INSTALLATION", &now))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
    }

    /// Lists what was filled in, and puts it in its place.
    pub(super) fn commit(self) -> io::Result<PathBuf> {
        let sysroot = self.sysroot();
        let mut list = format!("{FORMAT}\n");
        for file in files(&sysroot)? {
            let open = File::open(&file)?;
            open.sync_all()?;
            let name = file.strip_prefix(&sysroot).unwrap_or(&file);
            list.push_str(&format!("{} {}\n", open.metadata()?.len(), name.display()));
        }
        fs::write(sysroot.join(COMPLETE), list)?;
        File::open(sysroot.join(COMPLETE))?.sync_all()?;
        // What stands there was not trusted, or nothing would have been installed.
        remove(&self.folder)?;
        fs::rename(&sysroot, &self.folder)?;
        Ok(self.folder.clone())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.partial);
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_the_compiler_names_the_std_that_it_compiles_with() {
        let said = |arguments: &[&str]| {
            let output = std::process::Command::new("/bin/sh")
                .args(["-c", STAND_IN, "/std/bin/rustc"])
                .args(arguments)
                .env(REAL_RUSTC, "echo")
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(said(&["-vV"]), "-vV\nstd: INSTALLATION\n");
        assert_eq!(said(&["a.rs"]), "a.rs\n");
        assert_eq!(
            said(&["a.rs", "--target", TARGET]),
            format!("--sysroot /std/bin/.. a.rs --target {TARGET}\n")
        );
    }
}
