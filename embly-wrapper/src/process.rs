//! What the master does with processes: socket pairs, fork servers, reaping, ending.

use std::ffi::OsStr;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use protos::Slot;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType, recvmsg, socketpair, sockopt,
};
use rustix::process::{Pid, Signal};

use crate::control::{self, Batch, Reply};
use crate::jail::Policy;
use crate::sys::buffer;
pub use crate::sys::process::{Reaped, Status, Which, reap};

/// A fork server, seen from the master: its process and its control socket. It ends when the
/// socket is closed; its wrappers live on.
#[derive(Debug)]
pub struct ForkServer {
    control: OwnedFd,
    pid: i32,
}

/// What a process is to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Name of the function, for the process list.
    pub function: String,
    /// Its artefact.
    pub artefact: PathBuf,
    /// The exported function to run.
    pub entry: String,
    /// Its limit of memory, in bytes.
    pub memory: Option<u64>,
    /// A process may serve several invocations.
    pub reuse: bool,
}

impl Spec {
    fn command(&self, role: &str, policy: &Policy) -> Command {
        let mut command = jailed_command(role, policy);
        command
            .args(["--function", &self.function, "--entry", &self.entry])
            .args([OsStr::new("--artefact"), self.artefact.as_os_str()])
            .args(["--reuse", if self.reuse { "yes" } else { "no" }]);
        if let Some(memory) = self.memory {
            command.args(["--memory", &memory.to_string()]);
        }
        command
    }
}

fn jailed_command(role: &str, policy: &Policy) -> Command {
    let mut command = wrapper_command(role);
    command
        .args(["--master", &std::process::id().to_string()])
        .args(["--jail-user", &policy.user.to_string()])
        .args(["--require-jail", if policy.required { "yes" } else { "no" }])
        .stdout(Stdio::null());
    command
}

impl ForkServer {
    /// Starts a fork server. Its life, and that of its wrappers, is tied to the *thread* that
    /// calls this: when that ends, the kernel kills them.
    ///
    /// # Errors
    /// That of starting a process.
    pub fn start(spec: &Spec, policy: &Policy) -> io::Result<Self> {
        let (ours, theirs) = control_pair()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let child = spec.command("serve", policy).stdin(theirs).spawn()?;
        // The value is dropped without a wait: the reaper waits for its whole group.
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok(Self { control: ours, pid })
    }

    /// Its process number, which is also that of the group of all its wrappers.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its control socket, to wait on and for [`fork`] and [`receive`]. The fork server ends
    /// when it is closed.
    pub fn into_control(self) -> OwnedFd {
        self.control
    }
}

fn control_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// What the jail lacks here: a process enters it, says so, and ends. Waits for it. With
/// [`Policy::required`] one that lacks anything is [`Reply::Failed`].
///
/// # Errors
/// That of starting a process; `UnexpectedEof` when it says nothing.
pub fn probe_jail(policy: &Policy) -> io::Result<Reply> {
    let (ours, theirs) = control_pair()?;
    let mut child = jailed_command("probe", policy)
        .stdin(theirs)
        .stderr(Stdio::null())
        .spawn()?;
    // It says something within milliseconds, or ends, which shows here as well.
    let ready = rustix::event::poll(
        &mut [PollFd::new(&ours, PollFlags::IN)],
        Some(&Timespec {
            tv_sec: PROBE_WITHIN.as_secs().cast_signed(),
            tv_nsec: 0,
        }),
    );
    let said = match ready {
        Ok(1..) => control::receive_reply(ours.as_fd()),
        Ok(0) => Err(io::ErrorKind::TimedOut.into()),
        Err(error) => Err(error.into()),
    };
    if said.is_err() {
        // It may have ended already.
        let _ = child.kill();
    }
    let status = child.wait()?;
    said.map_err(|error| io::Error::new(error.kind(), Silent { error, status }))
}

/// A process entered the jail and said nothing.
#[derive(Debug, thiserror::Error)]
#[error("{error}, {status}")]
pub struct Silent {
    #[source]
    error: io::Error,
    status: ExitStatus,
}

impl Silent {
    /// Whether the filter for system calls has ended it, if this error is about such a process.
    pub fn by_the_jail(error: &io::Error) -> bool {
        let silent = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<Self>());
        silent.is_some_and(|silent| silent.status.signal() == Some(libc::SIGSYS))
    }
}

/// A process starts and enters the jail in milliseconds; a machine under heavy load gets this.
const PROBE_WITHIN: Duration = Duration::from_secs(10);

/// Asks a fork server for one wrapper per slot, which gets the descriptor beside it. At most
/// [`control::MAX_BATCH`] at a time.
///
/// # Errors
/// `WouldBlock` when the fork server is behind, `BrokenPipe` when it has gone.
pub fn fork(control: BorrowedFd<'_>, batch: &[(Slot, BorrowedFd<'_>)]) -> io::Result<()> {
    let slots = batch.iter().map(|(slot, _)| *slot).collect();
    let fds: Vec<BorrowedFd<'_>> = batch.iter().map(|(_, fd)| *fd).collect();
    control::send_batch(control, &Batch { slots }, &fds)
}

/// What a fork server has said, if anything.
///
/// # Errors
/// `WouldBlock` when there is nothing, `UnexpectedEof` when it has gone.
pub fn receive(control: BorrowedFd<'_>) -> io::Result<Reply> {
    control::receive_reply(control)
}

/// `embly wrapper ROLE` in this very executable, with an empty environment.
pub(crate) fn wrapper_command(role: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("embly").args(["wrapper", role]).env_clear();
    command
}

/// Starts a wrapper as a program of its own, which connects to the master's socket: for systems
/// without the fork server, and to see one wrapper alone. It leads a group of its own; its life
/// is tied to the thread that calls this. The result is its process number.
///
/// # Errors
/// That of starting a process.
pub fn start_wrapper(spec: &Spec, policy: &Policy, socket: &Path, slot: Slot) -> io::Result<i32> {
    let child = spec
        .command("connect", policy)
        .args(["--slot", &slot.0.to_string()])
        .args([OsStr::new("--socket"), socket.as_os_str()])
        .stdin(Stdio::null())
        .spawn()?;
    i32::try_from(child.id()).map_err(io::Error::other)
}

/// A connection between the master and a wrapper that is to be forked: ours, theirs.
///
/// # Errors
/// `EMFILE` and `ENFILE` when there are no more descriptors.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    // The kernel itself then says who the peer is, with its first bytes.
    sockopt::set_socket_passcred(&ours, true)?;
    Ok((ours, theirs))
}

/// The first thing a wrapper said: its slot, and its process number as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The slot it names.
    pub slot: Slot,
    /// The process that said it.
    pub pid: i32,
}

/// Reads the first thing a wrapper says on a connection made by [`pair`].
///
/// # Errors
/// `WouldBlock` when it has said nothing yet, `UnexpectedEof` when it is gone, `InvalidData`
/// when it said something else.
pub fn hello(socket: BorrowedFd<'_>) -> io::Result<Hello> {
    let mut bytes = [0; Slot::BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
    )?;
    let pid = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(who) => Some(who.pid.as_raw_nonzero().get()),
        _ => None,
    });
    match (received.bytes, pid) {
        (0, _) => Err(io::ErrorKind::UnexpectedEof.into()),
        (Slot::BYTES, Some(pid)) => Ok(Hello {
            slot: Slot::from_bytes(bytes),
            pid,
        }),
        // Eight bytes on a fresh socket are never split by the kernel.
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Whether the wrapper at the other end has gone; what it has said before may still be read.
pub fn has_gone(socket: BorrowedFd<'_>) -> bool {
    // That it has gone shows without being asked for.
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let at_once = Some(&Timespec::default());
    rustix::event::poll(&mut fds, at_once).is_ok_and(|ready| ready > 0)
}

/// Looks at what the other end has said, without reading it: its first byte, or none where it has
/// closed.
///
/// # Errors
/// `WouldBlock` when it is silent.
pub fn look(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let (bytes, _) = rustix::net::recv(socket, &mut [0][..], flags)?;
    Ok(bytes)
}

/// Reads what the wrapper at the other end has said, without waiting, to the end of `buffer`, at most
/// as many bytes. 0 is the end.
///
/// # Errors
/// `WouldBlock` when there is nothing.
pub fn read(socket: BorrowedFd<'_>, buffer: &mut BytesMut, most: usize) -> io::Result<usize> {
    Ok(buffer::receive(socket, buffer, most, RecvFlags::DONTWAIT)?)
}

/// Writes to the wrapper at the other end, without waiting: how many bytes it was.
///
/// # Errors
/// `WouldBlock` when there is no room.
pub fn write(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    Ok(rustix::net::send(socket, bytes, flags)?)
}

/// Whether there is a child of this number that was not reaped.
pub fn is_child(pid: i32) -> bool {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let flags = WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT | WaitIdOptions::EXITED;
    Pid::from_raw(pid).is_some_and(|pid| waitid(WaitId::Pid(pid), flags).is_ok())
}

/// Kills a child that was not reaped yet, so that its number is still its own.
///
/// # Errors
/// That of `kill`.
pub fn kill(pid: i32) -> io::Result<()> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(pid, Signal::KILL)?)
}

/// Asks a guest to stop where it is, and to say where that is. Its process is a child that was not
/// reaped yet.
///
/// # Errors
/// That of `kill`.
pub fn interrupt(pid: i32) -> io::Result<()> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(pid, Signal::USR1)?)
}

/// Keeps SIGCHLD from this thread, so that another one takes it. Inherited by the processes that it
/// starts; fork servers and wrappers have no children.
///
/// # Errors
/// That of `pthread_sigmask`.
pub fn block_child_signals() -> io::Result<()> {
    crate::sys::signal::block_child_signals()
}

/// The group of a child that was not reaped yet, by the number of its leader.
pub fn group(pid: i32) -> Option<i32> {
    let group = rustix::process::getpgid(Some(Pid::from_raw(pid)?)).ok()?;
    Some(group.as_raw_nonzero().get())
}

/// CPU time so far of a child that was not reaped yet.
///
/// # Errors
/// That of `clock_gettime`.
pub fn cpu_time(pid: i32) -> io::Result<std::time::Duration> {
    crate::sys::cputime::cpu_time(pid)
}
