//! What is measured: programs that serve, and can be started again.

mod embly;
mod install;
mod peers;

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

pub use embly::{Function, HELLO, Isolation, embly, project_of};
pub use install::{compile_c, output};
pub use peers::{bare, nginx};

/// A kernel's tick of CPU time, which `/proc` counts in: the same on all of today's.
pub const TICK: Duration = Duration::from_millis(10);

/// A server.
pub struct System {
    /// What it is called in the tables, version included.
    pub name: String,
    /// What it is called in JSON, and by the aims.
    pub id: &'static str,
    pub version: String,
    /// Where it answers: Embly at an address for each function, others at one.
    pub at: Vec<SocketAddr>,
    command: Command,
    process: Option<Child>,
}

impl System {
    fn new(
        id: &'static str,
        name: String,
        version: String,
        at: Vec<SocketAddr>,
        mut command: Command,
    ) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        // What it starts ends with it.
        command.process_group(0);
        Self {
            name,
            id,
            version,
            at,
            command,
            process: None,
        }
    }

    /// Starts it, anew where it runs.
    pub fn start(&mut self) -> io::Result<()> {
        self.stop();
        self.process = Some(self.command.spawn()?);
        Ok(())
    }

    fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let group = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        // Whoever has ended already is reaped below.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = process.wait();
    }

    /// CPU time of its process and of all below it, those included that they have reaped.
    pub fn cpu(&self) -> Duration {
        let processes = self.processes();
        let ticks: u64 = processes.iter().map(|process| process.ticks).sum();
        TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    /// Processes below its own.
    pub fn children(&self) -> usize {
        self.processes().len().saturating_sub(1)
    }

    /// Its own first.
    fn processes(&self) -> Vec<Process> {
        let mut others: Vec<Process> = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| Process::read(&entry.path()))
            .collect();
        let root = self.process.as_ref().map(Child::id);
        let mut found: Vec<Process> = others
            .extract_if(.., |process| Some(process.id) == root)
            .collect();
        let mut looked = 0;
        while let Some(parent) = found.get(looked).map(|process| process.id) {
            found.extend(others.extract_if(.., |process| process.parent == parent));
            looked += 1;
        }
        found
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What `/proc` says of one process.
struct Process {
    id: u32,
    parent: u32,
    /// Of CPU time, its own and that of those that it has reaped.
    ticks: u64,
}

impl Process {
    /// Nothing where it has ended meanwhile, or is no process.
    fn read(folder: &Path) -> Option<Self> {
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        let (id, rest) = stat.split_once(' ')?;
        // Its name may have blanks and parentheses.
        let (_, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let times = fields.get(11..15)?.iter().map(|time| time.parse::<u64>());
        Some(Self {
            id: id.parse().ok()?,
            parent: fields.get(1)?.parse().ok()?,
            ticks: times.sum::<Result<u64, _>>().ok()?,
        })
    }
}

/// CPU time of the process with this folder in `/proc`, its own and that of those that it has
/// reaped.
pub fn process_ticks(folder: &Path) -> Option<u64> {
    Process::read(folder).map(|process| process.ticks)
}

/// What cannot be had here, and why.
pub struct LeftOut {
    pub name: &'static str,
    pub why: String,
}

/// All that can be had here: Embly, and others.
pub fn all(folder: &Path) -> (Vec<System>, Vec<LeftOut>) {
    let mut systems: Vec<System> = Isolation::BOTH
        .into_iter()
        .map(|isolation| {
            let hello = [Function::hello(isolation)];
            embly(&folder.join(isolation.key()), isolation, &hello).unwrap()
        })
        .collect();
    let mut left_out = Vec::new();
    for (name, make) in peers::ALL {
        match make(folder) {
            Ok(system) => systems.push(system),
            Err(why) => {
                let why = why.trim().replace('\n', "; ");
                eprintln!("left out: {name}: {why}");
                left_out.push(LeftOut { name, why });
            }
        }
    }
    (systems, left_out)
}

/// So many that nobody listens at now.
pub fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    // All are held until all are known, so that none is given twice.
    let listeners: io::Result<Vec<_>> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    listeners?.iter().map(TcpListener::local_addr).collect()
}
