//! The wasm target: installed into the cache, trusted only when whole.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use embly::build::Cancel;
use embly::build::toolchain::{self, ToolchainError};

#[test]
fn an_installed_target_is_found_again() {
    let Some(toolchain) = common::toolchain() else {
        return;
    };
    let found = toolchain::find(Path::new("."), &common::cache()).unwrap();
    assert_eq!(found.as_ref(), Some(toolchain));
}

#[test]
fn a_missing_target_is_not_installed_when_that_is_forbidden() {
    let cache = tempfile::tempdir().unwrap();
    let result = toolchain::ensure(
        Path::new("."),
        cache.path(),
        false,
        &Cancel::new(),
        &mut |_| {},
    );
    match result {
        Ok(toolchain) => assert_eq!(toolchain.sysroot, None),
        Err(error) => {
            assert!(matches!(error, ToolchainError::NotAllowed), "{error}");
            assert!(
                error
                    .to_string()
                    .ends_with("hint: `embly toolchain install`"),
                "{error}"
            );
        }
    }
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

/// What a killed or damaged installation leaves: a file that is cut short, or none that says it is complete.
#[test]
fn a_damaged_installation_is_not_trusted() {
    let Some(toolchain) = common::toolchain() else {
        return;
    };
    let Some(sysroot) = &toolchain.sysroot else {
        return;
    };
    for damage in [
        "complete",
        "bin/rustc",
        "lib/rustlib/wasm32-wasip1/lib/self-contained/libc.a",
    ] {
        let cache = tempfile::tempdir().unwrap();
        let copy = cache
            .path()
            .join("toolchain")
            .join(sysroot.file_name().unwrap());
        link_tree(sysroot, &copy);
        assert!(
            toolchain::find(Path::new("."), cache.path())
                .unwrap()
                .is_some()
        );

        let file = copy.join(damage);
        fs::remove_file(&file).unwrap();
        fs::write(&file, "cut").unwrap();
        assert_eq!(
            toolchain::find(Path::new("."), cache.path()).unwrap(),
            None,
            "{damage}"
        );
    }
}

#[test]
fn an_installation_that_others_can_write_to_is_not_trusted() {
    let Some(toolchain) = common::toolchain() else {
        return;
    };
    let Some(sysroot) = &toolchain.sysroot else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let copy = cache
        .path()
        .join("toolchain")
        .join(sysroot.file_name().unwrap());
    link_tree(sysroot, &copy);
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(toolchain::find(Path::new("."), cache.path()).unwrap(), None);
}

/// A copy of a folder tree, of hard links to its files.
fn link_tree(from: &Path, to: &Path) {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(to)
        .unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_tree(&entry.path(), &target);
        } else {
            fs::hard_link(entry.path(), &target)
                .or_else(|_| fs::copy(entry.path(), &target).map(drop))
                .unwrap();
        }
    }
}
