//! What happens when a function that is kept running has ended.

use std::time::Duration;

use protos::{Ending, Reason};

use crate::backoff::Policy;
use crate::config::Restart;

/// Pauses before a restart: the first is too short to be noticed, the longest what an operator is
/// willing to wait who has mended the cause.
pub const RESTARTS: Policy = Policy {
    free: 0,
    first: Duration::from_millis(100),
    most: Duration::from_secs(60),
    trial: Duration::ZERO,
};

/// One that has run for so long is well: the pauses begin anew.
pub const STEADY: Duration = Duration::from_secs(10);

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Start it again, after a pause.
    Again,
    /// It stays ended, which is worth a word.
    Leave,
    /// It was stopped on purpose.
    Nothing,
}

/// Decides, after this ending.
pub fn next(restart: Restart, ending: &Ending) -> Next {
    match ending.reason {
        Reason::Shutdown | Reason::Replaced => Next::Nothing,
        // It has not run at all.
        Reason::Overloaded | Reason::Backoff | Reason::Starting => Next::Again,
        Reason::Ok => match restart {
            Restart::Always => Next::Again,
            Restart::Never | Restart::OnFailure => Next::Leave,
        },
        Reason::Exit
        | Reason::Trap
        | Reason::Memory
        | Reason::Violation
        | Reason::Killed
        | Reason::Lost
        | Reason::Cpu
        | Reason::Wall
        | Reason::Idle
        | Reason::NoResponse
        | Reason::BadResponse
        | Reason::Refused
        | Reason::Flood
        | Reason::TooLarge
        | Reason::ClientGone
        | Reason::ParentEnded => match restart {
            Restart::Never => Next::Leave,
            Restart::OnFailure | Restart::Always => Next::Again,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_restarts_after_what_it_says() {
        let (ok, trap) = (Ending::exit(0), Ending::new(Reason::Trap, ""));
        for (restart, after_ok, after_trap) in [
            (Restart::Never, Next::Leave, Next::Leave),
            (Restart::OnFailure, Next::Leave, Next::Again),
            (Restart::Always, Next::Again, Next::Again),
        ] {
            assert_eq!(next(restart, &ok), after_ok, "{restart:?}");
            assert_eq!(next(restart, &trap), after_trap, "{restart:?}");
            // Exit 1 is a failure, and so is a kill.
            assert_eq!(next(restart, &Ending::exit(1)), after_trap);
            assert_eq!(next(restart, &Ending::new(Reason::Killed, "")), after_trap);
            // What could not be started has not run.
            assert_eq!(
                next(restart, &Ending::new(Reason::Overloaded, "")),
                Next::Again
            );
            // The end of the master, and a new version.
            for reason in [Reason::Shutdown, Reason::Replaced] {
                assert_eq!(next(restart, &Ending::new(reason, "")), Next::Nothing);
            }
        }
    }
}
