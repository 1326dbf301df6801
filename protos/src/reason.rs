//! Why an invocation ended: one table for endings, logs, events and HTTP.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $number:literal, $name:literal;)*) => {
        /// Why an invocation ended. The numbers stand in messages and in the host
        /// call `_status`, so they never change.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[doc = $doc])+ $variant = $number,)*
        }

        impl Reason {
            /// Every reason, by number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The reason with this number.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name that logs, events and the header `embly-error` show.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// When it is given, as a sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),+).trim_ascii(),)*
                }
            }
        }
    };
}

reasons! {
    /// Exit 0, with a complete response where one was expected.
    Ok = 0, "ok";
    /// Exit with another code.
    Exit = 1, "exit";
    /// A WebAssembly trap or a panic.
    Trap = 2, "trap";
    /// The limit `memory` was reached.
    Memory = 3, "memory";
    /// The wrapper broke the protocol or the jail.
    Violation = 4, "violation";
    /// Killed by its parent, by a signal or by an operator.
    Killed = 5, "killed";
    /// The process ended without a word.
    Lost = 6, "lost";
    /// The limit `cpu` was reached.
    Cpu = 7, "cpu";
    /// The limit `wall` was reached.
    Wall = 8, "wall";
    /// The limit `idle` was reached.
    Idle = 9, "idle";
    /// Exit 0 without a response.
    NoResponse = 10, "no_response";
    /// The response is not HTTP, or was cut short.
    BadResponse = 11, "bad_response";
    /// Unknown or not allowed, or a limit on spawning was reached.
    Refused = 12, "refused";
    /// No room: too many at once, or too many bytes under way.
    Overloaded = 13, "overloaded";
    /// The function crashes in a loop.
    Backoff = 14, "backoff";
    /// No process could be started.
    Starting = 15, "starting";
    /// It logged too much.
    Flood = 16, "flood";
    /// A body over its limit.
    TooLarge = 17, "too_large";
    /// The client went away.
    ClientGone = 18, "client_gone";
    /// Its parent ended.
    ParentEnded = 19, "parent_ended";
    /// The master stops.
    Shutdown = 20, "shutdown";
    /// A newer version took its place.
    Replaced = 21, "replaced";
}

impl Reason {
    /// The number that stands in messages.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The status a client gets when the head was not sent yet, or `None` where
    /// nobody is there to get one (or the response is the function's own).
    pub const fn http_status(self) -> Option<u16> {
        match self {
            Self::Ok | Self::ClientGone | Self::ParentEnded | Self::Replaced => None,
            Self::Exit
            | Self::Trap
            | Self::Memory
            | Self::Violation
            | Self::Killed
            | Self::Lost
            | Self::Refused
            | Self::Flood => Some(500),
            Self::NoResponse | Self::BadResponse => Some(502),
            Self::Overloaded | Self::Backoff | Self::Starting | Self::Shutdown => Some(503),
            Self::Cpu | Self::Wall | Self::Idle => Some(504),
            Self::TooLarge => Some(413),
        }
    }

    /// Whether the client should try again, said by `Retry-After`.
    pub const fn retry(self) -> bool {
        matches!(self, Self::Overloaded | Self::Backoff | Self::Starting)
    }

    /// Whether a wrapper may claim this reason for its own invocation. All others
    /// are for the master to say.
    pub const fn wrapper_may_claim(self) -> bool {
        matches!(
            self,
            Self::Ok | Self::Exit | Self::Trap | Self::Memory | Self::Cpu | Self::Flood
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_read_back() {
        let mut names = std::collections::HashSet::new();
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.number() as usize, number);
            assert_eq!(Reason::from_number(number as u32), Some(*reason));
            assert!(names.insert(reason.name()), "{reason} twice");
        }
        assert_eq!(Reason::from_number(Reason::ALL.len() as u32), None);
    }
}
