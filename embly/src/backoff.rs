//! When something that fails again and again is tried next. Pure: whoever asks brings the time.

use std::time::{Duration, Instant};

/// How patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// So many failures in a row have no consequence.
    pub free: u32,
    /// The first pause; each further failure doubles it.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
    /// After a pause one attempt is let in. When it has not failed in this time, all is well.
    pub trial: Duration,
}

/// Failures in a row, and the pause after them.
#[derive(Debug)]
pub struct Backoff {
    policy: Policy,
    failures: u32,
    until: Option<Instant>,
    /// `until` is the end of a trial, not of a pause.
    trial: bool,
}

impl Backoff {
    /// All is well.
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            failures: 0,
            until: None,
            trial: false,
        }
    }

    /// Whether the last attempt has failed.
    pub const fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether an attempt may be made now.
    ///
    /// # Errors
    /// How long to wait.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.until {
            Some(until) if now < until => Err(until - now),
            // The one that was let in has had its time.
            Some(_) if self.trial => {
                self.well();
                Ok(())
            }
            Some(_) => {
                self.trial = true;
                self.until = Some(now + self.policy.trial);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// An attempt that was let in was not made after all, which says nothing: another may be.
    pub fn not_tried(&mut self, now: Instant) {
        if self.trial {
            self.trial = false;
            self.until = Some(now);
        }
    }

    /// An attempt has failed. The result is the pause that begins, if one does: what fails during
    /// a pause had begun before it, and is not counted.
    pub fn failed(&mut self, now: Instant) -> Option<Duration> {
        if !self.trial && self.until.is_some_and(|until| now < until) {
            return None;
        }
        self.trial = false;
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.checked_sub(self.policy.free + 1)?;
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        let pause = self
            .policy
            .first
            .saturating_mul(factor)
            .min(self.policy.most);
        self.until = Some(now + pause);
        Some(pause)
    }

    /// An attempt has succeeded; true when the one before had not.
    pub fn well(&mut self) -> bool {
        let failing = self.is_failing();
        *self = Self::new(self.policy);
        failing
    }
}

/// A time in whole seconds, at least one: what `Retry-After` says.
pub fn seconds(time: Duration) -> u32 {
    let whole = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    u32::try_from(whole).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
impl Backoff {
    /// As if the pause were over.
    pub fn skip_pause(&mut self) {
        self.until = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        free: 2,
        first: Duration::from_secs(1),
        most: Duration::from_secs(60),
        trial: Duration::from_secs(1),
    };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_few_failures_have_no_consequence() {
        let (mut backoff, now) = (Backoff::new(POLICY), Instant::now());
        assert_eq!(backoff.failed(now), None);
        assert_eq!(backoff.failed(now), None);
        assert_eq!(backoff.admit(now), Ok(()));
        assert!(backoff.well());
        assert_eq!(backoff.failed(now), None);
        assert_eq!(backoff.failed(now), None);
        assert_eq!(backoff.failed(now), Some(secs(1)));
        assert_eq!(backoff.admit(now), Err(secs(1)));
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut backoff, mut now) = (Backoff::new(POLICY), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..40 {
            if let Some(pause) = backoff.failed(now) {
                pauses.push(pause.as_secs());
                now += pause;
            }
        }
        assert_eq!(pauses[..8], [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses[37], 60);
    }

    #[test]
    fn what_fails_during_a_pause_is_not_counted() {
        let (mut backoff, now) = (Backoff::new(POLICY), Instant::now());
        for _ in 0..3 {
            backoff.failed(now);
        }
        for _ in 0..100 {
            assert_eq!(backoff.failed(now), None);
        }
        assert_eq!(backoff.admit(now), Err(secs(1)));
        assert_eq!(backoff.failed(now + secs(1)), Some(secs(2)));
    }

    #[test]
    fn after_a_pause_one_is_let_in_and_the_others_when_it_is_well() {
        let (mut backoff, mut now) = (Backoff::new(POLICY), Instant::now());
        for _ in 0..3 {
            backoff.failed(now);
        }
        now += secs(1);
        assert_eq!(backoff.admit(now), Ok(()));
        assert_eq!(backoff.admit(now), Err(secs(1)));
        // It fails at once: the next pause is longer.
        assert_eq!(backoff.failed(now), Some(secs(2)));
        now += secs(2);
        assert_eq!(backoff.admit(now), Ok(()));
        // It shows that it is well.
        assert!(backoff.well());
        assert_eq!(backoff.admit(now), Ok(()));
        assert_eq!(backoff.failed(now), None);
    }

    #[test]
    fn a_trial_that_has_not_failed_in_its_time_is_well() {
        let (mut backoff, mut now) = (Backoff::new(POLICY), Instant::now());
        for _ in 0..3 {
            backoff.failed(now);
        }
        now += secs(1);
        assert_eq!(backoff.admit(now), Ok(()));
        now += secs(1);
        assert_eq!(backoff.admit(now), Ok(()));
        assert_eq!(backoff.admit(now), Ok(()));
        assert!(!backoff.is_failing());
    }

    #[test]
    fn retry_after_is_in_whole_seconds_and_never_0() {
        assert_eq!(seconds(Duration::ZERO), 1);
        assert_eq!(seconds(Duration::from_millis(1001)), 2);
        assert_eq!(seconds(secs(60)), 60);
    }
}
