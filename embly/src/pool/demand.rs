//! How many wrappers to keep parked: a pure function of recent demand. Whoever asks brings the
//! time.

use std::time::{Duration, Instant};

use crate::limits::Parked;

/// What is taken within this time has to be there when it begins: a fork server that finds the
/// processors busy takes about as long to fork anew what a burst has taken.
const BURST: Duration = Duration::from_millis(20);

/// The largest burst of each stretch of this length is remembered …
const STRETCH: Duration = Duration::from_secs(1);

/// … for so many of them: people who click, and clients that poll, come back within it. Not longer:
/// with 64 that wait each is cold when its turn comes, and a request takes a half longer.
const REMEMBERED: usize = 10;

/// Room above what was seen, in percent: the next burst is not quite like the last one.
const HEADROOM: u32 = 50;

/// What was taken lately.
#[derive(Debug)]
pub struct Demand {
    /// When the current burst began, and what was taken in it.
    burst: (Instant, u32),
    /// The number of the newest stretch since `began`.
    newest: u64,
    began: Instant,
    /// The largest burst of each stretch, by its number modulo the length.
    largest: [u32; REMEMBERED],
}

impl Demand {
    /// Nothing yet.
    pub const fn new(now: Instant) -> Self {
        Self {
            burst: (now, 0),
            newest: 0,
            began: now,
            largest: [0; REMEMBERED],
        }
    }

    /// A wrapper is taken, parked or not.
    pub fn take(&mut self, now: Instant) {
        if now.duration_since(self.burst.0) >= BURST {
            self.burst = (now, 0);
        }
        self.burst.1 = self.burst.1.saturating_add(1);
        self.see(now, self.burst.1);
    }

    /// So many are in use at once, where those that were used are used again.
    pub fn see(&mut self, now: Instant, count: u32) {
        self.turn_to(now);
        let at = self.newest as usize % REMEMBERED;
        self.largest[at] = self.largest[at].max(count);
    }

    /// The largest burst that is remembered.
    pub fn largest(&mut self, now: Instant) -> u32 {
        self.turn_to(now);
        self.largest.into_iter().max().unwrap_or_default()
    }

    /// Forgets the stretches that are too old.
    fn turn_to(&mut self, now: Instant) {
        let stretch = now.duration_since(self.began).as_secs() / STRETCH.as_secs();
        let passed = stretch.saturating_sub(self.newest);
        for at in 1..=passed.min(REMEMBERED as u64) {
            self.largest[(self.newest + at) as usize % REMEMBERED] = 0;
        }
        self.newest = stretch.max(self.newest);
    }
}

/// How many to keep, where the largest burst that is remembered took so many and nobody has come
/// for `idle`; `None` when the function is to be put away, its fork server included.
pub fn keep(largest: u32, idle: Duration, parked: &Parked) -> Option<usize> {
    if parked.after.is_some_and(|after| idle >= after) {
        return None;
    }
    let wanted = largest.saturating_add(largest.saturating_mul(HEADROOM).div_ceil(100));
    // `min` is at most `max`.
    Some(wanted.clamp(parked.min, parked.max.max(parked.min)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARKED: Parked = Parked {
        min: 1,
        max: 64,
        after: Some(Duration::from_secs(60)),
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn as_many_are_kept_as_a_burst_takes_and_some_more() {
        assert_eq!(keep(0, SECOND, &PARKED), Some(1));
        assert_eq!(keep(1, SECOND, &PARKED), Some(2));
        assert_eq!(keep(4, SECOND, &PARKED), Some(6));
        assert_eq!(keep(1000, SECOND, &PARKED), Some(64));
        assert_eq!(keep(u32::MAX, SECOND, &PARKED), Some(64));
        let none = Parked {
            min: 0,
            max: 0,
            ..PARKED
        };
        assert_eq!(keep(1000, SECOND, &none), Some(0));
    }

    #[test]
    fn what_nobody_calls_is_put_away() {
        let minute = Duration::from_secs(60);
        assert_eq!(keep(1000, minute - SECOND, &PARKED), Some(64));
        assert_eq!(keep(1000, minute, &PARKED), None);
        let for_ever = Parked {
            after: None,
            ..PARKED
        };
        assert_eq!(keep(0, 1000 * minute, &for_ever), Some(1));
    }

    #[test]
    fn a_burst_is_what_comes_within_its_time() {
        let start = Instant::now();
        let mut demand = Demand::new(start);
        // 1,000 in a second, evenly.
        for milli in 0..1000 {
            demand.take(start + Duration::from_millis(milli));
        }
        let largest = demand.largest(start + SECOND);
        assert_eq!(largest, u32::try_from(BURST.as_millis()).unwrap());
        // All at once.
        for _ in 0..50 {
            demand.take(start + 2 * SECOND);
        }
        assert_eq!(demand.largest(start + 2 * SECOND), 50);
    }

    #[test]
    fn bursts_are_forgotten_after_their_time() {
        let start = Instant::now();
        let mut demand = Demand::new(start);
        for _ in 0..50 {
            demand.take(start);
        }
        let end = SECOND * REMEMBERED as u32;
        demand.take(start + end - SECOND);
        assert_eq!(demand.largest(start + end - SECOND), 50);
        assert_eq!(demand.largest(start + end), 1);
        assert_eq!(demand.largest(start + 100 * end), 0);
        demand.take(start + 101 * end);
        assert_eq!(demand.largest(start + 101 * end), 1);
    }
}
