//! The jail of a process that runs the SQL of functions: it keeps its user, whose files the database
//! are, and may open these files and nothing else. It has no network, starts nothing, and a call that
//! is not on its list is answered as one that this kernel does not have.

use std::io;
use std::path::Path;

use rustix::process::DumpableBehavior;
use seccompiler::SeccompAction;

use super::filter::{Argument, Call, Is};
use super::step::{JailError, Step};
use super::{capabilities, filter, landlock, limits};
use crate::{server::die_with, sys};

/// What it may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory: u64,
    /// Bytes of each file that it writes.
    pub file: u64,
}

const CALLS: &[libc::c_long] = &[
    // Its socket, and files.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_unlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_geteuid,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // The rest of what a program does.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
];

/// Older forms of the same, which some architectures never had.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[];

const EXECUTABLE: u64 = libc::PROT_EXEC as u64;

/// Allowed with these arguments only, each line one way to call it.
const WITH_ARGUMENTS: &[Call<'_>] = &[
    // Memory is never executable.
    (libc::SYS_mmap, &[Argument(2, Is::Without(EXECUTABLE))]),
    (libc::SYS_mprotect, &[Argument(2, Is::Without(EXECUTABLE))]),
    // Locks on parts of files, and what keeps descriptors from being inherited.
    (
        libc::SYS_fcntl,
        &[Argument(1, Is::Exactly(libc::F_GETLK as u64))],
    ),
    (
        libc::SYS_fcntl,
        &[Argument(1, Is::Exactly(libc::F_SETLK as u64))],
    ),
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
];

/// Enters it. `master` is the process that has started this one, `files` are what may be opened, and
/// whether to write.
///
/// # Errors
/// The step that failed; those that this system does not offer are among the ones that were told of
/// when the master has started.
pub fn enter(master: i32, files: &[(&Path, bool)], limits: Limits) -> Result<(), JailError> {
    Step::ParentDeath.fatal(die_with(master))?;
    Step::Session.fatal(rustix::process::setsid().map(drop).map_err(io::Error::from))?;
    Step::Signals.fatal(sys::signal::ignore_terminal())?;
    // A file that grows beyond its limit is an error, not an end.
    Step::Signals.fatal(sys::signal::ignore_large_files())?;
    Step::Descriptors.fatal(sys::fd::close_all_but(&[]))?;
    super::name_process("embly sql");
    Step::OomScore.outcome(std::fs::write("/proc/self/oom_score_adj", "1000"))?;
    Step::Limits.fatal(limits::sql(limits.memory, limits.file))?;
    Step::Capabilities.outcome(capabilities::drop_all())?;
    Step::NoNewPrivileges.fatal(rustix::thread::set_no_new_privs(true).map_err(Into::into))?;
    let dumpable = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    Step::NotDumpable.fatal(dumpable.map_err(Into::into))?;
    Step::Landlock.outcome(landlock::files_only(files))?;
    Step::Filter.outcome(filter())?;
    Ok(())
}

fn filter() -> io::Result<()> {
    let absent = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let program = filter::rules(&[CALLS, OLDER].concat(), WITH_ARGUMENTS)
        .and_then(|rules| filter::program(rules, absent, SeccompAction::Allow));
    filter::install(&[program])
}
