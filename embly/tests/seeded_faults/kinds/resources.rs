//! What runs out: disks, descriptors, processes, memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

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
fn limited(
    strike: &Strike<'_>,
    pids: &[i32],
    what: Limit,
    most: impl Fn(i32) -> u64,
    meanwhile: impl FnOnce(),
) {
    let held: Vec<_> = pids
        .iter()
        .filter(|pid| strike.world.limited.take(**pid, &what, most(**pid)))
        .inspect(|_| strike.struck())
        .collect();
    meanwhile();
    strike.stay();
    for pid in held {
        strike.world.limited.give_back(*pid, &what);
    }
}

/// Processes that are limited now: what they had before, and by how many faults at once.
#[derive(Default)]
pub struct Limited(Mutex<HashMap<Whose, (String, usize)>>);

/// A process, and the name of its limit.
type Whose = (i32, &'static str);

impl Limited {
    /// Sets the limit, unless another fault has; whether it is set.
    fn take(&self, pid: i32, what: &Limit, most: u64) -> bool {
        let mut limited = self.0.lock().unwrap();
        if let Some((_, faults)) = limited.get_mut(&(pid, what.0)) {
            *faults += 1;
            return true;
        }
        let old = what.of(pid);
        let old = old.filter(|_| what.set(pid, &most.to_string()));
        old.is_some_and(|old| limited.insert((pid, what.0), (old, 1)).is_none())
    }

    /// The last one gives back what there was.
    fn give_back(&self, pid: i32, what: &Limit) {
        let mut limited = self.0.lock().unwrap();
        let Some((old, faults)) = limited.get_mut(&(pid, what.0)) else {
            return;
        };
        *faults -= 1;
        if *faults == 0 {
            // It may have ended.
            what.set(pid, old);
            limited.remove(&(pid, what.0));
        }
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
        limited(strike, &[pid], DESCRIPTORS, most, || {});
    }
}

fn servers(strike: &Strike<'_>) -> Vec<i32> {
    let servers = strike.world.servers();
    servers.iter().map(|server| server.pid).collect()
}

pub fn no_processes(strike: &Strike<'_>) {
    let mut pids = servers(strike);
    pids.extend(strike.world.pid());
    // Neither is there a thread that could compile.
    let meanwhile = || strike.world.edit(Edit::Code);
    limited(strike, &pids, PROCESSES, |_| 1, meanwhile);
    // What could not be compiled can be, now.
    strike.world.reload();
}

pub fn no_memory(strike: &Strike<'_>) {
    limited(strike, &servers(strike), MEMORY, |_| 1 << 20, || {});
}
