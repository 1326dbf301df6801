//! How a function version fares: whether it crashes at each start, and whether its fork server
//! does. Either is given up for a while, so that it costs neither the machine nor the log more
//! than it has to, and tried again without anybody's help.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protos::{Ending, Reason};

use crate::backoff::{Backoff, Policy, seconds};
use crate::wrapper::StartError;

/// An invocation that fails later than this after its start does not fail at its start.
pub const AT_START: Duration = Duration::from_secs(1);

/// Crashes of a function at its start: five in a row are no accident, since none of them can
/// depend on a request. A second is short for a client that retries, a minute is what an operator
/// who has mended the cause is willing to wait.
const CRASHES: Policy = Policy {
    free: 4,
    first: Duration::from_secs(1),
    most: Duration::from_secs(60),
    trial: AT_START,
};

/// Fork servers that die before they have served anybody. One that somebody kills is replaced at
/// once; a start takes milliseconds, so pauses begin short. Requests wait for the short ones.
const SERVERS: Policy = Policy {
    free: 3,
    first: Duration::from_millis(20),
    most: Duration::from_secs(30),
    // The next request shows how it is.
    trial: Duration::ZERO,
};

/// A pause up to this is waited for, a longer one is answered.
pub const WORTH_WAITING: Duration = Duration::from_millis(200);

/// One per function version.
#[derive(Debug)]
pub struct Health {
    crashes: Watch,
    servers: Watch,
}

#[derive(Debug)]
struct Watch {
    /// Whether `state` is worth a look: it rarely is.
    failing: AtomicBool,
    state: Mutex<(Backoff, String)>,
}

/// What [`Health::ended`] has found.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// It crashes at its start, this often in a row, and is not started for this time.
    Crashes(u32, Duration),
    /// It had crashed and now does not.
    Recovered,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            crashes: Watch::new(CRASHES),
            servers: Watch::new(SERVERS),
        }
    }
}

impl Health {
    /// Whether the function may be started now.
    ///
    /// # Errors
    /// The ending to answer with; its code is the number of seconds to wait.
    pub fn admit(&self, function: &str) -> Result<(), Ending> {
        self.crashes.admit().map_err(|(left, why)| {
            let detail = format!("`{function}` crashes at its start: {why}");
            backoff(left, detail)
        })
    }

    /// An invocation is over, so long after its start.
    pub fn ended(&self, ending: &Ending, wrote: bool, after: Option<Duration>) -> Option<Turn> {
        let Some(after) = after else {
            self.crashes.not_tried();
            return None;
        };
        if ending.early && !wrote && after < AT_START {
            let (failures, pause) = self.crashes.failed(&crate::report::describe(ending))?;
            return Some(Turn::Crashes(failures, pause));
        }
        // What others did to it says nothing either.
        let by_itself = ending.reason.wrapper_may_claim();
        (by_itself || wrote).then(|| self.lives()).flatten()
    }

    /// An invocation has shown that it does not crash at its start.
    pub fn lives(&self) -> Option<Turn> {
        self.crashes.well().then_some(Turn::Recovered)
    }

    /// Whether the fork server may be started, or asked, now.
    ///
    /// # Errors
    /// [`StartError::Backoff`].
    pub fn admit_server(&self) -> Result<(), StartError> {
        self.servers
            .admit()
            .map_err(|(left, why)| StartError::Backoff { left, why })
    }

    /// A fork server, or a wrapper on its way, has failed through no fault of the machine's.
    pub fn server_failed(&self, why: &str) {
        self.servers.failed(why);
    }

    /// A wrapper has said hello.
    pub fn server_lives(&self) {
        self.servers.well();
    }

    /// Somebody has looked after it: tries again from the beginning.
    pub fn forgive(&self) {
        self.crashes.well();
        self.servers.well();
    }
}

/// The answer to a request meanwhile.
pub fn backoff(left: Duration, detail: String) -> Ending {
    Ending {
        code: i32::try_from(seconds(left)).unwrap_or(i32::MAX),
        ..Ending::new(Reason::Backoff, detail)
    }
}

impl Watch {
    const fn new(policy: Policy) -> Self {
        Self {
            failing: AtomicBool::new(false),
            state: Mutex::new((Backoff::new(policy), String::new())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Backoff, String)> {
        // Nothing in here panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self) -> Result<(), (Duration, String)> {
        if !self.failing.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (backoff, why) = &mut *self.lock();
        backoff
            .admit(Instant::now())
            .map_err(|left| (left, why.clone()))
    }

    fn not_tried(&self) {
        if self.failing.load(Ordering::Relaxed) {
            self.lock().0.not_tried(Instant::now());
        }
    }

    fn failed(&self, why: &str) -> Option<(u32, Duration)> {
        let (backoff, last) = &mut *self.lock();
        let pause = backoff.failed(Instant::now());
        self.failing.store(true, Ordering::Relaxed);
        why.clone_into(last);
        Some((backoff.failures(), pause?))
    }

    /// True when it was not well before, for long enough to be worth a word.
    fn well(&self) -> bool {
        if !self.failing.load(Ordering::Relaxed) {
            return false;
        }
        let (backoff, _) = &mut *self.lock();
        self.failing.store(false, Ordering::Relaxed);
        let paused = backoff.failures() > CRASHES.free;
        backoff.well() && paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash() -> Ending {
        Ending {
            early: true,
            ..Ending::new(Reason::Trap, "no luck")
        }
    }

    const SOON: Option<Duration> = Some(Duration::from_millis(3));

    #[test]
    fn only_crashes_that_no_request_can_cause_are_counted() {
        let health = Health::default();
        let late = Some(Duration::from_secs(2));
        for _ in 0..100 {
            // It has looked for the request, or written something, or has run for a while.
            health.ended(&Ending::new(Reason::Trap, ""), false, SOON);
            health.ended(&crash(), true, SOON);
            health.ended(&crash(), false, late);
            // Others have ended it, or it was never there.
            health.ended(&Ending::new(Reason::ClientGone, ""), false, SOON);
            health.ended(&Ending::new(Reason::Killed, ""), false, SOON);
            health.ended(&Ending::new(Reason::Starting, ""), false, None);
        }
        assert_eq!(health.admit("f"), Ok(()));
    }

    #[test]
    fn five_crashes_in_a_row_are_a_pause() {
        let health = Health::default();
        for _ in 0..4 {
            assert_eq!(health.ended(&crash(), false, SOON), None);
        }
        let second = Duration::from_secs(1);
        assert_eq!(
            health.ended(&crash(), false, SOON),
            Some(Turn::Crashes(5, second))
        );
        let ending = health.admit("f").unwrap_err();
        assert_eq!((ending.reason, ending.code), (Reason::Backoff, 1));
        assert_eq!(ending.detail, "`f` crashes at its start: trap: no luck");
        // One that began before is well.
        assert_eq!(health.lives(), Some(Turn::Recovered));
        assert_eq!(health.admit("f"), Ok(()));
    }

    #[test]
    fn one_that_never_began_does_not_use_up_the_trial() {
        let health = Health::default();
        for _ in 0..5 {
            health.ended(&crash(), false, SOON);
        }
        health.crashes.lock().0.skip_pause();
        assert_eq!(health.admit("f"), Ok(()));
        assert!(health.admit("f").is_err());
        health.ended(&Ending::new(Reason::ClientGone, ""), false, None);
        assert_eq!(health.admit("f"), Ok(()));
        assert!(health.admit("f").is_err());
    }

    #[test]
    fn one_that_ends_well_in_between_begins_a_new_count() {
        let health = Health::default();
        for _ in 0..20 {
            assert_eq!(health.ended(&crash(), false, SOON), None);
            assert_eq!(health.ended(&Ending::exit(0), false, SOON), None);
        }
    }
}
