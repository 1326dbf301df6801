//! The jail of a compiler: it has read a module that may be hostile, and writes into one file.
//!
//! It keeps its user, and the terminal's signals. What it has open when it enters is that file,
//! perhaps an older artefact to read, and where it speaks. A call that is not on its list is
//! answered as one that this kernel does not have: a compiler with threads differs from one C
//! library to the next, and one that is ended by mistake would be a build that fails.

use std::io;

use rustix::process::{DumpableBehavior, Signal};
use seccompiler::SeccompAction;

use super::filter::{Argument, Call, Is};
use super::step::{JailError, Step};
use super::{capabilities, filter, landlock, limits};

/// What a compiler may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory: u64,
    /// CPU time of all its threads together, in seconds.
    pub cpu: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: limits::COMPILER_MEMORY,
            cpu: limits::COMPILER_CPU,
        }
    }
}

const CALLS: &[libc::c_long] = &[
    // Files that are open.
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_lseek,
    // The engine asks for the length of what it maps. By path it tells that a file is there, and
    // how long it is, which no rule of landlock covers; nothing opens it.
    libc::SYS_statx,
    libc::SYS_fstat,
    libc::SYS_close,
    libc::SYS_fsync,
    // Memory, also of native code: a module that was compiled is loaded to be looked at.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Threads. Without `clone3`, whose arguments no filter sees, a C library takes `clone`.
    libc::SYS_futex,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The rest of what a program does.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
];

/// Enters it.
///
/// # Errors
/// The step that failed; those that this system does not offer are the ones that `embly doctor`
/// names for functions.
pub fn enter(limits: Limits) -> Result<(), JailError> {
    // Whoever has started it waits for it. One that is gone already shows by nobody reading.
    let death = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    Step::ParentDeath.fatal(death.map_err(Into::into))?;
    Step::OomScore.outcome(std::fs::write("/proc/self/oom_score_adj", "1000"))?;
    Step::Limits.fatal(limits::compiler(limits.memory, limits.cpu))?;
    Step::Capabilities.outcome(capabilities::drop_all())?;
    Step::NoNewPrivileges.fatal(rustix::thread::set_no_new_privs(true).map_err(Into::into))?;
    let dumpable = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    Step::NotDumpable.fatal(dumpable.map_err(Into::into))?;
    Step::Landlock.outcome(landlock::no_rights())?;
    Step::Filter.outcome(filter())?;
    Ok(())
}

const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;

const THREAD: u64 = libc::CLONE_THREAD as u64;

/// Allowed with these arguments only, each line one way to call it.
const WITH_ARGUMENTS: &[Call<'_>] = &[
    // A thread, in the namespaces that there are.
    (
        libc::SYS_clone,
        &[Argument(0, Is::Masked(THREAD | NAMESPACES as u64, THREAD))],
    ),
    // A thread's name, for people who look.
    (
        libc::SYS_prctl,
        &[Argument(0, Is::Exactly(libc::PR_SET_NAME as u64))],
    ),
    // Not those that have signals sent to others.
    (
        libc::SYS_fcntl,
        &[Argument(1, Is::Exactly(libc::F_GETFD as u64))],
    ),
    (
        libc::SYS_fcntl,
        &[Argument(1, Is::Exactly(libc::F_SETFD as u64))],
    ),
    (
        libc::SYS_fcntl,
        &[Argument(1, Is::Exactly(libc::F_GETFL as u64))],
    ),
    (
        libc::SYS_fcntl,
        &[Argument(1, Is::Exactly(libc::F_DUPFD_CLOEXEC as u64))],
    ),
];

fn filter() -> io::Result<()> {
    let absent = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let program = filter::rules(CALLS, WITH_ARGUMENTS)
        .and_then(|rules| filter::program(rules, absent, SeccompAction::Allow));
    filter::install(&[program])
}
