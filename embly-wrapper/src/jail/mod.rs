//! What a process gives up before it meets guest code: a script of ordered steps.
//!
//! Four groups, by the moment at which they are possible: [`enter_server`] before anything is
//! opened, [`confine`] before the function is loaded and [`Confined::close`] after, all once in the
//! fork server and inherited by its wrappers; [`enter_wrapper`] after each fork, for what is not
//! inherited or must not be.
//!
//! A step that this system does not offer is reported as [`Missing`], never passed over in
//! silence; a step that fails for another reason ends the process.

mod capabilities;
pub mod compiler;
mod filter;
mod landlock;
mod limits;
mod namespaces;
pub mod sql;
mod step;

use std::ffi::CString;
use std::fs::{File, ReadDir};
use std::io;
use std::os::fd::RawFd;

use rustix::process::DumpableBehavior;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::server::die_with;
use crate::sys;

pub use limits::{COMPILER_CPU, COMPILER_MEMORY, HOST_MEMORY};
pub use namespaces::User;
pub use step::{JailError, Missing, Step};

/// What the master decides about the jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Whom processes become where the master is root.
    pub user: User,
    /// A missing step is an error.
    pub required: bool,
}

/// Once, in the fork server, before anything is opened but its socket (`keep`); inherited by its
/// wrappers.
///
/// # Errors
/// The step that failed.
pub fn enter_server(master: i32, function: &str, keep: &[RawFd]) -> Result<(), JailError> {
    Step::ParentDeath.fatal(die_with(master))?;
    // Ctrl-C and a service manager's stop are for the master alone, which drains.
    Step::Session.fatal(rustix::process::setsid().map(drop).map_err(io::Error::from))?;
    Step::Signals.fatal(sys::signal::ignore_terminal())?;
    Step::Descriptors.fatal(sys::fd::close_all_but(keep))?;
    name_process(function);
    Ok(())
}

/// A process that has given up all but what it takes to load a function from a descriptor that it
/// has open: native code is mapped, memory measured, threads counted.
#[derive(Debug)]
pub struct Confined {
    missing: Vec<Missing>,
    /// Open, since nothing can be opened any more.
    threads: ReadDir,
    status: File,
}

/// Once, in the fork server, when it has opened all that it needs and before it loads its
/// function; its wrappers inherit it. `steps` are those to do, in their order: all of them, except
/// where somebody measures what they cost.
///
/// # Errors
/// The step that failed.
pub fn confine(policy: &Policy, steps: &[Step], master: i32) -> Result<Confined, JailError> {
    let threads = Step::Limits.fatal(std::fs::read_dir("/proc/self/task"))?;
    let status = Step::Limits.fatal(File::open("/proc/self/status"))?;
    let mut missing = Vec::new();
    let mut namespaces = namespaces::Namespaces::new(policy.user);
    for &step in Step::BEFORE_LOADING
        .iter()
        .filter(|step| steps.contains(step))
    {
        let done = match step {
            Step::Environment => environment(),
            Step::Standard => silence(),
            Step::OomScore => std::fs::write("/proc/self/oom_score_adj", "1000"),
            Step::IpcNamespace | Step::UtsNamespace | Step::NetNamespace => {
                namespaces.leave_early(step);
                continue;
            }
            Step::User => namespaces.become_user(),
            Step::UserNamespace => namespaces.leave_user(),
            Step::Capabilities => {
                // The last moment at which there may be some: what could not be left before
                // can be left as the owner of a user namespace.
                missing.extend(namespaces.leave_late());
                capabilities::drop_all()
            }
            // A change of user clears it.
            Step::ParentDeath => die_with(master),
            Step::NoNewPrivileges => {
                rustix::thread::set_no_new_privs(true).map_err(io::Error::from)
            }
            // Only now: as long as its ids were to be mapped, its files in /proc had to be its own.
            Step::NotDumpable => {
                rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
                    .map_err(io::Error::from)
            }
            Step::Landlock => landlock::no_rights(),
            // Not of this group.
            _ => continue,
        };
        missing.extend(step.outcome(done)?);
    }
    if steps.contains(&Step::User) && rustix::process::geteuid().is_root() {
        let why = io::Error::other("the kernel does not count the processes of root");
        missing.push(Step::NoProcesses.missing(&why));
    }
    Ok(Confined {
        missing,
        threads,
        status,
    })
}

impl Confined {
    /// How many threads this process has.
    pub fn threads(&mut self) -> usize {
        self.threads.by_ref().count()
    }

    /// Once, in the fork server, when it has loaded its function. `memory` is the limit of that,
    /// in bytes. The result is what this system does not offer.
    ///
    /// # Errors
    /// The step that failed; with [`Policy::required`] also one that is missing.
    pub fn close(
        mut self,
        policy: &Policy,
        steps: &[Step],
        memory: Option<u64>,
    ) -> Result<Vec<Missing>, JailError> {
        for &step in Step::AFTER_LOADING
            .iter()
            .filter(|step| steps.contains(step))
        {
            let done = match step {
                Step::Limits => limits::server(memory, &mut self.status),
                Step::Filter => filter::apply(),
                // Not of this group.
                _ => continue,
            };
            self.missing.extend(step.outcome(done)?);
        }
        match self.missing.first() {
            Some(first) if policy.required => Err(JailError::Required(first.clone())),
            _ => Ok(self.missing),
        }
    }
}

/// In each wrapper, after the fork: what is not inherited, or must not be. `keep` is its own
/// socket and the artefact.
///
/// # Errors
/// The step that failed.
pub fn enter_wrapper(master: i32, keep: &[RawFd], steps: &[Step]) -> Result<(), JailError> {
    Step::ParentDeath.fatal(die_with(master))?;
    // The control socket and the sockets of the rest of the batch.
    Step::Descriptors.fatal(sys::fd::close_all_but(keep))?;
    if steps.contains(&Step::NoProcesses) {
        Step::NoProcesses.fatal(limits::no_processes())?;
    }
    Ok(())
}

/// The master starts its processes without one; this sees that it stays so.
fn environment() -> io::Result<()> {
    match std::env::vars_os().next() {
        None => Ok(()),
        Some(_) => Err(io::Error::other("there are variables")),
    }
}

fn silence() -> io::Result<()> {
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    Ok(dup2_stderr(&null)?)
}

/// The name in the process list; 15 bytes at most are shown, so a long one is cut.
fn name_process(function: &str) {
    if let Ok(name) = CString::new(function) {
        // Only for people who look: it works or it does not.
        let _ = rustix::thread::set_name(&name);
    }
}
