//! What a process gives up before it meets guest code: a script of ordered steps, one error
//! per step, in the groups that the moment of the fork makes.
//!
//! Today these are the steps of the process model itself: ties to the master, signals,
//! descriptors. What confines a guest that has escaped from the engine (capabilities,
//! namespaces, landlock, seccomp) has its place behind them.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::server::die_with;
use crate::sys;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// Dying with the master.
    #[error("cannot tie its life to the master: {0}")]
    ParentDeath(#[source] io::Error),
    /// A session of its own.
    #[error("cannot start a session: {0}")]
    Session(#[source] io::Error),
    /// Signals of the terminal.
    #[error("cannot ignore signals: {0}")]
    Signals(#[source] io::Error),
    /// Descriptors that were inherited by mistake.
    #[error("cannot close inherited descriptors: {0}")]
    Descriptors(#[source] io::Error),
    /// Standard input, output, error.
    #[error("cannot point standard descriptors at /dev/null: {0}")]
    Standard(#[source] io::Error),
}

/// Once, in the fork server, before anything is opened but its socket (`keep`); inherited by its
/// wrappers.
///
/// # Errors
/// The step that failed.
pub fn enter_server(master: i32, function: &str, keep: &[RawFd]) -> Result<(), JailError> {
    die_with(master).map_err(JailError::ParentDeath)?;
    // Ctrl-C and a service manager's stop are for the master alone, which drains.
    rustix::process::setsid().map_err(|error| JailError::Session(error.into()))?;
    sys::signal::ignore_terminal().map_err(JailError::Signals)?;
    sys::fd::close_all_but(keep).map_err(JailError::Descriptors)?;
    name_process(function);
    Ok(())
}

/// Once, in the fork server, when it has loaded its function and nothing is left to say.
///
/// # Errors
/// When /dev/null cannot be opened.
pub fn silence() -> Result<(), JailError> {
    let standard = |error: rustix::io::Errno| JailError::Standard(error.into());
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(JailError::Standard)?;
    dup2_stdin(&null).map_err(standard)?;
    dup2_stdout(&null).map_err(standard)?;
    dup2_stderr(&null).map_err(standard)
}

/// In each wrapper, after the fork: what is not inherited, or must not be. `keep` is its own
/// socket and the artefact.
///
/// # Errors
/// The step that failed.
pub fn enter_wrapper(master: i32, keep: &[RawFd]) -> Result<(), JailError> {
    die_with(master).map_err(JailError::ParentDeath)?;
    // The control socket and the sockets of the rest of the batch.
    sys::fd::close_all_but(keep).map_err(JailError::Descriptors)
}

/// The name in the process list; 15 bytes at most are shown, so a long one is cut.
fn name_process(function: &str) {
    if let Ok(name) = CString::new(function) {
        // Only for people who look: it works or it does not.
        let _ = rustix::thread::set_name(&name);
    }
}
