//! Processes: fork as a sibling, leave, reap with resource usage.

use std::io;
use std::time::Duration;

/// Which side of [`clone_sibling`] this is.
pub enum Fork {
    /// The new process.
    Child,
    /// The old one; its parent, not it, will be told of the child's end.
    Parent,
}

/// The flags of [`clone_sibling`]. The filter for system calls allows exactly these.
pub const SIBLING: libc::c_int = libc::CLONE_PARENT | libc::SIGCHLD;

/// Forks a child of *our parent*. It shares our session, group and descriptors.
///
/// The old `clone` call: container engines refuse `clone3` by default. Only for a
/// process with one thread, since the child has no other.
///
/// # Errors
/// That of `clone`: `EAGAIN` at a limit on processes, `ENOMEM`.
pub fn clone_sibling() -> io::Result<Fork> {
    // SAFETY: no new stack and no shared memory (no CLONE_VM): the child continues on a copy
    // of this stack, as after fork. The process has one thread, so no lock is held elsewhere.
    match unsafe { libc::syscall(libc::SYS_clone, SIBLING, 0, 0, 0, 0) } {
        0 => Ok(Fork::Child),
        pid if pid > 0 => Ok(Fork::Parent),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends this process at once: no destructors, no exit handlers. A forked child has
/// copies of its parent's, which are not its to run.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// A process that has ended and was reaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaped {
    /// Its number, free for reuse by now.
    pub pid: i32,
    /// How it ended.
    pub status: Status,
    /// User and system time together.
    pub cpu: Duration,
    /// The most memory it had resident, in bytes.
    pub memory: u64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl Status {
    /// The filter for system calls has ended it: nobody else sends this signal.
    pub fn by_the_jail(self) -> bool {
        self == Self::Signaled(libc::SIGSYS)
    }
}

/// Which children to reap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// One process.
    Process(i32),
    /// All of a process group.
    Group(i32),
}

/// Reaps one child that has ended, without waiting.
///
/// # Errors
/// `ECHILD` when there is no such child, neither running nor ended.
pub fn reap(which: Which) -> io::Result<Option<Reaped>> {
    let which = match which {
        Which::Process(pid) => pid,
        Which::Group(pgid) => -pgid,
    };
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live variables of the right types.
        match unsafe { libc::wait4(which, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) } {
            0 => return Ok(None),
            pid if pid > 0 => {
                // SAFETY: zeroed is a valid rusage, and wait4 filled it.
                let usage = unsafe { usage.assume_init() };
                return Ok(Some(reaped(pid, status, &usage)));
            }
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}

fn reaped(pid: i32, status: i32, usage: &libc::rusage) -> Reaped {
    let time = |t: libc::timeval| {
        Duration::from_secs(t.tv_sec.unsigned_abs())
            + Duration::from_micros(t.tv_usec.unsigned_abs())
    };
    Reaped {
        pid,
        status: if libc::WIFSIGNALED(status) {
            Status::Signaled(libc::WTERMSIG(status))
        } else {
            Status::Exited(libc::WEXITSTATUS(status))
        },
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        memory: usage.ru_maxrss.unsigned_abs() * 1024,
    }
}

/// Leaves namespaces: `CLONE_NEW…`, and no other flag.
///
/// # Errors
/// That of `unshare`: `EPERM`, `EINVAL` where the kernel has none of that kind, `ENOSPC` at a
/// limit on them.
pub fn unshare(namespace: libc::c_int) -> io::Result<()> {
    const NAMESPACES: libc::c_int =
        libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWNET | libc::CLONE_NEWUSER;
    // SAFETY: takes a number. Among these flags there is none that unshares descriptors or
    // memory, which another thread could notice.
    match unsafe { libc::unshare(namespace & NAMESPACES) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
