//! What goes wrong with a request of ours.

use crate::{
    proto::http::Kind as Number,
    reason::{Exit, Reason},
    sys::Errno,
};
use std::{fmt, io};

/// Why there is no response, or not all of one.
///
/// As any error it becomes an [`embly::Error`](crate::Error) with `?`, and is found there again with
/// [`downcast_ref`](crate::Error::downcast_ref), also in an error of a body that breaks off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    message: String,
}

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request itself: no URL, a header that cannot be sent, a body other than its length.
    Invalid,
    /// The project file does not allow this URL, or the address that its host has.
    NotAllowed,
    /// The name of the host has no address, or no name server has answered.
    Dns,
    /// No connection.
    Connect,
    /// No trust, or no TLS at all.
    Tls,
    /// A limit of time.
    Timeout,
    /// A head or a body over its limit.
    TooLarge,
    /// Too many redirects, one that leads nowhere, one that a streamed body cannot follow.
    Redirect,
    /// The server speaks no HTTP, or has broken off.
    Protocol,
    /// As many connections as there may be, or too many children.
    Busy,
    /// Anything else: the service itself was ended.
    Other,
}

impl Error {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    pub(super) fn said(error: crate::proto::http::Error) -> Self {
        Self::new(Kind::numbered(error.kind), error.message)
    }

    /// What went wrong, for programs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn of_exit(exit: &Exit) -> Self {
        let kind = match exit.reason {
            Reason::Exit => Kind::numbered(exit.code),
            Reason::Wall | Reason::Idle => Kind::Timeout,
            Reason::Refused => match Errno(exit.code as u16) {
                Errno::ACCES => Kind::NotAllowed,
                Errno::INVAL => Kind::Invalid,
                Errno::AGAIN => Kind::Busy,
                _ => Kind::Other,
            },
            _ => Kind::Other,
        };
        match exit.detail.as_str() {
            "" => Self::new(kind, exit.to_string()),
            detail => Self::new(kind, detail),
        }
    }

    /// The error of a stream with the service.
    pub(super) fn of_io(error: io::Error) -> Self {
        let exit = error.get_ref().and_then(|inner| inner.downcast_ref());
        match exit {
            Some(exit) => Self::of_exit(exit),
            None if error.kind() == io::ErrorKind::ResourceBusy => {
                Self::new(Kind::Busy, error.to_string())
            }
            None => Self::new(Kind::Other, error.to_string()),
        }
    }
}

impl Kind {
    /// The kind of a number of the protocol; a newer Embly may know more of them.
    fn numbered(number: i32) -> Self {
        match Number::try_from(number).unwrap_or(Number::Unknown) {
            Number::Unknown => Self::Other,
            Number::Invalid => Self::Invalid,
            Number::NotAllowed => Self::NotAllowed,
            Number::Dns => Self::Dns,
            Number::Connect => Self::Connect,
            Number::Tls => Self::Tls,
            Number::Timeout => Self::Timeout,
            Number::TooLarge => Self::TooLarge,
            Number::Redirect => Self::Redirect,
            Number::Protocol => Self::Protocol,
            Number::Busy => Self::Busy,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            Kind::Invalid => io::ErrorKind::InvalidInput,
            Kind::NotAllowed => io::ErrorKind::PermissionDenied,
            Kind::Timeout => io::ErrorKind::TimedOut,
            Kind::Busy => io::ErrorKind::ResourceBusy,
            Kind::Protocol => io::ErrorKind::ConnectionAborted,
            Kind::Dns
            | Kind::Connect
            | Kind::Tls
            | Kind::TooLarge
            | Kind::Redirect
            | Kind::Other => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
