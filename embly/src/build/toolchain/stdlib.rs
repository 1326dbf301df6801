//! std for the wasm target, built from the sources of the very version of rustc.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::TARGET;
use super::cache::{REAL_RUSTC, Slot, libdir, stand_in};
use super::debian::{Mirror, Packages, finish};
use super::rustc::Rust;
use crate::build::Cancel;
use crate::build::process;

/// For the whole build; 40 s on two cores.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);
/// What the linker needs of wasi-libc.
const LIBC_FILES: [&str; 3] = ["crt1-command.o", "crt1-reactor.o", "libc.a"];
/// What the environment may tell the build of std: where crates come from, and how cargo talks. Flags and settings for
/// the user's own crates would break it.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// Fetches, builds, tries out and installs; returns the sysroot, or in words what went wrong.
pub(super) fn install(
    rust: &Rust,
    mirror: &Mirror,
    slot: Slot,
    cancel: &Cancel,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, String> {
    let began = Instant::now();
    slot.prepare()
        .map_err(|error| format!("{}: {error}", slot.work().display()))?;
    let mut packages = Packages::new(mirror, &slot.work(), cancel);
    let library = library(rust, mirror, &mut packages, say)?;
    say("fetching Debian's wasi-libc");
    // Those of trixie and bookworm lack what `std::thread` links to.
    let libc = packages
        .fetch("wasi-libc", "", &["trixie-backports", "sid"])?
        .join("usr/lib")
        .join(TARGET);

    say(&format!(
        "building std {} for {TARGET}, this takes one to three minutes",
        rust.release()
    ));
    let target = slot.work().join("target");
    build(rust, &library, &target, &slot, cancel)?;
    collect(
        &target.join(TARGET).join("dist/deps"),
        &libc,
        &libdir(&slot.sysroot()),
    )
    .map_err(|error| format!("the libraries could not be copied: {error}"))?;
    try_out(rust, &slot, cancel)?;
    let sysroot = slot
        .commit()
        .map_err(|error| format!("the result could not be moved to its place: {error}"))?;
    say(&format!(
        "installed in {} s: {}",
        began.elapsed().as_secs(),
        sysroot.display()
    ));
    Ok(sysroot)
}

/// The folder `library` of Rust's sources: rustup's component or an installed package, else Debian's package.
fn library(
    rust: &Rust,
    mirror: &Mirror,
    packages: &mut Packages<'_>,
    say: &mut dyn FnMut(&str),
) -> Result<PathBuf, String> {
    let local = rust.sysroot.join("lib/rustlib/src/rust/library");
    if local.join("sysroot/Cargo.toml").is_file() {
        return Ok(local);
    }
    let release = rust.release();
    if release.contains('-') {
        return Err(format!(
            "there are none for rustc {release}, only for stable releases"
        ));
    }
    let minor = release.rsplit_once('.').map_or(release, |(minor, _)| minor);
    say(&format!(
        "fetching the sources of std {minor} from {}",
        mirror.uri
    ));
    let backports = format!("{}-backports", mirror.codename);
    let mut suites = vec!["trixie-backports"];
    for suite in [backports.as_str(), mirror.codename.as_str(), "sid"] {
        if !suites.contains(&suite) {
            suites.push(suite);
        }
    }
    let folder = packages
        .fetch("rust-src", &format!("{minor}.*"), &suites)?
        .join("usr/src");
    fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("library"))
        .find(|path| path.join("sysroot/Cargo.toml").is_file())
        .ok_or_else(|| {
            format!(
                "the package `rust-src` holds no library folder in {}",
                folder.display()
            )
        })
}

fn build(
    rust: &Rust,
    library: &Path,
    target: &Path,
    slot: &Slot,
    cancel: &Cancel,
) -> Result<(), String> {
    let mut cargo = Command::new(&rust.cargo);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let tuning = ["CARGO", "RUST", "__CARGO"]
            .iter()
            .any(|prefix| text.starts_with(prefix));
        if tuning && !text.starts_with("RUSTUP") && !KEPT.iter().any(|kept| text.starts_with(kept))
        {
            cargo.env_remove(&name);
        }
    }
    // The flags that are set here take the place of those in cargo's configuration files; so do the empty wrappers.
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            "dist",
            "--target",
            TARGET,
            "--features",
            "backtrace",
        ])
        .arg("--manifest-path")
        .arg(library.join("sysroot/Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .current_dir(slot.work())
        .env("RUSTC", &rust.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zforce-unstable-if-unmarked")
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "");
    match process::capture(&mut cargo, BUILD_LIMIT, cancel) {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(format!(
            "`cargo build` of std failed ({})\n{}",
            done.status,
            done.tail()
        )),
        Err(error) => Err(format!("`cargo build` of std {error}")),
    }
}

/// Copies what `cargo build` made and what wasi-libc brings to the folder where rustc looks.
fn collect(made: &Path, libc: &Path, libdir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(made)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.ends_with(".rlib") && !text.starts_with("libsysroot-") {
            fs::copy(entry.path(), libdir.join(&name))?;
        }
    }
    for name in LIBC_FILES {
        let from = libc.join(name);
        fs::copy(&from, libdir.join("self-contained").join(name)).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", from.display()))
        })?;
    }
    Ok(())
}

/// Compiles and links a small program, as later builds will.
fn try_out(rust: &Rust, slot: &Slot, cancel: &Cancel) -> Result<(), String> {
    let source = slot.work().join("try.rs");
    fs::write(
        &source,
        "fn main() { std::thread::spawn(|| println!(\"hello\")).join().ok(); }\n",
    )
    .map_err(|error| format!("{}: {error}", source.display()))?;
    let mut rustc = Command::new(stand_in(&slot.sysroot()));
    rustc
        .env(REAL_RUSTC, &rust.rustc)
        .args([
            "--target",
            TARGET,
            "--edition",
            "2024",
            "-o",
            "try.wasm",
            "try.rs",
        ])
        .current_dir(slot.work());
    finish(&mut rustc, cancel)
        .map(drop)
        .map_err(|why| format!("a first program does not compile: {why}"))
}
