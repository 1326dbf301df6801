//! What the machine has, and how much of it is in use: as the kernel counts it.

use std::fs;
use std::ops::Sub;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory of the whole machine, in bytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// All that is neither free nor a cache: the kernel's part counts.
    pub used: u64,
    /// Of it, private memory of processes.
    pub anonymous: u64,
    pub page_tables: u64,
    pub kernel_stacks: u64,
    /// Objects of the kernel that it cannot give back: processes, sockets, descriptors.
    pub slab: u64,
}

impl Memory {
    pub fn now() -> Self {
        let of = |line| kibibytes("/proc/meminfo", line);
        Self {
            used: of("MemTotal:")
                - ["MemFree:", "Buffers:", "Cached:", "SReclaimable:"]
                    .map(of)
                    .iter()
                    .sum::<u64>()
                - free_at_processors(),
            anonymous: of("AnonPages:"),
            page_tables: of("PageTables:") + of("SecPageTables:"),
            kernel_stacks: of("KernelStack:"),
            slab: of("SUnreclaim:"),
        }
    }
}

impl Sub for Memory {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            used: self.used.saturating_sub(before.used),
            anonymous: self.anonymous.saturating_sub(before.anonymous),
            page_tables: self.page_tables.saturating_sub(before.page_tables),
            kernel_stacks: self.kernel_stacks.saturating_sub(before.kernel_stacks),
            slab: self.slab.saturating_sub(before.slab),
        }
    }
}

/// Free pages that each processor keeps for itself, in bytes: hundreds of MiB after many processes
/// have ended, and `MemFree` does not have them.
fn free_at_processors() -> u64 {
    let zones = fs::read_to_string("/proc/zoneinfo").unwrap();
    let counts = zones
        .lines()
        .filter_map(|line| line.trim().strip_prefix("count:"));
    let pages = counts.map(|count| count.trim().parse::<u64>().unwrap());
    pages.sum::<u64>() * rustix::param::page_size() as u64
}

/// A line of a file in `/proc` that counts in KiB, in bytes; 0 where there is none.
pub fn kibibytes(file: &str, line: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let found = text.lines().find_map(|it| it.strip_prefix(line));
    let number = found.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

/// In MiB, for people.
pub fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// Has this process, and those that it starts, open so many files, where that is allowed; the limit
/// that holds then.
pub fn raise_open_files(wanted: u64) -> u64 {
    let wanted = Rlimit {
        current: Some(wanted),
        maximum: Some(wanted),
    };
    // Only root may raise what is allowed at most.
    let raised = setrlimit(Resource::Nofile, wanted);
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if raised.is_err() {
        let allowed = Rlimit {
            current: maximum,
            maximum,
        };
        setrlimit(Resource::Nofile, allowed).unwrap();
    }
    maximum.unwrap_or(u64::MAX)
}

/// Processes and threads that the machine can have at once.
pub fn most_processes() -> usize {
    let text = fs::read_to_string("/proc/sys/kernel/pid_max").unwrap();
    text.trim().parse().unwrap()
}
