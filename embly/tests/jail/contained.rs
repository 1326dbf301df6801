//! A container as engines make them: fewer capabilities, and a filter for system calls that
//! refuses namespaces. `jail contained PROGRAM ARGUMENTS…` runs a program in one.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// The first argument that asks for it.
pub const ROLE: &str = "contained";

/// The same for a filter that ends whoever enters the jail, as Embly's own does with a build that
/// makes other calls: `jail stopped PROGRAM ARGUMENTS…`.
pub const STOPPED: &str = "stopped";

/// The capabilities that root has in a container of Docker, unless it is given more.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Calls that the default profile of Docker refuses without CAP_SYS_ADMIN and its like.
const REFUSED: [libc::c_long; 22] = [
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_finit_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_sethostname,
    libc::SYS_open_by_handle_at,
];

/// Enters the container and becomes the program.
pub fn enter(line: impl Iterator<Item = OsString>) -> ExitCode {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if !CAPABILITIES.contains(one) && rustix::process::geteuid().is_root() {
            // Beyond the last one there is nothing to remove.
            let _ = remove_capability_from_bounding_set(one);
        }
    }
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    // All namespaces that `clone` knows.
    refused.insert(
        libc::SYS_clone,
        [
            libc::CLONE_NEWNS,
            libc::CLONE_NEWCGROUP,
            libc::CLONE_NEWUTS,
            libc::CLONE_NEWIPC,
            libc::CLONE_NEWUSER,
            libc::CLONE_NEWPID,
            libc::CLONE_NEWNET,
        ]
        .map(|flag| {
            let flag = u64::from(flag.cast_unsigned());
            let op = SeccompCmpOp::MaskedEq(flag);
            let is_set = SeccompCondition::new(0, SeccompCmpArgLen::Dword, op, flag).unwrap();
            SeccompRule::new(vec![is_set]).unwrap()
        })
        .into(),
    );
    answer(refused, libc::EPERM);
    answer(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        libc::ENOSYS,
    );
    become_program(line)
}

/// Becomes the program, which ends where it enters a jail.
pub fn stop(line: impl Iterator<Item = OsString>) -> ExitCode {
    let calls = BTreeMap::from([(libc::SYS_landlock_create_ruleset, Vec::new())]);
    act(calls, SeccompAction::KillProcess);
    become_program(line)
}

fn become_program(mut line: impl Iterator<Item = OsString>) -> ! {
    let error = Command::new(line.next().unwrap()).args(line).exec();
    panic!("{error}")
}

fn answer(calls: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) {
    act(calls, SeccompAction::Errno(errno.cast_unsigned()));
}

fn act(calls: BTreeMap<i64, Vec<SeccompRule>>, action: SeccompAction) {
    let here = TargetArch::try_from(std::env::consts::ARCH).unwrap();
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, action, here).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}
