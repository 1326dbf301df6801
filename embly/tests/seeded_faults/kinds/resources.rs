//! What runs out: disks, descriptors, processes, memory.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::Strike;
use crate::world::Edit;

/// Fills a disk with a file; whether it is full.
fn fill(folder: &Path) -> bool {
    let block = [b'x'; 4096];
    let mut file = File::create(folder.join("filler")).unwrap();
    loop {
        // More than there is anywhere: where the disk is not one of our own nobody fills it.
        match file.write_all(&block) {
            Ok(()) if file.metadata().is_ok_and(|meta| meta.len() < 64 << 20) => {}
            Ok(()) => return false,
            Err(error) => return error.kind() == ErrorKind::StorageFull,
        }
    }
}

fn full(strike: &Strike<'_>, folder: &Path, meanwhile: impl FnOnce()) {
    let file = folder.join("filler");
    if fill(folder) {
        strike.struck();
        meanwhile();
        strike.stay();
    }
    fs::remove_file(file).unwrap();
}

pub fn full_cache(strike: &Strike<'_>) {
    full(strike, strike.world.cache(), || {
        strike.world.edit(Edit::Code)
    });
    // What could not be compiled can be, now.
    strike.world.reload();
}

pub fn full_data(strike: &Strike<'_>) {
    full(strike, &strike.world.data(), || {});
}

/// Sets a limit of a process for a while.
fn limited(strike: &Strike<'_>, pids: &[i32], what: Resource, most: impl Fn(i32) -> u64) {
    let mut before = Vec::new();
    for pid in pids {
        let id = Pid::from_raw(*pid).unwrap();
        let old = fs::read_to_string(format!("/proc/{pid}/limits"));
        let new = |maximum| Rlimit {
            current: Some(most(*pid)),
            maximum,
        };
        // The hard limit stays, so that the old one can come back.
        let Some(hard) = old.ok().and_then(|limits| hard(&limits, what)) else {
            continue;
        };
        if let Ok(old) = prlimit(Some(id), what, new(hard)) {
            before.push((id, old));
            strike.struck();
        }
    }
    strike.stay();
    for (id, old) in before {
        // It may have ended.
        let _ = prlimit(Some(id), what, old);
    }
}

/// The hard limit, as the kernel shows it: `None` in it is no limit.
fn hard(limits: &str, what: Resource) -> Option<Option<u64>> {
    let name = match what {
        Resource::Nofile => "Max open files",
        Resource::Nproc => "Max processes",
        _ => "Max address space",
    };
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().nth(1)?.parse().ok())
}

pub fn no_descriptors(strike: &Strike<'_>) {
    if let Some(pid) = strike.world.pid() {
        let most = |pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fd"));
            open.map_or(0, |open| open.count() as u64)
        };
        limited(strike, &[pid], Resource::Nofile, most);
    }
}

pub fn no_processes(strike: &Strike<'_>) {
    let mut pids: Vec<_> = strike.world.pid().into_iter().collect();
    pids.extend(strike.world.servers().iter().map(|server| server.pid));
    limited(strike, &pids, Resource::Nproc, |_| 1);
}

pub fn no_memory(strike: &Strike<'_>) {
    let servers = strike.world.servers();
    let pids: Vec<_> = servers.iter().map(|server| server.pid).collect();
    limited(strike, &pids, Resource::As, |_| 1 << 20);
}
