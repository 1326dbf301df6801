//! The fork server: holds one loaded function and forks a wrapper for each slot it is given.
//! It never runs guest code and has one thread, so that its children are whole.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use protos::Slot;
use rustix::process::{Pid, Signal};
use wasmtime::{Engine, Module};

use crate::artefact::Artefact;
use crate::control::{self, Reply};
use crate::instance::Prepared;
use crate::jail::{Missing, Policy, Step};
use crate::sys::process::{Fork, clone_sibling, exit_now};
use crate::{artefact, child, engine, jail, sys};

/// What the fork server was told on its command line.
#[derive(Debug)]
pub struct Options {
    /// The master's process; a fork server whose parent is another has been orphaned.
    pub master: i32,
    /// Name of the function, for the process list.
    pub function: String,
    /// The artefact to load.
    pub artefact: PathBuf,
    /// The exported function to run.
    pub entry: String,
    /// Its limit of memory, in bytes.
    pub memory: Option<u64>,
    /// A process may serve several invocations.
    pub reuse: bool,
    /// How it is jailed.
    pub policy: Policy,
}

/// What a fork server is made of, beside its options: what the executable gives is
/// [`Program::default`]; a test puts an attacker in the guest's place, and whoever measures the
/// jail leaves out steps.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// What a wrapper does on its slot, once it is jailed.
    pub run: fn(OwnedFd, Slot, &mut Prepared),
    /// The steps of the jail, for a function of this name.
    pub steps: fn(&str) -> &'static [Step],
}

impl Default for Program {
    fn default() -> Self {
        Self {
            run: |socket, slot, function| {
                // A failure here means that the master has gone.
                let _ = child::run(socket, slot, function);
            },
            steps: |_| &Step::ALL,
        }
    }
}

/// Why a fork server ends without serving.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// There is no socket to the master.
    #[error("there is no connection to the master")]
    Control(#[source] io::Error),
    /// A step of its own set-up failed.
    #[error(transparent)]
    Jail(#[from] jail::JailError),
    /// The process has several threads, of which a fork would copy one.
    #[error("the fork server must have one thread, it has {0}")]
    Threads(usize),
    /// The artefact is not to be trusted.
    #[error("the artefact `{}` is not used: {source}", path.display())]
    Artefact {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong with it.
        source: artefact::Untrusted,
    },
    /// The engine refused it.
    #[error("the engine cannot load it: {0:#}")]
    Engine(#[from] wasmtime::Error),
}

/// Serves until the master closes the control socket.
///
/// # Errors
/// What kept it from serving; the master was told.
pub fn serve(options: &Options, program: &Program) -> Result<(), ServerError> {
    // A duplicate: number 0 becomes /dev/null.
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(|error| ServerError::Control(error.into()))?;
    let prepared = prepare(options, program, &[control.as_raw_fd()]);
    let (mut function, artefact, missing) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            // The master learns why; if it cannot be told it sees the socket close.
            let _ = control::send_reply(control.as_fd(), &Reply::Failed(error.to_string()));
            return Err(error);
        }
    };
    // Before the first fork: each child would do it again, on copies of the pages.
    sys::heap::settle();
    let ready = Reply::Ready(missing);
    control::send_reply(control.as_fd(), &ready).map_err(ServerError::Control)?;
    while let Some(batch) = receive(&control).map_err(ServerError::Control)? {
        for (slot, socket) in batch {
            let keep = [socket.as_raw_fd(), artefact];
            let run = || wrapper(options, program, keep, (socket, slot), &mut function);
            fork(&control, slot, run).map_err(ServerError::Control)?;
        }
    }
    Ok(())
}

/// The function, the descriptor of its artefact, which the engine maps memory from later, and
/// what the jail lacks here.
fn prepare(
    options: &Options,
    program: &Program,
    keep: &[RawFd],
) -> Result<(Prepared, RawFd, Vec<Missing>), ServerError> {
    jail::enter_server(options.master, &options.function, keep)?;
    let artefact = artefact::open(&options.artefact).map_err(|source| ServerError::Artefact {
        path: options.artefact.clone(),
        source,
    })?;
    let Artefact { file, has_start } = artefact;
    // Where clocks are read without a system call is looked up when one is read first, in ways
    // that the jail does not allow.
    let _ = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let steps = (program.steps)(&options.function);
    // A compiler that was taken over may have made it.
    let mut confined = jail::confine(&options.policy, steps, options.master)?;
    let (engine, module, artefact) = load(file, options.reuse)?;
    let prepared = Prepared::new(engine, &module, &options.entry, has_start)?;
    match confined.threads() {
        1 => {}
        threads => return Err(ServerError::Threads(threads)),
    }
    let missing = confined.close(&options.policy, steps, options.memory)?;
    Ok((prepared, artefact, missing))
}

/// The module, and the descriptor that the engine has kept of its artefact. With `reuse` there is room
/// for its instances beforehand, where it fits.
fn load(artefact: File, reuse: bool) -> wasmtime::Result<(Engine, Module, RawFd)> {
    let load = |engine: Engine, artefact: File| {
        let kept = artefact.as_raw_fd();
        sys::module::load(&engine, artefact).map(|module| (engine, module, kept))
    };
    if reuse {
        let copy = artefact.try_clone()?;
        let fits = engine::for_one_instance().and_then(|engine| load(engine, artefact));
        // What is wrong with it otherwise is wrong here as well.
        return fits.or_else(|_| load(engine::engine()?, copy));
    }
    load(engine::engine()?, artefact)
}

/// Enters the jail, says what it lacks here, and ends: for a master that starts, and for
/// `embly doctor`.
///
/// # Errors
/// The step that failed; the master was told.
pub fn probe(master: i32, policy: &Policy) -> Result<(), ServerError> {
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(|error| ServerError::Control(error.into()))?;
    let entered = jail::enter_server(master, "probe", &[control.as_raw_fd()])
        .and_then(|()| jail::confine(policy, &Step::ALL, master))
        .and_then(|confined| confined.close(policy, &Step::ALL, None));
    let (reply, result) = match entered {
        Ok(missing) => (Reply::Ready(missing), Ok(())),
        Err(error) => (Reply::Failed(error.to_string()), Err(error.into())),
    };
    control::send_reply(control.as_fd(), &reply).map_err(ServerError::Control)?;
    result
}

/// Runs one wrapper as a program of its own: what a fork server and its child do, in one process.
///
/// # Errors
/// What kept it from connecting; the master waits for it in vain and says so.
pub fn connect(
    options: &Options,
    program: &Program,
    socket: &Path,
    slot: Slot,
) -> Result<(), ServerError> {
    // Before the descriptors are gone, while there is still a path to it.
    let stream = UnixStream::connect(socket).map_err(ServerError::Control)?;
    let (mut function, artefact, _) = prepare(options, program, &[stream.as_raw_fd()])?;
    let keep = [stream.as_raw_fd(), artefact];
    wrapper(options, program, keep, (stream.into(), slot), &mut function);
    Ok(())
}

fn receive(control: &OwnedFd) -> io::Result<Option<Vec<(Slot, OwnedFd)>>> {
    loop {
        match control::receive_batch(control.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            other => return other,
        }
    }
}

/// Forks a child that does `run` and ends.
fn fork(control: &OwnedFd, slot: Slot, run: impl FnOnce()) -> io::Result<()> {
    match clone_sibling() {
        Ok(Fork::Child) => {
            // Nothing of the fork server's may run in the child, not even while unwinding.
            exit_now(i32::from(catch_unwind(AssertUnwindSafe(run)).is_err()))
        }
        Ok(Fork::Parent) => Ok(()),
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(0);
            control::send_reply(control.as_fd(), &Reply::ForkFailed(slot, errno))
        }
    }
}

fn wrapper(
    options: &Options,
    program: &Program,
    keep: [RawFd; 2],
    (socket, slot): (OwnedFd, Slot),
    function: &mut Prepared,
) {
    let steps = (program.steps)(&options.function);
    // Without its jail a wrapper does not run, and the master sees the socket close.
    if jail::enter_wrapper(options.master, &keep, steps).is_ok() {
        (program.run)(socket, slot, function);
    }
}

/// Dies with the thread of the master that started us; fails when that is gone already.
pub(crate) fn die_with(master: i32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid()
        .map(Pid::as_raw_nonzero)
        .map(std::num::NonZero::get)
        == Some(master)
    {
        Ok(())
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}
