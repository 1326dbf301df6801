//! What the ending of an invocation says of its function, told in the log.

use std::time::Duration;

use protos::Ending;

use super::driver::Driver;
use crate::pool::Turn;
use crate::report::describe;

impl Driver {
    /// Looks whether the function keeps processors busy until it is ended for it, again and again.
    pub(super) fn judge(&self, ending: &Ending, after: Duration) {
        let (switchboard, function) = (&self.switchboard, &self.function);
        let processes = switchboard.processes();
        let Some(confined) = function.ended(ending, (self.record.cpu, after), processes) else {
            return;
        };
        // With one processor there is nothing to say.
        let Some((its, all)) = processes.processors.halves() else {
            return;
        };
        let now = if confined {
            format!(
                "until it was quiet for 10 s it runs on {its} of {all} processors, and all others on the rest"
            )
        } else {
            "it cannot be kept to some of the processors: that takes CAP_SYS_NICE".to_owned()
        };
        switchboard.reporter.warn(format!(
            "function `{}` keeps processors busy until a limit ends it ({}), three times in 10 s: {now}",
            function.name,
            describe(ending),
        ));
    }

    /// Says that the function crashes in a loop, or does no more.
    pub(super) fn report(&self, turn: Option<Turn>, ending: Option<&Ending>) {
        let (reporter, name) = (&self.switchboard.reporter, &self.function.name);
        match turn {
            Some(Turn::Crashes(times, pause)) => {
                let why = ending.map(describe).unwrap_or_default();
                reporter.warn(format!(
                    "function `{name}` crashes at its start, {times} times in a row ({why}); \
                     it is started again in {pause:?}"
                ));
            }
            Some(Turn::Recovered) => {
                reporter.info(format!(
                    "function `{name}` does not crash at its start any more"
                ));
            }
            None => {}
        }
    }
}
