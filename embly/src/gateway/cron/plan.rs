//! What a cron gateway does as time passes: decided here, from what a clock says, and done elsewhere.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::Missed;
use crate::schedule::Schedule;

/// A run that begins later than this is a missed one: the machine slept, or nothing ran at that time.
/// A minute is the step of most schedules, and longer than any pause of a busy machine.
const LATE: SignedDuration = SignedDuration::from_secs(60);

/// A clock that goes back further than this was wrong before: the schedule begins anew. Less than
/// that and nothing is done twice.
const STEP_BACK: SignedDuration = SignedDuration::from_hours(3);

/// Where a schedule has got to.
#[derive(Debug)]
pub struct Plan {
    schedule: Schedule,
    missed: Missed,
    jitter: Duration,
    /// Times up to this one are done with.
    done: Timestamp,
    /// How long after its time the next run begins.
    delay: SignedDuration,
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this moment.
    Wait(Timestamp),
    /// Begin the run of this time.
    Run(Timestamp),
    /// Begin a run for those that were missed since this time.
    RunMissed(Timestamp),
    /// Nothing for those that were missed since this time.
    Skip(Timestamp),
    /// Nothing ever again.
    Never,
}

impl Plan {
    /// A schedule of which the times up to `done` are done with.
    pub fn new(schedule: Schedule, missed: Missed, jitter: Duration, done: Timestamp) -> Self {
        let mut plan = Self {
            schedule,
            missed,
            jitter,
            done,
            delay: SignedDuration::ZERO,
        };
        plan.draw();
        plan
    }

    /// How far it has got: to be kept where missed runs count.
    pub fn done(&self) -> Timestamp {
        self.done
    }

    /// What is to be done at this moment. What it says to do is done with.
    pub fn step(&mut self, now: Timestamp) -> Step {
        if now.duration_until(self.done) > STEP_BACK {
            self.done = now;
        }
        let Some(next) = self.schedule.after(self.done) else {
            return Step::Never;
        };
        let begins = next.checked_add(self.delay).unwrap_or(Timestamp::MAX);
        if now < begins {
            return Step::Wait(begins);
        }
        // Of several whose time has come the last one counts.
        let last = self.schedule.until(now).filter(|last| *last > next);
        let last = last.unwrap_or(next);
        let late = last.duration_until(now) - self.delay > LATE;
        self.done = last;
        self.draw();
        match self.missed {
            _ if !late => Step::Run(last),
            Missed::RunOnce => Step::RunMissed(next),
            Missed::Skip => Step::Skip(next),
        }
    }

    fn draw(&mut self) {
        let delay = self.jitter.mul_f64(rand::random());
        self.delay = SignedDuration::try_from(delay).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-01-01T{text}Z").parse().unwrap()
    }

    fn plan(missed: Missed, jitter: Duration, done: &str) -> Plan {
        let schedule = Schedule::new("*/10 * * * *", "UTC").unwrap();
        Plan::new(schedule, missed, jitter, at(done))
    }

    #[test]
    fn each_time_is_waited_for_and_run_once() {
        let mut plan = plan(Missed::Skip, Duration::ZERO, "00:00:00");
        assert_eq!(plan.step(at("00:00:01")), Step::Wait(at("00:10:00")));
        assert_eq!(plan.step(at("00:10:00")), Step::Run(at("00:10:00")));
        assert_eq!(plan.step(at("00:10:00")), Step::Wait(at("00:20:00")));
        assert_eq!(plan.step(at("00:20:07")), Step::Run(at("00:20:00")));
    }

    #[test]
    fn a_clock_that_goes_back_a_little_repeats_nothing_and_one_that_was_wrong_begins_anew() {
        let mut plan = plan(Missed::Skip, Duration::ZERO, "05:00:00");
        assert_eq!(plan.step(at("05:10:00")), Step::Run(at("05:10:00")));
        assert_eq!(plan.step(at("04:59:00")), Step::Wait(at("05:20:00")));
        assert_eq!(plan.step(at("01:00:00")), Step::Wait(at("01:10:00")));
    }

    #[test]
    fn what_was_missed_is_skipped_or_run_once() {
        let mut skips = plan(Missed::Skip, Duration::ZERO, "00:00:00");
        assert_eq!(skips.step(at("03:05:00")), Step::Skip(at("00:10:00")));
        assert_eq!(skips.step(at("03:05:00")), Step::Wait(at("03:10:00")));
        let mut once = plan(Missed::RunOnce, Duration::ZERO, "00:00:00");
        assert_eq!(once.step(at("03:05:00")), Step::RunMissed(at("00:10:00")));
        assert_eq!(once.done(), at("03:00:00"));
        assert_eq!(once.step(at("03:05:01")), Step::Wait(at("03:10:00")));
    }

    #[test]
    fn who_wakes_at_a_time_of_the_schedule_runs_it_however_many_were_missed() {
        let mut plan = plan(Missed::Skip, Duration::ZERO, "00:00:00");
        assert_eq!(plan.step(at("03:00:30")), Step::Run(at("03:00:00")));
    }

    #[test]
    fn jitter_delays_a_run_by_less_than_its_length_and_is_not_late() {
        let jitter = Duration::from_secs(300);
        let mut plan = plan(Missed::Skip, jitter, "00:00:00");
        let mut seen = std::collections::BTreeSet::new();
        for hour in 0..20 {
            let Step::Wait(begins) = plan.step(at(&format!("{hour:02}:00:00"))) else {
                panic!("nothing is due");
            };
            let after = begins.duration_since(at(&format!("{hour:02}:10:00")));
            assert!(after >= SignedDuration::ZERO && after < SignedDuration::from_secs(300));
            seen.insert(after);
            assert_eq!(
                plan.step(begins),
                Step::Run(at(&format!("{hour:02}:10:00")))
            );
            plan.done = at(&format!("{:02}:00:00", hour + 1));
        }
        assert!(seen.len() > 10, "{seen:?}");
    }
}
