//! What this machine, or the container around us, can give at most.

use std::fs;
use std::path::Path;

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

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn installed() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The lowest value of a cgroup v2 file in our group and those above it.
fn group(file: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(own);
    let groups = own.ancestors().take_while(|group| group.starts_with(root));
    groups.filter_map(|group| number(&group.join(file))).min()
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
    }
}
