//! How long something took, by bounds.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bounds in microseconds, and as Prometheus shows them, in seconds. From what a wrapper that
/// waits takes to what only a connection does.
pub const BOUNDS: [(u64, &str); 16] = [
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1.0"),
    (5_000_000, "5.0"),
    (30_000_000, "30.0"),
    (300_000_000, "300.0"),
];

/// Counts durations.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One more than there are bounds: the last is for what is above all of them.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// How many were at most as long as each bound.
    pub at_most: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// All together, in microseconds.
    pub sum: u64,
}

impl Histogram {
    /// One more, in microseconds.
    pub fn observe(&self, micros: u64) {
        let bucket = BOUNDS.partition_point(|(bound, _)| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(micros, Ordering::Relaxed);
    }

    /// What it says now. The count is that of the buckets, whatever is counted meanwhile.
    pub fn read(&self) -> Reading {
        let mut count = 0;
        let mut at_most = [0; BOUNDS.len()];
        for (n, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            if let Some(at_most) = at_most.get_mut(n) {
                *at_most = count;
            }
        }
        Reading {
            at_most,
            count,
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_counts_what_is_at_most_as_long() {
        let histogram = Histogram::default();
        for micros in [0, 100, 101, 1_000, 300_000_001] {
            histogram.observe(micros);
        }
        let reading = histogram.read();
        assert_eq!(reading.at_most[..4], [2, 3, 3, 4]);
        assert_eq!(reading.at_most[BOUNDS.len() - 1], 4);
        assert_eq!((reading.count, reading.sum), (5, 300_001_202));
    }

    #[test]
    fn the_bounds_rise_and_are_shown_as_they_are() {
        assert!(BOUNDS.is_sorted());
        for (micros, shown) in BOUNDS {
            let seconds: f64 = shown.parse().unwrap();
            assert!((seconds * 1e6 - micros as f64).abs() < 1e-6, "{shown}");
        }
    }
}
