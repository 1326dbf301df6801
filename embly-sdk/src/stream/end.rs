//! How a stream ended.

use crate::{
    reason::{Exit, Reason},
    sys::{self, Errno},
};
use std::io;

/// The most of the detail that is taken over.
const DETAIL: usize = 4 * 1024;

/// How the other side ended, if it has.
pub(crate) fn exit(id: i32) -> sys::Result<Option<Exit>> {
    let mut detail = [0; DETAIL];
    let status = match sys::status(id, &mut detail) {
        Ok(status) => status,
        Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let mut text = String::from_utf8_lossy(&detail[..status.detail_len]).into_owned();
    // A newer Embly may know reasons that this crate does not.
    let reason = Reason::from_number(status.reason).unwrap_or_else(|| {
        text = format!("reason number {} {text}", status.reason)
            .trim_end()
            .to_owned();
        Reason::Lost
    });
    Ok(Some(Exit {
        reason,
        code: status.code,
        detail: text,
    }))
}

/// A bad ending, as an error.
pub(super) fn error(exit: Exit) -> io::Error {
    let kind = match exit.reason {
        Reason::Refused => match Errno(exit.code as u16) {
            Errno::NOENT => io::ErrorKind::NotFound,
            Errno::ACCES | Errno::PERM => io::ErrorKind::PermissionDenied,
            Errno::AGAIN => io::ErrorKind::ResourceBusy,
            _ => io::ErrorKind::Other,
        },
        Reason::Cpu | Reason::Wall | Reason::Idle => io::ErrorKind::TimedOut,
        Reason::Memory => io::ErrorKind::OutOfMemory,
        Reason::Overloaded | Reason::Backoff | Reason::Starting => io::ErrorKind::ResourceBusy,
        _ => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, exit)
}
