//! How an invocation ended: the reason, the exit code, a text.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// Why an invocation ended.
        ///
        /// The numbers are those of the host call `_status`; they never change.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $variant = $number,)*
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

            /// The name that logs and the header `embly-error` show.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

reasons! {
    /// Exit 0.
    Ok = 0, "ok";
    /// Exit with another code.
    Exit = 1, "exit";
    /// A WebAssembly trap or a panic.
    Trap = 2, "trap";
    /// The limit `memory` was reached.
    Memory = 3, "memory";
    /// The process broke the protocol or its jail.
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
    /// Embly stops.
    Shutdown = 20, "shutdown";
    /// A newer version took its place.
    Replaced = 21, "replaced";
}

impl Reason {
    /// The number that `_status` gives.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the other side of a stream ended.
///
/// As a value from [`Conn::status`](crate::Conn::status); inside an
/// [`Error`](crate::Error) when the end was not a good one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Why it ended.
    pub reason: Reason,
    /// Its exit code; with [`Reason::Refused`] the WASI errno of the refusal.
    pub code: i32,
    /// More about it, for people: the text of a panic, the name that was refused. Often empty.
    pub detail: String,
}

impl Exit {
    /// Whether it exited with 0.
    pub fn is_ok(&self) -> bool {
        self.reason == Reason::Ok
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the other side ended: {}", self.reason)?;
        if self.code != 0 {
            write!(f, " (code {})", self.code)?;
        }
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Exit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_read_back() {
        for (number, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.number() as usize, number);
            assert_eq!(Reason::from_number(number as u32), Some(*reason));
        }
        assert_eq!(Reason::from_number(Reason::ALL.len() as u32), None);
    }

    #[test]
    fn an_exit_says_all_it_knows() {
        let exit = Exit {
            reason: Reason::Trap,
            code: 134,
            detail: "oh no".into(),
        };
        assert_eq!(
            exit.to_string(),
            "the other side ended: trap (code 134): oh no"
        );
    }
}
