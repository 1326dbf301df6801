//! What several test files share.

#![allow(
    dead_code,
    reason = "each test file is a program of its own and uses a part"
)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use embly::build::Cancel;
use embly::build::toolchain::{self, Toolchain};

/// A cache of the tests' own, kept between runs: installing the wasm target takes a minute.
pub fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("embly-cache")
}

/// A toolchain for wasm, without a change to the one of the person who runs the tests. None: it cannot be had here.
pub fn toolchain() -> Option<&'static Toolchain> {
    static TOOLCHAIN: OnceLock<Option<Toolchain>> = OnceLock::new();
    TOOLCHAIN
        .get_or_init(|| {
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            match toolchain::ensure_in_cache(here, &cache(), &Cancel::new(), &mut |line| {
                eprintln!("{line}")
            }) {
                Ok(toolchain) => Some(toolchain),
                Err(why) if std::env::var_os("EMBLY_TEST_ALL").is_some() => panic!("{why}"),
                Err(why) => {
                    eprintln!("skipped: needs the wasm target\n{why}");
                    None
                }
            }
        })
        .as_ref()
}
