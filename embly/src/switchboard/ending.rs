//! How an invocation has ended, of those who know something of it.

use embly_wrapper::process::Status;
use protos::{Ending, Reason};

/// The first that knows: the master, the wrapper, the kernel.
pub fn ending(stopped: Option<Ending>, said: Option<Ending>, status: Option<Status>) -> Ending {
    // Whatever it said before, and whoever wanted it to end: nobody else sends this signal.
    if status.is_some_and(Status::by_the_jail) {
        return Ending::new(
            Reason::Violation,
            "the jail stopped a system call that no function needs; \
             the kernel's log (`dmesg`) may name it",
        );
    }
    if let Some(ending) = stopped {
        return ending;
    }
    match (said, status) {
        (Some(ending), _) if ending.reason.wrapper_may_claim() => ending,
        (Some(ending), _) => {
            let detail = format!(
                "claimed the reason `{}`, which is not its to say",
                ending.reason
            );
            Ending::new(Reason::Violation, detail)
        }
        (None, Some(Status::Signaled(libc_signal))) => killed(libc_signal),
        (None, Some(Status::Exited(code))) => Ending::new(
            Reason::Lost,
            format!("the process exited with {code} without a word"),
        ),
        (None, None) => Ending::new(Reason::Lost, "it closed its connection without a word"),
    }
}

fn killed(signal: i32) -> Ending {
    Ending::new(
        Reason::Killed,
        format!("the process was ended by signal {signal}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_first_says_how_it_ended_the_master_the_wrapper_the_kernel() {
        let trap = || Some(Ending::new(Reason::Trap, "no luck"));
        let wall = || Some(Ending::new(Reason::Wall, ""));
        let signal = |number| Some(Status::Signaled(number));
        for (stopped, said, status, reason) in [
            (wall(), trap(), signal(9), Reason::Wall),
            (None, trap(), Some(Status::Exited(0)), Reason::Trap),
            // What is not a wrapper's to say.
            (None, wall(), Some(Status::Exited(0)), Reason::Violation),
            (None, None, signal(9), Reason::Killed),
            (None, None, signal(31), Reason::Violation),
            (None, None, Some(Status::Exited(0)), Reason::Lost),
            (None, None, None, Reason::Lost),
        ] {
            assert_eq!(ending(stopped, said, status).reason, reason);
        }
    }
}
