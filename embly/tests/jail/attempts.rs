//! The ways out that are tried, and what must come of each.

use std::os::fd::RawFd;

use libc::*;

use super::sys::{Word, call, leave};

/// What comes of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The filter ends the process.
    Killed,
    /// The call fails so.
    Errno(i32),
}

use Outcome::{Errno, Killed};

/// A way out.
pub struct Attempt {
    /// The path of the request that tries it.
    pub name: &'static str,
    /// Tries it.
    pub attack: fn(&Around) -> Result<i64, i32>,
    /// What must come of it.
    pub outcome: Outcome,
    /// What comes of it without the filter, by the other steps alone; empty where only the filter
    /// stands in its way, or where there is nothing to gain.
    pub unfiltered: &'static [i32],
}

/// What an attacker finds.
pub struct Around {
    master: Word,
    socket: Word,
    artefact: Word,
    /// A page of its own memory, and of its own code.
    page: Word,
    code: Word,
}

impl Around {
    /// Looks around, which every process may.
    pub fn look(socket: RawFd) -> Self {
        const PAGE: usize = 4096;
        let socket = usize::try_from(socket).unwrap();
        let protection = (PROT_READ | PROT_WRITE) as Word;
        let flags = (MAP_PRIVATE | MAP_ANONYMOUS) as Word;
        let anonymous = [0, PAGE, protection, flags, Word::MAX, 0];
        let page = call(SYS_mmap, anonymous).unwrap();
        let master = call(SYS_getppid, [0; 6]).unwrap();
        Self {
            master: usize::try_from(master).unwrap(),
            socket,
            // Opened first, closed never.
            artefact: 4,
            page: usize::try_from(page).unwrap(),
            code: (leave as fn() -> ! as Word) & !(PAGE - 1),
        }
    }
}

const fn attempt(
    name: &'static str,
    outcome: Outcome,
    unfiltered: &'static [i32],
    attack: fn(&Around) -> Result<i64, i32>,
) -> Attempt {
    Attempt {
        name,
        attack,
        outcome,
        unfiltered,
    }
}

fn text(text: &'static std::ffi::CStr) -> Word {
    text.as_ptr() as Word
}

const HERE: Word = AT_FDCWD as Word;
const KILL: Word = SIGKILL as Word;

/// `sockaddr_un` of a path, `sockaddr_in` of 127.0.0.1:1.
fn unix_address() -> [u8; 16] {
    let mut address = [0; 16];
    address[0] = AF_UNIX as u8;
    address[2..12].copy_from_slice(b"/tmp/x.soc");
    address
}

fn inet_address() -> [u8; 16] {
    let mut address = [0; 16];
    address[0] = AF_INET as u8;
    address[3] = 1;
    address[4..8].copy_from_slice(&[127, 0, 0, 1]);
    address
}

/// A socket of TCP, with its address beside it.
fn inet() -> Result<(Word, [u8; 16]), i32> {
    let socket = call(
        SYS_socket,
        [AF_INET as Word, SOCK_STREAM as Word, 0, 0, 0, 0],
    )?;
    Ok((usize::try_from(socket).unwrap(), inet_address()))
}

/// A process that came of it ends at once.
fn child(result: Result<i64, i32>) -> Result<i64, i32> {
    if result == Ok(0) {
        leave();
    }
    result
}

/// Sends a descriptor to the master.
fn send_descriptor(around: &Around) -> Result<i64, i32> {
    let byte = [0u8; 1];
    let part: [Word; 2] = [byte.as_ptr() as Word, 1];
    // `cmsghdr`, and one descriptor.
    let control: [u64; 3] = [
        20,
        (SCM_RIGHTS as u64) << 32 | SOL_SOCKET as u64,
        around.artefact as u64,
    ];
    let message: [Word; 7] = [
        0,
        0,
        part.as_ptr() as Word,
        1,
        control.as_ptr() as Word,
        24,
        0,
    ];
    call(
        SYS_sendmsg,
        [around.socket, message.as_ptr() as Word, 0, 0, 0, 0],
    )
}

fn map(protection: i32, flags: i32, fd: Word) -> Result<i64, i32> {
    call(
        SYS_mmap,
        [0, 4096, protection as Word, flags as Word, fd, 0],
    )
}

fn limit(pid: Word, resource: u32, most: u64) -> Result<i64, i32> {
    let limit = [most, most];
    call(
        SYS_prlimit64,
        [pid, resource as Word, limit.as_ptr() as Word, 0, 0, 0],
    )
}

/// Only the filter knows these; without it they find nothing, or cannot hurt.
macro_rules! killed {
    ($($name:literal $number:ident [$($argument:expr),*]),+ $(,)?) => {
        &[$(attempt($name, Killed, &[], |_| {
            let mut words = [0; 6];
            let given: &[Word] = &[$($argument as Word),*];
            words[..given.len()].copy_from_slice(given);
            call($number, words)
        })),+]
    };
}

/// Those that need no more than their number.
const PLAIN: &[Attempt] = killed![
    "stat" SYS_statx [HERE, text(c"/etc/passwd"), 0, 0, 0],
    "readlink" SYS_readlinkat [HERE, text(c"/proc/self/exe"), 0, 0],
    "working-folder" SYS_chdir [text(c"/")],
    "link" SYS_linkat [HERE, text(c"/etc/passwd"), HERE, text(c"/tmp/embly-x"), 0],
    "remove" SYS_unlinkat [HERE, text(c"/tmp/embly-nothing"), 0],
    "rename" SYS_renameat2 [HERE, text(c"/tmp/embly-x"), HERE, text(c"/tmp/embly-y"), 0],
    "make-folder" SYS_mkdirat [HERE, text(c"/tmp/embly-x"), 0o700],
    "make-device" SYS_mknodat [HERE, text(c"/tmp/embly-x"), S_IFCHR, 0x103],
    "truncate-artefact" SYS_ftruncate [4, 0],
    "chmod-artefact" SYS_fchmod [4, 0o666],
    "chown-artefact" SYS_fchown [4, 0, 0],
    "pwrite-artefact" SYS_pwrite64 [4, 0, 0, 0],
    "read-artefact" SYS_read [4, 0, 0],
    "duplicate" SYS_dup [4],
    "fcntl" SYS_fcntl [4, F_DUPFD, 0],
    "ioctl" SYS_ioctl [4, FIONREAD, 0],
    "splice" SYS_splice [4, 0, 3, 0, 1, 0],
    "pipe" SYS_pipe2 [0, 0],
    "socket-pair" SYS_socketpair [AF_UNIX, SOCK_STREAM, 0, 0],
    "socket-packet" SYS_socket [AF_PACKET, SOCK_RAW, 0],
    "socket-vsock" SYS_socket [AF_VSOCK, SOCK_STREAM, 0],
    "listen" SYS_listen [3, 1],
    "accept" SYS_accept4 [3, 0, 0, 0],
    "socket-option" SYS_setsockopt [3, SOL_SOCKET, SO_PASSCRED, 0, 0],
    "socket-name" SYS_getsockname [3, 0, 0],
    "shut-down" SYS_shutdown [3, SHUT_RD],
    "event-descriptor" SYS_eventfd2 [0, 0],
    "epoll" SYS_epoll_create1 [0],
    "timer-descriptor" SYS_timerfd_create [0, 0],
    "signal-descriptor" SYS_signalfd4 [-1isize, 0, 8, 0],
    "watch-files" SYS_inotify_init1 [0],
    "memory-file" SYS_memfd_create [text(c"x"), 0],
    "secret-memory" SYS_memfd_secret [0],
    "clone3" SYS_clone3 [0, 0],
    "execute" SYS_execve [text(c"/bin/true"), 0, 0],
    "execute-artefact" SYS_execveat [4, text(c""), 0, 0, AT_EMPTY_PATH],
    "wait" SYS_wait4 [-1isize, 0, WNOHANG, 0],
    "kill-all" SYS_kill [-1isize, 0],
    "protect-with-key" SYS_pkey_mprotect [0, 0, PROT_EXEC, 0],
    "personality" SYS_personality [0x0040_0000],
    "shared-memory" SYS_shmget [IPC_PRIVATE, 4096, IPC_CREAT],
    "semaphores" SYS_semget [IPC_PRIVATE, 1, IPC_CREAT],
    "messages" SYS_msgget [IPC_PRIVATE, IPC_CREAT],
    "message-queue" SYS_mq_open [text(c"x"), O_CREAT, 0o600, 0],
    "new-limits" SYS_setrlimit [RLIMIT_NOFILE, 0],
    "limit-of-files" SYS_prlimit64 [0, RLIMIT_NOFILE, 0, 0],
    "limits-of-init" SYS_prlimit64 [1, RLIMIT_NPROC, 0, 0],
    "outlive-the-master" SYS_prctl [PR_SET_PDEATHSIG, 0],
    "be-dumpable" SYS_prctl [PR_SET_DUMPABLE, 1],
    "be-traced" SYS_prctl [PR_SET_PTRACER, -1isize],
    "rename-itself" SYS_prctl [PR_SET_NAME, text(c"systemd")],
    "another-filter" SYS_seccomp [SECCOMP_SET_MODE_FILTER, 0, 0],
    "landlock" SYS_landlock_create_ruleset [0, 0, 1],
    "landlock-self" SYS_landlock_restrict_self [-1isize, 0],
    "be-root" SYS_setresuid [0, 0, 0],
    "group-of-root" SYS_setresgid [0, 0, 0],
    "groups" SYS_setgroups [0, 0],
    "who-am-i" SYS_getuid [],
    "session" SYS_setsid [],
    "process-group" SYS_setpgid [0, 0],
    "capabilities" SYS_capset [0, 0],
    "user-namespace" SYS_unshare [CLONE_NEWUSER],
    "enter-namespace" SYS_setns [4, 0],
    "mount" SYS_mount [text(c"none"), text(c"/tmp"), text(c"tmpfs"), 0, 0],
    "unmount" SYS_umount2 [text(c"/proc"), MNT_DETACH],
    "open-tree" SYS_open_tree [HERE, text(c"/"), 1],
    "new-root" SYS_pivot_root [text(c"/"), text(c"/")],
    "change-root" SYS_chroot [text(c"/")],
    "host-name" SYS_sethostname [text(c"x"), 1],
    "system-name" SYS_uname [0],
    "system-log" SYS_syslog [3, 0, 0],
    "accounting" SYS_acct [0],
    "reboot" SYS_reboot [0, 0, 0, 0],
    "load-module" SYS_finit_module [4, text(c""), 0],
    "load-kernel" SYS_kexec_file_load [4, 4, 0, text(c""), 0],
    "swap" SYS_swapon [text(c"/dev/null"), 0],
    "set-clock" SYS_clock_settime [CLOCK_REALTIME, 0],
    "bpf" SYS_bpf [0, 0, 0],
    "performance-events" SYS_perf_event_open [0, 0, -1isize, -1isize, 0],
    "io-uring" SYS_io_uring_setup [8, 0],
    "old-asynchronous-io" SYS_io_setup [8, 0],
    "userfaultfd" SYS_userfaultfd [0],
    "keys" SYS_keyctl [0, -3isize, 0, 0, 0],
    "add-key" SYS_add_key [text(c"user"), text(c"x"), 0, 0, -1isize],
    "handle-of-file" SYS_open_by_handle_at [4, 0, 0],
    "watch-all-files" SYS_fanotify_init [0, 0],
    "quota" SYS_quotactl [0, 0, 0, 0],
    "compare-processes" SYS_kcmp [1, 1, 0, 0, 0],
    "priority" SYS_setpriority [PRIO_PROCESS, 0, -20isize],
    "scheduler" SYS_sched_setscheduler [0, SCHED_FIFO, 0],
    "processors" SYS_sched_setaffinity [0, 0, 0],
    "lock-memory" SYS_mlockall [MCL_FUTURE],
    "advise-others" SYS_process_madvise [1, 0, 0, 0, 0],
    "merge-memory" SYS_madvise [0, 0, MADV_MERGEABLE],
    "real-time-timer" SYS_setitimer [ITIMER_REAL, 0, 0],
    "timer" SYS_timer_create [0, 0, 0],
    "priority-futex" SYS_futex [0, FUTEX_LOCK_PI, 0, 0, 0, 0],
    "requeue-futex" SYS_futex [0, FUTEX_REQUEUE, 0, 0, 0, 0],
    "sleep" SYS_nanosleep [0, 0],
    "print" SYS_write [1, text(c"x"), 1],
    "another-abis-call" SYS_brand_new [],
];

/// A number that no kernel knows yet, and one of the ABI beside this one.
#[allow(non_upper_case_globals, reason = "as the others are written")]
const SYS_brand_new: c_long = 0x4000_0000 | 39;

/// Those that need more.
const OTHERS: &[Attempt] = &[
    attempt("open", Killed, &[EACCES], |_| {
        call(SYS_openat, [HERE, text(c"/etc/passwd"), 0, 0, 0, 0])
    }),
    attempt("make-file", Killed, &[EACCES], |_| {
        let flags = (O_CREAT | O_WRONLY) as Word;
        call(
            SYS_openat,
            [HERE, text(c"/tmp/embly-x"), flags, 0o600, 0, 0],
        )
    }),
    attempt("open-device", Killed, &[EACCES], |_| {
        call(SYS_openat, [HERE, text(c"/dev/null"), 2, 0, 0, 0])
    }),
    attempt("look-into-the-master", Killed, &[EACCES, EPERM], |around| {
        let path = std::ffi::CString::new(format!("/proc/{}/environ", around.master)).unwrap();
        call(SYS_openat, [HERE, path.as_ptr() as Word, 0, 0, 0, 0])
    }),
    attempt("look-into-itself", Killed, &[EACCES, EPERM], |_| {
        call(SYS_openat, [HERE, text(c"/proc/self/mem"), 2, 0, 0, 0])
    }),
    attempt("connect-tcp", Killed, &[EACCES, ENETUNREACH], |_| {
        let (socket, address) = inet()?;
        call(SYS_connect, [socket, address.as_ptr() as Word, 16, 0, 0, 0])
    }),
    attempt("bind-tcp", Killed, &[EACCES], |_| {
        let (socket, address) = inet()?;
        call(SYS_bind, [socket, address.as_ptr() as Word, 16, 0, 0, 0])
    }),
    attempt("connect", Killed, &[EISCONN, ENOENT], |around| {
        let address = unix_address();
        let at = address.as_ptr() as Word;
        call(SYS_connect, [around.socket, at, 14, 0, 0, 0])
    }),
    attempt("bind", Killed, &[EACCES], |around| {
        let address = unix_address();
        let at = address.as_ptr() as Word;
        call(SYS_bind, [around.socket, at, 14, 0, 0, 0])
    }),
    attempt("socket-unix", Killed, &[], |_| {
        call(
            SYS_socket,
            [AF_UNIX as Word, SOCK_STREAM as Word, 0, 0, 0, 0],
        )
    }),
    attempt("socket-netlink", Killed, &[], |_| {
        call(
            SYS_socket,
            [AF_NETLINK as Word, SOCK_RAW as Word, 0, 0, 0, 0],
        )
    }),
    attempt("send-elsewhere", Errno(EISCONN), &[EISCONN], |around| {
        let address = unix_address();
        let (byte, at) = ([0u8; 1], address.as_ptr() as Word);
        let bytes = byte.as_ptr() as Word;
        call(SYS_sendto, [around.socket, bytes, 1, 0, at, 14])
    }),
    attempt("send-a-descriptor", Killed, &[], send_descriptor),
    attempt("fork", Killed, &[EAGAIN], |_| {
        child(call(SYS_clone, [SIGCHLD as Word, 0, 0, 0, 0, 0]))
    }),
    attempt("fork-a-sibling", Errno(EAGAIN), &[EAGAIN], |_| {
        let flags = (CLONE_PARENT | SIGCHLD) as Word;
        child(call(SYS_clone, [flags, 0, 0, 0, 0, 0]))
    }),
    attempt("fork-into-a-namespace", Killed, &[EAGAIN, EPERM], |_| {
        let flags = (CLONE_NEWPID | SIGCHLD) as Word;
        child(call(SYS_clone, [flags, 0, 0, 0, 0, 0]))
    }),
    attempt("trace-the-master", Killed, &[EPERM], |around| {
        call(
            SYS_ptrace,
            [PTRACE_ATTACH as Word, around.master, 0, 0, 0, 0],
        )
    }),
    attempt("read-the-master", Killed, &[EPERM], |around| {
        let part: [Word; 2] = [around.page, 8];
        let at = part.as_ptr() as Word;
        call(SYS_process_vm_readv, [around.master, at, 1, at, 1, 0])
    }),
    attempt("kill-the-master", Killed, &[EPERM], |around| {
        call(SYS_kill, [around.master, KILL, 0, 0, 0, 0])
    }),
    attempt("stop-the-master", Killed, &[EPERM], |around| {
        call(SYS_kill, [around.master, SIGSTOP as Word, 0, 0, 0, 0])
    }),
    attempt("kill-a-thread", Killed, &[EPERM], |around| {
        call(SYS_tgkill, [around.master, around.master, KILL, 0, 0, 0])
    }),
    attempt("abort-the-master", Errno(EPERM), &[EPERM], |around| {
        let abort = SIGABRT as Word;
        call(SYS_tgkill, [around.master, around.master, abort, 0, 0, 0])
    }),
    attempt("descriptor-of-the-master", Killed, &[], |around| {
        call(SYS_pidfd_open, [around.master, 0, 0, 0, 0, 0])
    }),
    attempt("map-executable", Killed, &[], |_| {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS;
        map(PROT_READ | PROT_EXEC, flags, Word::MAX)
    }),
    attempt("map-the-artefact-executable", Killed, &[], |around| {
        map(PROT_READ | PROT_EXEC, MAP_PRIVATE, around.artefact)
    }),
    attempt("make-executable", Killed, &[], |around| {
        let protection = (PROT_READ | PROT_EXEC) as Word;
        call(SYS_mprotect, [around.page, 4096, protection, 0, 0, 0])
    }),
    attempt("make-code-writable", Killed, &[], |around| {
        let protection = (PROT_READ | PROT_WRITE | PROT_EXEC) as Word;
        call(SYS_mprotect, [around.code, 4096, protection, 0, 0, 0])
    }),
    attempt("write-into-the-artefact", Killed, &[EBADF], |around| {
        call(SYS_write, [around.artefact, around.page, 8, 0, 0, 0])
    }),
    attempt(
        "map-the-artefact-writable",
        Errno(EACCES),
        &[EACCES],
        |around| map(PROT_READ | PROT_WRITE, MAP_SHARED, around.artefact),
    ),
    attempt("gigabytes", Errno(ENOMEM), &[ENOMEM], |_| {
        let protection = (PROT_READ | PROT_WRITE) as Word;
        let flags = (MAP_PRIVATE | MAP_ANONYMOUS) as Word;
        call(SYS_mmap, [0, 1 << 30, protection, flags, Word::MAX, 0])
    }),
    attempt("more-processes", Errno(EPERM), &[EPERM], |_| {
        limit(0, RLIMIT_NPROC, 1000)
    }),
    attempt("more-memory", Killed, &[EPERM], |_| {
        limit(0, RLIMIT_DATA, RLIM_INFINITY)
    }),
    attempt("longer-files", Killed, &[EPERM], |_| {
        limit(0, RLIMIT_FSIZE, 1 << 20)
    }),
    attempt("limits-of-the-master", Killed, &[EPERM], |around| {
        limit(around.master, RLIMIT_NOFILE, 0)
    }),
];

/// All of them.
pub static ATTEMPTS: std::sync::LazyLock<Vec<&Attempt>> =
    std::sync::LazyLock::new(|| PLAIN.iter().chain(OTHERS).collect());
