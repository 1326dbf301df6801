//! What this machine, or the container around us, can give at most.

use std::fs;
use std::path::{Path, PathBuf};

/// The most that one machine can give; `None` is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processes and threads at the same time.
    pub processes: Option<u64>,
}

impl Machine {
    /// This one, as the kernel and our control group say.
    pub fn here() -> Self {
        let proc_number = |name: &str| number(Path::new("/proc/sys/kernel").join(name).as_path());
        let processes = [
            proc_number("pid_max"),
            proc_number("threads-max"),
            group("pids.max"),
        ];
        let memory = [installed(), group("memory.max"), group_v1()];
        Machine {
            memory: memory.into_iter().flatten().min(),
            processes: processes.into_iter().flatten().min(),
        }
    }
}

impl Machine {
    /// Bytes of memory that can be had now without swapping, on the machine or in our control
    /// groups, whichever has least.
    pub fn available_memory() -> Option<u64> {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let left = groups().into_iter().filter_map(|group| {
            left_in(&group, ["memory.max", "memory.current", "inactive_file "])
        });
        let names = [
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file ",
        ];
        left.chain(left_in(v1, names))
            .chain(meminfo("MemAvailable:"))
            .min()
    }
}

/// What a control group may still take; what the kernel gives back at once is not counted.
fn left_in(group: &Path, [most, used, cached]: [&str; 3]) -> Option<u64> {
    let (most, used) = (number(&group.join(most))?, number(&group.join(used))?);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let cached = stat.lines().find_map(|line| line.strip_prefix(cached));
    let cached = cached.and_then(|bytes| bytes.trim().parse().ok());
    Some(most.saturating_sub(used.saturating_sub(cached.unwrap_or(0))))
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn installed() -> Option<u64> {
    meminfo("MemTotal:")
}

fn meminfo(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The lowest value of a cgroup v2 file in our group and those above it.
fn group(file: &str) -> Option<u64> {
    let groups = groups();
    groups
        .iter()
        .filter_map(|group| number(&group.join(file)))
        .min()
}

/// Our cgroup v2 and those above it.
fn groups() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let root = Path::new("/sys/fs/cgroup");
    let Some(own) = own.map(|own| root.join(own)) else {
        return Vec::new();
    };
    let groups = own.ancestors().take_while(|group| group.starts_with(root));
    groups.map(Path::to_owned).collect()
}

fn group_v1() -> Option<u64> {
    number(Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_processes() {
        let machine = Machine::here();
        assert!(machine.memory.is_some_and(|memory| memory > 1 << 20));
        assert!(machine.processes.is_some_and(|processes| processes > 1));
        let available = Machine::available_memory().unwrap();
        assert!(available <= machine.memory.unwrap(), "{available}");
    }
}
