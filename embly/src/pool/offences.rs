//! Who uses processors and is ended for it, again and again.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protos::{Ending, Reason};

/// So many within [`WINDOW`] are no accident.
const OFFENCES: usize = 3;

/// What counts as recent; an offender that behaves for so long is none any more.
pub const WINDOW: Duration = Duration::from_secs(10);

/// CPU time below which nobody else can have noticed an invocation: about one turn of the kernel's
/// scheduler.
const NOTICED: Duration = Duration::from_millis(4);

/// The offences of one function version. One is an invocation that was ended by a limit on its time
/// or memory and had kept a processor busy for at least half of the time that it ran: not one that
/// waited, whatever its clients and what it calls did meanwhile.
#[derive(Debug, Default)]
pub struct Offences(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    recent: VecDeque<Instant>,
    confined: bool,
}

impl Offences {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An invocation has ended, `after` so long a run, and had used so much CPU time. Whether the
    /// function is to be confined from now on; said once, until [`Offences::forgiven`].
    pub fn ended(&self, ending: &Ending, cpu: Duration, after: Duration, now: Instant) -> bool {
        let by_limit = matches!(ending.reason, Reason::Cpu | Reason::Wall | Reason::Memory);
        if !by_limit || cpu < NOTICED || cpu * 2 < after {
            return false;
        }
        let mut state = self.lock();
        state.recent.push_back(now);
        if state.recent.len() > OFFENCES {
            state.recent.pop_front();
        }
        let many = state.recent.len() == OFFENCES && state.quiet_for(now, 0) < WINDOW;
        let begins = many && !state.confined;
        state.confined |= many;
        begins
    }

    /// Whether it is confined.
    pub fn is_confined(&self) -> bool {
        self.lock().confined
    }

    /// When to look again whether it is still to be confined; `None`, and it is confined no more,
    /// when it has behaved for long enough.
    pub fn forgiven(&self, now: Instant) -> Option<Duration> {
        let mut state = self.lock();
        let last = state.recent.len().saturating_sub(1);
        let left = WINDOW.saturating_sub(state.quiet_for(now, last));
        if left.is_zero() {
            *state = State::default();
            return None;
        }
        Some(left)
    }
}

impl State {
    /// How long ago an offence was.
    fn quiet_for(&self, now: Instant, index: usize) -> Duration {
        let at = self.recent.get(index);
        at.map_or(Duration::MAX, |at| now.saturating_duration_since(*at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_millis(50);

    fn by(reason: Reason) -> Ending {
        Ending::new(reason, "")
    }

    #[test]
    fn three_offences_in_ten_seconds_confine_a_function_and_ten_quiet_ones_forgive_it() {
        let offences = Offences::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let cpu = by(Reason::Cpu);
        // The first is forgotten when the third comes.
        assert!(!offences.ended(&cpu, LONG, LONG, at(0)));
        assert!(!offences.ended(&by(Reason::Wall), LONG, LONG, at(5)));
        assert!(!offences.ended(&by(Reason::Memory), LONG, LONG, at(11)));
        assert!(!offences.is_confined());
        assert!(offences.ended(&cpu, LONG, LONG, at(12)));
        assert!(offences.is_confined());
        // Said once; each one puts off the end.
        assert!(!offences.ended(&cpu, LONG, LONG, at(13)));
        assert_eq!(offences.forgiven(at(20)), Some(Duration::from_secs(3)));
        assert!(offences.is_confined());
        assert_eq!(offences.forgiven(at(23)), None);
        assert!(!offences.is_confined());
        assert!(!offences.ended(&cpu, LONG, LONG, at(24)));
    }

    #[test]
    fn who_waits_or_fails_or_ends_by_itself_does_not_offend() {
        let offences = Offences::default();
        let now = Instant::now();
        let waits = |cpu, after| offences.ended(&by(Reason::Wall), cpu, after, now);
        for _ in 0..10 {
            assert!(!waits(Duration::from_millis(1), Duration::from_millis(1)));
            assert!(!waits(LONG, LONG * 3));
            assert!(!offences.ended(&by(Reason::Trap), LONG, LONG, now));
            assert!(!offences.ended(&by(Reason::Ok), LONG, LONG, now));
        }
        assert!(!offences.is_confined());
    }
}
