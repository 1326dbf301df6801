//! Processes as the kernel shows them.

use std::fs;
use std::time::{Duration, Instant};

use super::{Embly, eventually};

/// A process that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Name in the process list: that of the function, for Embly's own.
    pub name: String,
    /// When it began, so that a number that is used again is not mistaken for it.
    pub began: u64,
    /// A letter: `R`, `S`, `T`, `Z` for one that only waits to be reaped.
    pub state: char,
}

impl Process {
    /// The process of this number, ended or not, if there is one.
    pub fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything.
        let (name, rest) = stat.split_once(" (")?.1.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some(Self {
            pid,
            parent: number(1)?,
            group: number(2)?,
            name: name.to_owned(),
            began: fields.get(19)?.parse().ok()?,
            state: fields.first()?.chars().next()?,
        })
    }

    /// Whether it has ended; one that nobody has reaped has ended as well.
    pub fn is_gone(&self) -> bool {
        Self::find(self.pid).is_none_or(|now| now.began != self.began || now.state == 'Z')
    }

    /// Whether it leads its group, as a fork server does.
    pub fn leads(&self) -> bool {
        self.pid == self.group
    }

    /// Sends it a signal, unless it has just ended.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid).unwrap();
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// All processes whose parent is `parent` and that have not ended.
pub fn children(parent: i32) -> Vec<Process> {
    let mut found = children_and_zombies(parent);
    found.retain(|process| process.state != 'Z');
    found
}

/// The same with those that have ended and that nobody has reaped.
pub fn children_and_zombies(parent: i32) -> Vec<Process> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::find)
        .filter(|process| process.parent == parent)
        .collect()
}

/// Those below a process, at any depth.
pub fn descendants(pid: i32) -> Vec<Process> {
    let (mut found, mut open) = (Vec::new(), vec![pid]);
    while let Some(pid) = open.pop() {
        let below = children(pid);
        open.extend(below.iter().map(|process| process.pid));
        found.extend(below);
    }
    found
}

impl Embly {
    /// Fork servers and wrappers of the master.
    pub fn processes(&self) -> Vec<Process> {
        children(self.pid())
    }

    /// The wrappers of a function: one per invocation that runs, and those that are parked.
    pub fn wrappers(&self, function: &str) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| !process.leads() && process.name == function);
        found
    }

    /// The fork server of a function; waits for it.
    pub fn fork_server(&self, function: &str) -> Process {
        let mut found = None;
        eventually("a fork server", || {
            found = self.fork_servers(function).pop();
            found.is_some()
        });
        found.unwrap()
    }

    /// The fork servers of a function: one per version that is in use.
    pub fn fork_servers(&self, function: &str) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| process.leads() && process.name == function);
        found
    }

    /// The only wrapper of a function; waits for it.
    pub fn wrapper(&self, function: &str) -> Process {
        let mut found = Vec::new();
        eventually("one wrapper", || {
            found = self.wrappers(function);
            found.len() == 1
        });
        found.remove(0)
    }
}

/// How many descriptors a process has open.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Memory that a process has resident, in bytes.
pub fn resident(pid: i32) -> u64 {
    status(pid, "VmRSS:")
}

/// The most memory that a process ever had resident, in bytes. The kernel counts about: a later
/// reading may be a little less.
pub fn peak_memory(pid: i32) -> u64 {
    status(pid, "VmHWM:")
}

/// A line of `/proc/PID/status`, in bytes; 0 for a process that has ended.
fn status(pid: i32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// How long it takes until all of these have ended.
pub fn time_until_gone(processes: &[Process]) -> Duration {
    let since = Instant::now();
    eventually("the end of all processes", || {
        processes.iter().all(Process::is_gone)
    });
    since.elapsed()
}

/// CPU time that a process has used.
pub fn cpu_time(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // A tick is a hundredth of a second on every Linux.
    Duration::from_millis(ticks * 10)
}
