//! Where and when it was measured.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::systems::output;

pub struct Machine {
    cpu: String,
    cores: usize,
    /// Whether it is a guest of another machine.
    is_virtual: bool,
    memory_bytes: u64,
    kernel: String,
    /// In UTC.
    date: String,
    is_root: bool,
    /// Embly's, with `-dirty` where something was changed after it.
    commit: Option<String>,
}

impl Machine {
    /// This one, now.
    pub fn look() -> Self {
        let processors = read("/proc/cpuinfo");
        let find = |key: &str| {
            let mut lines = processors.lines().filter(|line| line.starts_with(key));
            lines.find_map(|line| Some(line.split_once(": ")?.1.to_owned()))
        };
        let memory = read("/proc/meminfo");
        let kibibytes = memory.split_whitespace().nth(1);
        Self {
            cpu: find("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            is_virtual: find("flags").is_some_and(|flags| flags.contains(" hypervisor")),
            memory_bytes: kibibytes.and_then(|size| size.parse().ok()).unwrap_or(0) * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            is_root: rustix::process::geteuid().is_root(),
            commit: commit(),
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "cores": self.cores,
            "virtual": self.is_virtual,
            "memory_bytes": self.memory_bytes,
            "kernel": self.kernel,
            "date": self.date,
            "root": self.is_root,
            "embly_commit": self.commit,
        })
    }

    /// A sentence.
    pub fn text(&self) -> String {
        format!(
            "Measured on {} with {}{} cores ({}) and {:.0} GiB, Linux {}, {}, {}; Embly {}.",
            self.date,
            if self.is_virtual {
                "a virtual machine of "
            } else {
                ""
            },
            self.cores,
            self.cpu,
            self.memory_bytes as f64 / f64::from(1 << 30),
            self.kernel,
            if self.is_root {
                "as root"
            } else {
                "not as root"
            },
            std::env::consts::ARCH,
            self.commit.as_deref().unwrap_or("of an unknown commit"),
        )
    }
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12"]);
    let said = output(git.current_dir(env!("CARGO_MANIFEST_DIR"))).ok()?;
    Some(said.trim().to_owned())
}
