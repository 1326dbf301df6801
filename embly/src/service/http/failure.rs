//! What goes wrong with a call: a kind for programs, a text for people, and how the call then ends.

use std::error::Error as _;
use std::fmt::Display;

use protos::services::http::Kind;
use protos::{Ending, Errno, Reason};

use super::way::Way;
use crate::pool::Function;
use crate::service::outbound::DialError;

/// Why there is no response, or not all of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub kind: Kind,
    /// For people: what, where, and what to do.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    /// The request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// How the call ends: its code is the kind, but for refusals, where it is an errno.
    pub fn ending(self) -> Ending {
        match self.kind {
            Kind::NotAllowed => Ending::refused(Errno::ACCES, self.message),
            Kind::Invalid => Ending::refused(Errno::INVAL, self.message),
            Kind::Busy => Ending::refused(Errno::AGAIN, self.message),
            Kind::Unknown
            | Kind::Dns
            | Kind::Connect
            | Kind::Tls
            | Kind::Timeout
            | Kind::TooLarge
            | Kind::Redirect
            | Kind::Protocol => Ending {
                code: self.kind.into(),
                ..Ending::new(Reason::Exit, self.message)
            },
        }
    }

    /// No connection on this way, for this function.
    pub fn dial(error: DialError, way: &Way, function: &Function) -> Self {
        let kind = match &error {
            DialError::Resolve(_) => Kind::Dns,
            DialError::Refused(_) => Kind::NotAllowed,
            DialError::Connect { .. } => Kind::Connect,
            DialError::Timeout { .. } => Kind::Timeout,
            DialError::Full(_) => Kind::Busy,
        };
        let advice = match &error {
            DialError::Refused(refused) => way.advice(refused, function),
            _ => String::new(),
        };
        Self::new(kind, format!("{error}{advice}"))
    }
}

/// What the library says, from the outermost to the cause.
pub fn chain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

/// A failure of what is spoken with a server.
pub fn protocol(what: impl Display, host: &str) -> Failure {
    Failure::new(Kind::Protocol, format!("`{host}` {what}"))
}
