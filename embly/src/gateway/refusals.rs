//! How soon a client is told that there is no room.
//!
//! A refusal costs the master nearly as much as an answer, and whoever is refused may ask again at
//! once. So that refusals do not take the time of answers, those beyond a rate wait, and their
//! connections with them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One refusal in this time is sent at once: 500 a second, which take a twentieth of the master's time, also
/// where functions that serve again answer 10,000 requests in it.
const EVERY: Duration = Duration::from_millis(2);

/// None waits longer: the refusal says to come again after a second, and a client, or a balancer before it,
/// can still ask somebody else soon. So up to 1,000 connections are slowed down to that rate.
const AT_MOST: Duration = Duration::from_secs(2);

/// The refusals of one gateway.
#[derive(Debug, Default)]
pub struct Refusals {
    /// When the next may be sent.
    next: Mutex<Option<Instant>>,
}

impl Refusals {
    /// How long the one that was decided on `now` waits.
    pub fn wait(&self, now: Instant) -> Duration {
        // Nothing in here panics.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = next.map_or(now, |next| next.clamp(now, now + AT_MOST));
        *next = Some(at + EVERY);
        at - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_sent_at_once_and_many_wait_for_a_bounded_time() {
        let refusals = Refusals::default();
        let now = Instant::now();
        assert_eq!(refusals.wait(now), Duration::ZERO);
        assert_eq!(refusals.wait(now), EVERY);
        assert_eq!(refusals.wait(now + EVERY * 10), Duration::ZERO);
        let waits: Vec<_> = (0..10_000).map(|_| refusals.wait(now)).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits[9_999], AT_MOST);
        // What was put off does not count for long.
        assert_eq!(refusals.wait(now + AT_MOST + EVERY), Duration::ZERO);
    }
}
