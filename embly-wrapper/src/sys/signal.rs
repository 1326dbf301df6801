//! Signals: which are ignored, the CPU timer, and the one that asks a guest where it is.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wasmtime::Engine;

/// Ignores INT, TERM, HUP and the stop keys of a terminal: those are for the master, which
/// drains. Inherited by every child.
///
/// # Errors
/// That of `sigaction`.
pub fn ignore_terminal() -> io::Result<()> {
    for signal in [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGPIPE,
    ] {
        install(signal, libc::SIG_IGN)?;
    }
    Ok(())
}

/// Makes a write beyond the limit on the size of files an error, `EFBIG`, instead of the end.
///
/// # Errors
/// That of `sigaction`.
pub fn ignore_large_files() -> io::Result<()> {
    install(libc::SIGXFSZ, libc::SIG_IGN)
}

/// The engine whose epoch the signals advance. Set once, before the handlers exist.
static ENGINE: OnceLock<Engine> = OnceLock::new();

extern "C" fn on_cpu_timer(_: libc::c_int) {
    if let Some(engine) = ENGINE.get() {
        engine.increment_epoch();
    }
}

/// Whether the master has asked the guest to stop where it is.
static ASKED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_asked(signal: libc::c_int) {
    ASKED.store(true, Ordering::Relaxed);
    on_cpu_timer(signal);
}

/// Whether the master has asked for it.
pub fn is_asked_to_stop() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Makes the signal of the CPU timer, and the one by which the master asks a guest to stop where it
/// is (USR1), advance the epoch of `engine`. Inherited by children.
///
/// # Errors
/// That of `sigaction`.
pub fn advance_epoch_on_signals(engine: &Engine) -> io::Result<()> {
    ENGINE.get_or_init(|| engine.clone());
    for (signal, handler) in [
        (libc::SIGPROF, on_cpu_timer as extern "C" fn(libc::c_int)),
        (libc::SIGUSR1, on_asked),
    ] {
        install(signal, handler as *const () as usize)?;
    }
    Ok(())
}

/// Starts the CPU timer: a signal each time this process has used `interval` of CPU time,
/// user and system. Zero stops it. Not inherited.
///
/// # Errors
/// That of `setitimer`.
pub fn start_cpu_timer(interval: Duration) -> io::Result<()> {
    let time = libc::timeval {
        tv_sec: libc::time_t::try_from(interval.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: interval.subsec_micros().into(),
    };
    let timer = libc::itimerval {
        it_interval: time,
        it_value: time,
    };
    // SAFETY: `timer` is a live itimerval; the old value is not asked for.
    match unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps the news of children's ends from this thread; other threads of the process get it.
///
/// # Errors
/// That of `pthread_sigmask`.
pub fn block_child_signals() -> io::Result<()> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: it empties the set that it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised above, and the signal exists.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD) };
    // SAFETY: `set` is a live set; the old one is not asked for.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

fn install(signal: libc::c_int, action: usize) -> io::Result<()> {
    // SAFETY: zeroed is a valid sigaction with an empty mask and no flags.
    let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
    new.sa_sigaction = action;
    // The guest runs on stacks of its own size: take the alternate one where there is one.
    new.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: `new` is a live sigaction whose handler is SIG_IGN, `on_cpu_timer` or `on_asked`, which
    // do nothing but an atomic store, an atomic load and an atomic add.
    match unsafe { libc::sigaction(signal, &raw const new, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
