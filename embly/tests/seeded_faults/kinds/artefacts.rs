//! What lies in the cache is not what was written there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::rngs::StdRng;
use rustix::process::Signal;

use super::Strike;
use crate::world::Edit;

fn artefacts(strike: &Strike<'_>) -> Vec<PathBuf> {
    let folder = strike.world.cache().join("embly/artefacts");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|kind| kind == "cwasm"));
    found.sort();
    found
}

/// Writes it anew, in place of the old one; where another fault leaves no room for that, not.
fn put(strike: &Strike<'_>, path: &Path, bytes: &[u8]) {
    let temporary = path.with_extension(format!("changed-{:x}", strike.pick));
    let put = || -> std::io::Result<()> {
        let owner = fs::metadata(path)?;
        fs::write(&temporary, bytes)?;
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o400))?;
        chown(&temporary, Some(owner.uid()), Some(owner.gid()))?;
        fs::rename(&temporary, path)
    };
    match put() {
        Ok(()) => strike.struck(),
        Err(_) => drop(fs::remove_file(&temporary)),
    }
}

/// Changes all of them, has them loaded, and then made again.
fn changed(strike: &Strike<'_>, change: impl Fn(&mut StdRng, Vec<u8>) -> Vec<u8>) {
    let mut dice = strike.dice();
    for path in artefacts(strike) {
        // Another fault may have removed it.
        if let Ok(bytes) = fs::read(&path) {
            put(strike, &path, &change(&mut dice, bytes));
        }
    }
    loaded(strike);
}

fn loaded(strike: &Strike<'_>) {
    for server in strike.world.servers() {
        server.signal(Signal::KILL);
    }
    strike.stay();
    strike.world.reload();
}

pub fn corrupt(strike: &Strike<'_>) {
    changed(strike, |dice, mut bytes| {
        if !bytes.is_empty() {
            let at = dice.random_range(0..bytes.len());
            bytes[at] ^= 1 << dice.random_range(0..8);
        }
        bytes
    });
}

pub fn truncate(strike: &Strike<'_>) {
    changed(strike, |dice, mut bytes| {
        bytes.truncate(dice.random_range(0..=bytes.len()));
        bytes
    });
}

pub fn replace(strike: &Strike<'_>) {
    let all = artefacts(strike);
    let texts: Vec<_> = all.iter().filter_map(|path| fs::read(path).ok()).collect();
    for (path, text) in all.iter().zip(texts.iter().cycle().skip(1)) {
        put(strike, path, text);
    }
    loaded(strike);
}

pub fn remove(strike: &Strike<'_>) {
    let folder = strike.world.cache().join("embly");
    if fs::remove_dir_all(folder).is_ok() {
        strike.struck();
    }
    strike.world.edit(Edit::Code);
    loaded(strike);
}
