//! What a master and its processes use at a moment.

use std::fs;
use std::time::Duration;

use crate::support::process::{children, descriptors, resident};

/// Of a kernel's ticks, on every Linux.
const TICK: Duration = Duration::from_millis(10);

/// At a moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Resident memory of the master, and its proportional share, in bytes.
    pub resident: u64,
    pub share: u64,
    /// The proportional share of the master and of all that it has started.
    pub all: u64,
    /// Of the master.
    pub descriptors: usize,
    /// Without the master.
    pub processes: usize,
}

impl Sample {
    pub fn take(master: i32) -> Self {
        let processes = children(master);
        let share = proportional(master);
        let theirs = processes.iter().map(|process| proportional(process.pid));
        Self {
            resident: resident(master),
            share,
            all: share + theirs.sum::<u64>(),
            descriptors: descriptors(master),
            processes: processes.len(),
        }
    }
}

/// The memory of a process, where each shared page counts as a part; 0 where it is gone, or none of ours
/// to look at.
fn proportional(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// CPU time of a process, of what it has reaped, and of its children.
pub fn used(pid: i32) -> Duration {
    let children = children(pid);
    let of_children: Duration = children.iter().map(|child| own(child.pid)).sum();
    own(pid) + of_children
}

/// CPU time of a process, and of what it has reaped.
pub fn own(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks = fields.skip(11).take(4).flat_map(str::parse::<u32>);
    TICK * ticks.sum::<u32>()
}
