//! When a function is warned that it is about to reach a limit.

use core::time::Duration;

/// At this part of a limit, in percent: late enough to be rare, early enough to say goodbye.
pub const AT_PERCENT: u32 = 90;

/// The time of the warning, of a limit of time.
pub fn at(limit: Duration) -> Duration {
    limit / 100 * AT_PERCENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_at_nine_tenths() {
        assert_eq!(at(Duration::from_secs(10)), Duration::from_secs(9));
        assert!(at(Duration::MAX) < Duration::MAX);
    }
}
