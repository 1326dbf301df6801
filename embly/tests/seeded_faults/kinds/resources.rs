//! What runs out: disks, descriptors, processes, memory.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;

use super::Strike;
use crate::world::Edit;

/// Fills a disk with a file; whether it is full.
fn fill(path: &Path) -> bool {
    let block = [b'x'; 4096];
    let mut file = File::create(path).unwrap();
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
    // Several at once fill it together.
    let file = folder.join(format!("filler-{:x}", strike.pick));
    if fill(&file) {
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

/// Sets the soft limit of these for a while; the hard one stays, so that the old one can come back.
fn limited(strike: &Strike<'_>, pids: &[i32], what: Limit, most: impl Fn(i32) -> u64) {
    let mut before = Vec::new();
    for pid in pids {
        let old = what.of(*pid);
        if let Some(old) = old.filter(|_| what.set(*pid, &most(*pid).to_string())) {
            before.push((*pid, old));
            strike.struck();
        }
    }
    strike.stay();
    for (pid, old) in before {
        // It may have ended.
        what.set(pid, &old);
    }
}

/// A limit: its name in `/proc`, and for `prlimit`.
struct Limit(&'static str, &'static str);

const DESCRIPTORS: Limit = Limit("Max open files", "--nofile");
const PROCESSES: Limit = Limit("Max processes", "--nproc");
const MEMORY: Limit = Limit("Max address space", "--as");

impl Limit {
    /// The soft limit of a process, as it is.
    fn of(&self, pid: i32) -> Option<String> {
        let all = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        let line = all.lines().find_map(|line| line.strip_prefix(self.0))?;
        line.split_whitespace().next().map(str::to_owned)
    }

    /// Sets it, as the user of that process: in a container root may not.
    fn set(&self, pid: i32, soft: &str) -> bool {
        let Some((user, group)) = owner(pid) else {
            return false;
        };
        let mut command = Command::new("prlimit");
        if rustix::process::geteuid().as_raw() != user {
            command = Command::new("setpriv");
            command.args(["--reuid", &user.to_string(), "--regid", &group.to_string()]);
            command.args(["--clear-groups", "prlimit"]);
        }
        command.arg(format!("{}={soft}:", self.1));
        command.args(["--pid", &pid.to_string()]);
        let done = command.output();
        done.is_ok_and(|done| done.status.success())
    }
}

/// Whose a process is.
fn owner(pid: i32) -> Option<(u32, u32)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let id = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((id("Uid:")?, id("Gid:")?))
}

pub fn no_descriptors(strike: &Strike<'_>) {
    if let Some(pid) = strike.world.pid() {
        let most = |pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fd"));
            open.map_or(0, |open| open.count() as u64)
        };
        limited(strike, &[pid], DESCRIPTORS, most);
    }
}

fn servers(strike: &Strike<'_>) -> Vec<i32> {
    let servers = strike.world.servers();
    servers.iter().map(|server| server.pid).collect()
}

pub fn no_processes(strike: &Strike<'_>) {
    let mut pids = servers(strike);
    pids.extend(strike.world.pid());
    limited(strike, &pids, PROCESSES, |_| 1);
}

pub fn no_memory(strike: &Strike<'_>) {
    limited(strike, &servers(strike), MEMORY, |_| 1 << 20);
}
