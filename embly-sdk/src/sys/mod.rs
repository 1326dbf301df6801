//! What the host offers: the calls of the import module `embly`.
//!
//! Two hosts with one interface: the real one on wasm, an in-memory mock elsewhere.
//! Nothing here waits but [`events`].

#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod mock;
#[cfg(target_arch = "wasm32")]
mod wasm;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use mock::{
    calls::{close, events, in_function, log, now, read, spawn, status, write},
    names::{kill, lookup, monitor, register, spawn_with, unregister},
};
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm::{
    close, events, in_function, kill, log, lookup, monitor, now, read, register, spawn, spawn_with,
    status, unregister, write,
};

use std::{fmt, io, time::Duration};

/// A WASI error number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Errno(pub u16);

impl Errno {
    pub(crate) const ACCES: Self = Self(2);
    pub(crate) const AGAIN: Self = Self(6);
    pub(crate) const BADF: Self = Self(8);
    pub(crate) const EXIST: Self = Self(20);
    pub(crate) const INVAL: Self = Self(28);
    pub(crate) const NAMETOOLONG: Self = Self(37);
    pub(crate) const NOENT: Self = Self(44);
    pub(crate) const PERM: Self = Self(63);
    pub(crate) const PIPE: Self = Self(64);

    /// What it means on a stream.
    fn meaning(self) -> (io::ErrorKind, &'static str) {
        match self {
            Self::BADF => (
                io::ErrorKind::NotFound,
                "the stream is not open (it ended long ago, or was never there)",
            ),
            Self::INVAL => (io::ErrorKind::InvalidInput, "a value is out of range"),
            Self::PERM => (io::ErrorKind::PermissionDenied, "not permitted"),
            Self::PIPE => (
                io::ErrorKind::BrokenPipe,
                "the other side takes no more bytes",
            ),
            _ => (io::ErrorKind::Other, "the host call failed"),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errno {}", self.0)
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        let (kind, text) = errno.meaning();
        io::Error::new(kind, format!("{text} ({errno})"))
    }
}

/// The result of a host call.
pub(crate) type Result<T> = std::result::Result<T, Errno>;

/// How long [`events`] may take.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// At most this long; zero is one look.
    AtMost(Duration),
    /// Until something happens.
    Forever,
}

/// What `_status` says, raw: the number of the reason, the code, and how long the detail is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    pub reason: u32,
    pub code: i32,
    pub detail_len: usize,
}
