//! The limit `cpu` from outside. A wrapper ends its guest itself; one that does not, because
//! the guest has got the better of it, is seen by the kernel's clock of its process.
//!
//! It is read no more often than the limit could be reached, so that an ordinary request is
//! never looked at.

use std::collections::VecDeque;
use std::time::Duration;

use protos::{Ending, Reason};
use tokio::time::Instant;

use crate::limits::CPU_WINDOW;

/// A wrapper looks after each twentieth of its limit, and at the latest after this much.
const LONGEST_TICK: Duration = Duration::from_millis(50);

/// It then needs so much to say that the limit is reached; the timer of the kernel is coarse.
const TO_SAY_SO: Duration = Duration::from_millis(30);

/// So much CPU time over its limit a process may use before it is ended from outside.
fn grace(limit: Duration) -> Duration {
    (limit / 20).min(LONGEST_TICK) + TO_SAY_SO
}

/// The clock is read no more often than this.
const LEAST_PAUSE: Duration = Duration::from_millis(20);

/// Watches the CPU time of one process.
#[derive(Debug)]
pub struct Backstop {
    limit: Duration,
    /// Readings within the window, oldest first.
    readings: VecDeque<(Instant, Duration)>,
    /// When to read next.
    pub next: Instant,
}

impl Backstop {
    /// For an invocation that begins now, in a process that has `used` so much before; `None`
    /// without limit (0).
    pub fn new(limit: Duration, now: Instant, used: Duration) -> Option<Self> {
        let next = now.checked_add(limit + grace(limit))?;
        (!limit.is_zero()).then(|| Self {
            limit,
            readings: VecDeque::from([(now, used)]),
            next,
        })
    }

    /// Takes a reading; the ending if it is one too many.
    pub fn read(&mut self, now: Instant, used: Duration) -> Option<Ending> {
        // The last reading before the window is kept: it says what was used by then at least.
        let old = |(at, _): &(Instant, Duration)| now.duration_since(*at) > CPU_WINDOW;
        while self.readings.get(1).is_some_and(old) {
            self.readings.pop_front();
        }
        let before = self.readings.front().map_or(used, |(at, before)| {
            // A process of one thread uses no more than the time that passes.
            let outside = now.duration_since(*at).saturating_sub(CPU_WINDOW);
            *before + outside
        });
        self.readings.push_back((now, used));
        // No more than what was used in the window, so nobody is ended too early.
        let used = used.saturating_sub(before);
        let left = (self.limit + grace(self.limit)).saturating_sub(used);
        if left.is_zero() {
            let limit = self.limit;
            let detail = format!(
                "limit `cpu` reached: {limit:?} of CPU time in {CPU_WINDOW:?}, seen from outside"
            );
            return Some(Ending::new(Reason::Cpu, detail));
        }
        self.next = now + left.max(LEAST_PAUSE);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process that uses this part of a core, in percent; when it is ended, within some minutes.
    fn ended_after(limit: Duration, percent: u32) -> (Option<Duration>, u32) {
        let start = Instant::now();
        let mut backstop = Backstop::new(limit, start, Duration::ZERO).unwrap();
        for reading in 1.. {
            let now = backstop.next;
            let elapsed = now - start;
            if backstop.read(now, elapsed * percent / 100).is_some() {
                return (Some(elapsed), reading);
            }
            if elapsed > Duration::from_secs(600) {
                return (None, reading);
            }
        }
        unreachable!("time goes on")
    }

    #[test]
    fn a_process_that_spins_is_seen_at_its_limit_with_one_reading() {
        let limit = Duration::from_secs(10);
        assert_eq!(ended_after(limit, 100), (Some(limit + grace(limit)), 1));
        let (after, readings) = ended_after(limit, 50);
        assert!(after.unwrap() < 2 * (limit + grace(limit)) + Duration::from_millis(100));
        assert!(readings < 20, "{readings}");
    }

    #[test]
    fn what_was_read_last_before_the_window_still_counts() {
        let start = Instant::now();
        let mut backstop = Backstop::new(Duration::from_secs(50), start, Duration::ZERO).unwrap();
        // Nobody has looked for longer than the window, in which it has used all that there is.
        let now = start + CPU_WINDOW + Duration::from_secs(5);
        assert!(backstop.read(now, now - start).is_some());
    }

    #[test]
    fn what_stays_within_its_limit_is_left_alone_and_hardly_looked_at() {
        let (after, readings) = ended_after(Duration::from_secs(10), 15);
        assert_eq!(after, None);
        assert!(readings < 600, "{readings} in 10 minutes");
    }
}
