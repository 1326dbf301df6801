//! Sockets that systemd has opened for this process (`sd_listen_fds(3)`).

use std::os::fd::{OwnedFd, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};

use crate::sys::{environment, fd};

/// The first of the descriptors.
const FIRST: RawFd = 3;

/// What says that they are there, and is not for children.
const VARIABLES: [&str; 4] = [
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// Takes them, each with its name. Children get neither them nor the variables. Call it once, before
/// there is a second thread, and before anything is opened.
pub fn take() -> Vec<(String, OwnedFd)> {
    let [pid, _, count, names] = VARIABLES.map(|name| std::env::var(name).ok());
    if count.is_none() && pid.is_none() {
        return Vec::new();
    }
    // They would be believed by nobody else: they have another process number.
    let _ = environment::remove(&VARIABLES);
    let ours = pid.and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    let count: RawFd = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    if !ours {
        return Vec::new();
    }
    let names = names.unwrap_or_default();
    let mut names = names.split(':');
    let sockets = (FIRST..FIRST.saturating_add(count)).map_while(|number| {
        let name = names.next().filter(|name| !name.is_empty());
        let socket = fd::take(number).ok()?;
        fcntl_setfd(&socket, FdFlags::CLOEXEC).ok()?;
        Some((name.unwrap_or("unknown").to_owned(), socket))
    });
    sockets.collect()
}
