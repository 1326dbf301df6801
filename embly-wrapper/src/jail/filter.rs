//! The filter for system calls: what a fork server and its wrappers need is allowed, anything
//! else ends the process.
//!
//! The list was measured, over all tests, on what a fork server does after this step and what a
//! wrapper does from its first instruction to its last. It is inherited: a filter per wrapper
//! would cost more than its fork. Calls that are allowed whatever their arguments cost nearly
//! nothing, since the kernel keeps them in a table; the others are looked at one by one.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::sys::process::SIBLING;

/// Allowed whatever the arguments.
const FREE: &[libc::c_long] = &[
    // The control socket and the slot.
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_ppoll,
    libc::SYS_close,
    libc::SYS_close_range,
    // Memory. What may be mapped is below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    // Signals: traps of the guest, and the CPU timer.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // A wait that a signal has interrupted, a stop for instance, is taken up again by this.
    libc::SYS_restart_syscall,
    // Clocks are read without a call, except on some virtual machines, and except CPU time.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_getrandom,
    // Of the fork's own steps, and of an abort.
    libc::SYS_getppid,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_exit_group,
];

/// Allowed with these arguments only, each line one way to call it.
const WITH_ARGUMENTS: &[Call] = &[
    // A sibling, nothing else: no thread, no namespace.
    (libc::SYS_clone, &[Argument(0, Is::Exactly(SIBLING as u64))]),
    // Memory is never executable.
    (libc::SYS_mmap, &[Argument(2, Is::Without(EXECUTABLE))]),
    (libc::SYS_mprotect, &[Argument(2, Is::Without(EXECUTABLE))]),
    (
        libc::SYS_madvise,
        &[Argument(2, Is::Exactly(libc::MADV_DONTNEED as u64))],
    ),
    (libc::SYS_futex, &[Argument(1, Is::Futex(libc::FUTEX_WAIT))]),
    (libc::SYS_futex, &[Argument(1, Is::Futex(libc::FUTEX_WAKE))]),
    (
        libc::SYS_futex,
        &[Argument(1, Is::Futex(libc::FUTEX_WAIT_BITSET))],
    ),
    // The CPU timer.
    (
        libc::SYS_setitimer,
        &[Argument(0, Is::Exactly(libc::ITIMER_PROF as u64))],
    ),
    // What is asked for after each fork: death with the master, and no processes.
    (
        libc::SYS_prctl,
        &[
            Argument(0, Is::Exactly(libc::PR_SET_PDEATHSIG as u64)),
            Argument(1, Is::Exactly(libc::SIGKILL as u64)),
        ],
    ),
    (
        libc::SYS_prlimit64,
        &[
            Argument(0, Is::Exactly(0)),
            Argument(1, Is::Exactly(libc::RLIMIT_NPROC as u64)),
        ],
    ),
    // The words of a panic, which go to /dev/null.
    (
        libc::SYS_write,
        &[Argument(0, Is::Exactly(libc::STDERR_FILENO as u64))],
    ),
    // An abort sends itself this signal; see `REFUSED`.
    (
        libc::SYS_tgkill,
        &[Argument(2, Is::Exactly(libc::SIGABRT as u64))],
    ),
];

/// Answered with EPERM instead of the end: an abort then ends by an instruction that does not
/// exist, and is reported as what it is, not as a violation.
const REFUSED: libc::c_long = libc::SYS_tgkill;

const EXECUTABLE: u64 = libc::PROT_EXEC as u64;

/// A call, and what all of these arguments must be.
pub(super) type Call<'a> = (libc::c_long, &'a [Argument]);

/// An argument by its place, from 0, and what it must be.
pub(super) struct Argument(pub u8, pub Is);

pub(super) enum Is {
    /// This number.
    Exactly(u64),
    /// None of these bits.
    Without(u64),
    /// Of the bits of the first number those of the second.
    Masked(u64, u64),
    /// This operation on a futex, of whatever clock and scope.
    Futex(libc::c_int),
}

impl Argument {
    fn condition(&self) -> Result<SeccompCondition, seccompiler::BackendError> {
        const HOW: u64 = (libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) as u64;
        let (op, value) = match self.1 {
            Is::Exactly(value) => (SeccompCmpOp::Eq, value),
            Is::Without(bits) => (SeccompCmpOp::MaskedEq(bits), 0),
            Is::Masked(bits, value) => (SeccompCmpOp::MaskedEq(bits), value),
            Is::Futex(operation) => (
                SeccompCmpOp::MaskedEq(u64::from(u32::MAX) & !HOW),
                u64::from(operation.cast_unsigned()),
            ),
        };
        // All of these are `int` to the kernel, but for the flags of `clone`, which are a `long`.
        SeccompCondition::new(self.0, SeccompCmpArgLen::Dword, op, value)
    }
}

/// From now on a call that is not on the list ends this process, and all that it forks, with
/// SIGSYS.
///
/// # Errors
/// When the kernel has no filters.
pub fn apply() -> io::Result<()> {
    let allow = rules(FREE, WITH_ARGUMENTS)
        .and_then(|rules| program(rules, SeccompAction::KillProcess, SeccompAction::Allow));
    let refuse = program(
        BTreeMap::from([(REFUSED, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.cast_unsigned()),
    );
    install(&[refuse, allow])
}

type Program = Result<BpfProgram, seccompiler::BackendError>;
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Those of `free` whatever their arguments; those of `with_arguments` in each of the ways that
/// stand there.
pub(super) fn rules(
    free: &[libc::c_long],
    with_arguments: &[Call<'_>],
) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = free.iter().map(|call| (*call, Vec::new())).collect();
    for (call, arguments) in with_arguments {
        let conditions: Result<Vec<_>, _> = arguments.iter().map(Argument::condition).collect();
        let rule = SeccompRule::new(conditions?)?;
        rules.entry(*call).or_default().push(rule);
    }
    Ok(rules)
}

/// `action` for these calls, `otherwise` for the rest. Another architecture's calls are none.
pub(super) fn program(rules: Rules, otherwise: SeccompAction, action: SeccompAction) -> Program {
    let here = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, otherwise, action, here)?.try_into()
}

/// Of several filters the strictest answer counts. The one that allows least comes last, since
/// it does not allow another one.
pub(super) fn install(programs: &[Program]) -> io::Result<()> {
    for program in programs {
        let program = program
            .as_ref()
            .map_err(|error| io::Error::other(error.to_string()))?;
        seccompiler::apply_filter(program).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
            error => io::Error::other(error),
        })?;
    }
    Ok(())
}
