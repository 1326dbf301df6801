//! Why there is no connection.

use crate::reason::Reason;
use std::{error::Error as StdError, fmt, io};

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The project file does not allow it; the message names the line to add.
    NotAllowed,
    /// That is no address, or another thing that the service does not take.
    Invalid,
    /// The name does not exist, or cannot be looked up.
    Name,
    /// Nobody listens there.
    Refused,
    /// It took longer than the limit `tcp: {connect: …}`.
    Timeout,
    /// There is no way to the other side.
    Unreachable,
    /// TLS cannot be begun: the certificate is not good, or it is not TLS at all.
    Tls,
    /// There are too many connections, or children, already.
    NoRoom,
    /// Another one.
    Other,
}

/// Why there is no connection. It turns into the [`Error`](crate::Error) of this crate with `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    address: String,
    kind: ErrorKind,
    text: String,
}

impl ConnectError {
    pub(super) fn new(address: &str, kind: ErrorKind, text: &str) -> Self {
        Self {
            address: address.to_owned(),
            kind,
            text: text.to_owned(),
        }
    }

    /// The call has ended instead of an answer.
    pub(super) fn ended(address: &str, error: &crate::Error) -> Self {
        /// Error numbers of WASI.
        const ACCES: i32 = 2;
        const AGAIN: i32 = 6;
        const INVAL: i32 = 28;
        let Some(exit) = error.exit() else {
            return Self::new(address, ErrorKind::Other, &error.to_string());
        };
        let kind = match (exit.reason, exit.code) {
            (Reason::Refused, ACCES) => ErrorKind::NotAllowed,
            (Reason::Refused, AGAIN) => ErrorKind::NoRoom,
            (Reason::Refused, INVAL) => ErrorKind::Invalid,
            (Reason::Wall | Reason::Idle, _) => ErrorKind::Timeout,
            _ => ErrorKind::Other,
        };
        let text = match exit.detail.is_empty() {
            true => exit.to_string(),
            false => exit.detail.clone(),
        };
        Self::new(address, kind, &text)
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, text, .. } = self;
        if text.contains(address.as_str()) {
            return f.write_str(text);
        }
        write!(f, "cannot connect to `{address}`: {text}")
    }
}

impl StdError for ConnectError {}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match error.kind {
            ErrorKind::NotAllowed => io::ErrorKind::PermissionDenied,
            ErrorKind::Invalid => io::ErrorKind::InvalidInput,
            ErrorKind::Name => io::ErrorKind::NotFound,
            ErrorKind::Refused => io::ErrorKind::ConnectionRefused,
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::Unreachable => io::ErrorKind::HostUnreachable,
            ErrorKind::Tls => io::ErrorKind::InvalidData,
            ErrorKind::NoRoom => io::ErrorKind::ResourceBusy,
            ErrorKind::Other => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
