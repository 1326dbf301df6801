//! `embly clean`: what Embly has made that can be made again, how large it is, and away with it. What
//! functions keep is never touched.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::bundle::unpacked;
use super::output::{self, Table};
use super::{Exit, Where, context, serve};
use crate::build::{FOLDER, toolchain};
use crate::config;
use crate::master;
use crate::report::{Format, Reporter};

/// What `st_blocks` counts, in bytes.
const BLOCK: u64 = 512;

#[derive(Debug, Args)]
pub(super) struct Clean {
    #[command(flatten)]
    place: Where,
    /// Remove the build output of the project
    #[arg(long)]
    build: bool,
    /// Remove the native code of all projects
    #[arg(long)]
    cache: bool,
    /// Remove the wasm target that Embly has installed, for all projects
    #[arg(long)]
    toolchain: bool,
    /// Remove what bundles were unpacked to
    #[arg(long)]
    bundles: bool,
    /// Remove all four
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Build,
    Cache,
    Toolchain,
    Bundles,
    Authority,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Cache => "cache",
            Self::Toolchain => "toolchain",
            Self::Bundles => "bundles",
            Self::Authority => "authority",
        }
    }
}

/// Something that is there.
#[derive(Debug, Serialize)]
struct Kept {
    event: &'static str,
    what: What,
    path: PathBuf,
    /// What it takes on the disk.
    bytes: u64,
    removed: bool,
}

/// Shows what is there, or removes what was chosen.
pub fn run(clean: &Clean, reporter: &Reporter) -> Exit {
    clean_up(clean, reporter).err().unwrap_or(Exit::Done)
}

impl Clean {
    fn chosen(&self, what: What) -> bool {
        match what {
            What::Build => self.build || self.all,
            What::Cache => self.cache || self.all,
            What::Toolchain => self.toolchain || self.all,
            What::Bundles => self.bundles || self.all,
            // Browsers may trust it.
            What::Authority => false,
        }
    }
}

fn clean_up(clean: &Clean, reporter: &Reporter) -> Result<(), Exit> {
    let path = &clean.place.path;
    // Outside of a project there is the cache all the same.
    let asked = clean.build || path != Path::new(".");
    let file = match config::find(path) {
        Err(_) if !asked => None,
        _ => Some(context::find(path, reporter)?),
    };
    let build = file.map(|file| (What::Build, file.with_file_name(FOLDER)));
    let cache = context::cache_path(reporter)?;
    let places = [
        (What::Cache, embly_wrapper::artefact::folder(&cache)),
        (What::Toolchain, toolchain::root(&cache)),
        (What::Bundles, cache.join(unpacked::FOLDER)),
        (What::Authority, cache.join(serve::AUTHORITY)),
    ];
    let places = build.into_iter().chain(places);
    let there = places.filter(|(_, path)| fs::symlink_metadata(path).is_ok());
    let mut there: Vec<Kept> = there
        .map(|(what, path)| Kept {
            event: "kept",
            what,
            bytes: size(&path),
            path,
            removed: false,
        })
        .collect();
    let chosen = |kept: &&mut Kept| clean.chosen(kept.what);
    for kept in there.iter_mut().filter(chosen) {
        refuse(kept, reporter)?;
    }
    let mut failed = false;
    for kept in there.iter_mut().filter(chosen) {
        match fs::remove_dir_all(&kept.path) {
            Ok(()) => kept.removed = true,
            Err(error) => {
                let path = context::shown(&kept.path);
                reporter.error(format!("cannot remove all of `{path}`: {error}"));
                // What is left of it is not what it was.
                kept.bytes = kept.bytes.saturating_sub(size(&kept.path));
                failed = true;
            }
        }
    }
    say(clean, &there, reporter)?;
    match failed {
        true => Err(Exit::Failed),
        false => Ok(()),
    }
}

fn say(clean: &Clean, there: &[Kept], reporter: &Reporter) -> Result<(), Exit> {
    let chosen = clean.build || clean.cache || clean.toolchain || clean.bundles || clean.all;
    if reporter.options().format == Format::Json {
        return output::json(there.iter(), reporter);
    }
    if !chosen {
        let mut table = Table::new(["WHAT", "SIZE", "PATH"]);
        for kept in there {
            let path = context::shown(&kept.path);
            table.row([kept.what.name().to_owned(), shown(kept.bytes), path]);
        }
        table.print(reporter)?;
        reporter.info(match there.is_empty() {
            true => "there is nothing to remove",
            false => {
                "`--build`, `--cache`, `--toolchain`, `--bundles` or `--all` removes; what functions keep stays"
            }
        });
        return Ok(());
    }
    let removed: Vec<&Kept> = there.iter().filter(|kept| kept.removed).collect();
    let bytes = removed.iter().map(|kept| kept.bytes).sum();
    let names: Vec<&str> = removed.iter().map(|kept| kept.what.name()).collect();
    reporter.info(match names.is_empty() {
        true => "there was nothing to remove".to_owned(),
        false => format!("freed {}: {}", shown(bytes), names.join(", ")),
    });
    Ok(())
}

/// What somebody needs now stays, and so does what a link leads to.
fn refuse(kept: &Kept, reporter: &Reporter) -> Result<(), Exit> {
    let path = context::shown(&kept.path);
    let real = fs::symlink_metadata(&kept.path).is_ok_and(|meta| meta.is_dir());
    let why = match kept.what {
        _ if !real => "it is a link, or no folder: remove it yourself",
        What::Build if builds(&kept.path) => "a build is under way: wait for it, or stop it",
        What::Cache | What::Toolchain | What::Bundles if master::is_any_running() => {
            "a master runs, whose functions are started from it: stop that one first"
        }
        What::Build | What::Cache | What::Toolchain | What::Bundles | What::Authority => {
            return Ok(());
        }
    };
    reporter.error(format!("`{path}` is not removed: {why}"));
    Err(Exit::Failed)
}

/// Whether cargo holds one of its locks in a build folder.
fn builds(folder: &Path) -> bool {
    let target = folder.join("target");
    let folders = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let profiles = folders(&target);
    let below = profiles.iter().flat_map(|profile| folders(profile));
    let mut locks = profiles.iter().cloned().chain(below);
    locks.any(|profile| {
        let lock = File::open(profile.join(".cargo-lock"));
        lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
    })
}

/// What a folder takes on the disk, in bytes. Links are not followed.
fn size(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return 0;
    };
    let inner = match meta.is_dir() {
        true => entries(path).map_or(0, |entries| entries.iter().map(|path| size(path)).sum()),
        false => 0,
    };
    meta.blocks() * BLOCK + inner
}

fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(path)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect()
}

/// A size as people say it.
fn shown(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, factor) in UNITS {
        if bytes >= factor {
            return format!("{:.1} {unit}", bytes as f64 / factor as f64);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(shown(0), "0 B");
        assert_eq!(shown(1536), "1.5 KiB");
        assert_eq!(shown(5 << 30), "5.0 GiB");
    }
}
