//! Who uses processors and is ended for it, again and again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protos::{Ending, Reason};

/// So many within [`WINDOW`] are no accident.
const OFFENCES: u32 = 3;

/// What counts as recent; an offender that behaves for so long is none any more.
const WINDOW: Duration = Duration::from_secs(10);

/// CPU time below which nobody else can have noticed them: about one turn of the kernel's scheduler
/// for each.
const NOTICED: Duration = Duration::from_millis(12);

/// And such a part of one processor, from the start of the first to the end of the last: who waits
/// uses less, whatever its clients and what it calls do meanwhile.
const BUSY: u32 = 10;

/// The offences of one function version: invocations that were ended by a limit on time or memory, or
/// trapped. What they used counts, and what those used that ended with a parent.
#[derive(Debug, Default)]
pub struct Offences(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The start of the first, and the end of the last.
    recent: Option<(Instant, Instant)>,
    offences: u32,
    cpu: Duration,
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
        let offends = matches!(
            ending.reason,
            Reason::Cpu | Reason::Wall | Reason::Memory | Reason::Trap
        );
        if !offends && ending.reason != Reason::ParentEnded {
            return false;
        }
        let began = now.checked_sub(after).unwrap_or(now);
        let mut state = self.lock();
        let (first, last) = match state.recent {
            Some((first, last)) if now.saturating_duration_since(first) < WINDOW + after => {
                (began.min(first), if offends { now } else { last })
            }
            // What was before does not count any more.
            _ if offends => {
                (state.offences, state.cpu) = (0, Duration::ZERO);
                (began, now)
            }
            _ => return false,
        };
        state.recent = Some((first, last));
        state.offences += u32::from(offends);
        state.cpu += cpu;
        let busy = state.cpu >= NOTICED && state.cpu * BUSY >= now - first;
        let begins = state.offences >= OFFENCES && busy && !state.confined;
        state.confined |= begins;
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
        let quiet = state
            .recent
            .map(|(_, last)| now.saturating_duration_since(last));
        let left = quiet.map_or(Duration::ZERO, |quiet| WINDOW.saturating_sub(quiet));
        if left.is_zero() {
            *state = State::default();
            return None;
        }
        Some(left)
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
    fn three_offences_in_a_row_confine_a_function_and_ten_quiet_seconds_forgive_it() {
        let offences = Offences::default();
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let cpu = by(Reason::Cpu);
        assert!(!offences.ended(&cpu, LONG, LONG, at(100)));
        assert!(!offences.ended(&by(Reason::Memory), LONG, LONG, at(200)));
        assert!(!offences.is_confined());
        assert!(offences.ended(&by(Reason::Wall), LONG, LONG, at(300)));
        assert!(offences.is_confined());
        // Said once; each one puts off the end.
        assert!(!offences.ended(&cpu, LONG, LONG, at(5_300)));
        assert_eq!(offences.forgiven(at(10_300)), Some(Duration::from_secs(5)));
        assert!(offences.is_confined());
        assert_eq!(offences.forgiven(at(15_300)), None);
        assert!(!offences.is_confined());
        assert!(!offences.ended(&cpu, LONG, LONG, at(15_400)));
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let offences = Offences::default();
        let start = Instant::now();
        for n in 0..10 {
            let now = start + Duration::from_secs(6 * n);
            assert!(!offences.ended(&by(Reason::Cpu), LONG, LONG, now), "{n}");
        }
    }

    #[test]
    fn what_many_small_ones_use_that_end_with_their_parent_counts() {
        let offences = Offences::default();
        let (start, little) = (Instant::now(), Duration::from_millis(3));
        let mut confined = 0;
        for n in 1..=100 {
            let now = start + Duration::from_millis(10 * n);
            let reason = if n % 20 == 0 {
                Reason::Wall
            } else {
                Reason::ParentEnded
            };
            confined += u32::from(offences.ended(&by(reason), little, LONG, now));
        }
        assert_eq!(confined, 1);
    }

    #[test]
    fn who_waits_or_ends_by_itself_does_not_offend() {
        let offences = Offences::default();
        let now = Instant::now();
        let waits = |cpu, after| offences.ended(&by(Reason::Wall), cpu, after, now);
        // A hundred clients that drip, and functions that worked before they waited.
        for _ in 0..100 {
            assert!(!waits(Duration::from_millis(20), Duration::from_secs(30)));
        }
        let offences = Offences::default();
        for reason in [
            Reason::Ok,
            Reason::Exit,
            Reason::ParentEnded,
            Reason::Killed,
        ] {
            for _ in 0..10 {
                assert!(!offences.ended(&by(reason), LONG, LONG, now));
            }
        }
        assert!(!offences.is_confined());
    }
}
