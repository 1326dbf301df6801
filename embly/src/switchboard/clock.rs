//! The time limits of one run: when the next one is near, and when it is reached.

use std::time::Duration;

use protos::{Ending, Limits, Reason, warning};
use tokio::time::Instant;

/// A process that is still there so long after it said that it exits, or after it closed its
/// socket, is killed.
pub const EXIT_WITHIN: Duration = Duration::from_millis(100);

/// When the time limits of an invocation apply. `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Until the head of the response (HTTP) or the end.
    pub wall: Option<Duration>,
    /// Without a byte either way.
    pub idle: Option<Duration>,
    /// Without a byte of the response, as the gateway wants it, once its head was received.
    pub response: Option<Duration>,
    /// Whether `idle` takes the place of `wall` once the head was received.
    pub head: bool,
    /// Until the end, in any case.
    pub total: Option<Duration>,
    /// After the response is complete.
    pub background: Option<Duration>,
}

impl Times {
    /// Lowered to what a spawner asked for.
    pub fn lowered(self, asked: Option<&Limits>) -> Self {
        let Some(asked) = asked else { return self };
        let lower = |limit: Option<Duration>, micros: u64| {
            let asked = (micros != 0).then(|| Duration::from_micros(micros));
            limit.into_iter().chain(asked).min()
        };
        Self {
            wall: lower(self.wall, asked.wall),
            idle: lower(self.idle, asked.idle),
            total: lower(self.total, asked.total),
            ..self
        }
    }
}

/// A limit that ends a run at a certain time.
#[derive(Debug, Clone, Copy)]
struct Until {
    name: &'static str,
    limit: Duration,
    ends: Instant,
    /// Before that the function is warned, once.
    warns: Option<Instant>,
}

impl Until {
    /// `None` for a time that no clock will show.
    fn new(name: &'static str, limit: Option<Duration>, since: Instant) -> Option<Self> {
        let limit = limit?;
        Some(Self {
            name,
            limit,
            ends: since.checked_add(limit)?,
            warns: since.checked_add(warning::at(limit)),
        })
    }

    fn ending(&self) -> Ending {
        let Self { name, limit, .. } = self;
        Ending::new(Reason::Wall, format!("limit `{name}` reached: {limit:?}"))
    }
}

/// A limit on the time without a byte.
#[derive(Debug, Clone, Copy)]
struct Silence {
    name: &'static str,
    limit: Duration,
    last: Instant,
}

impl Silence {
    fn new(name: &'static str, limit: Option<Duration>) -> Option<Self> {
        let last = Instant::now();
        limit.map(|limit| Self { name, limit, last })
    }

    /// `None` for a time that no clock will show.
    fn ends(&self) -> Option<Instant> {
        self.last.checked_add(self.limit)
    }

    fn ending(&self) -> Ending {
        let Self { name, limit, .. } = self;
        let detail = format!("limit {name} reached: {limit:?} without a byte");
        Ending::new(Reason::Idle, detail)
    }
}

/// What is to be done now.
#[derive(Debug, PartialEq)]
pub enum Due {
    /// Tell the function that this limit is near.
    Warn(&'static str),
    /// End it.
    End(Ending),
    /// It had its time to exit.
    Kill,
}

/// The clock of one run.
#[derive(Debug)]
pub struct Clock {
    times: Times,
    wall: Option<Until>,
    total: Option<Until>,
    idle: Option<Silence>,
    response: Option<Silence>,
    exit_by: Option<Instant>,
}

impl Clock {
    /// Counts from the moment the invocation was created, not from that of its process.
    pub fn new(times: Times, created: Instant) -> Self {
        Self {
            times,
            wall: Until::new("wall", times.wall, created),
            total: Until::new("total", times.total, created),
            idle: None,
            response: None,
            exit_by: None,
        }
    }

    /// Its process runs.
    pub fn started(&mut self) {
        let idle = self.times.idle.filter(|_| !self.times.head);
        self.idle = Silence::new("`idle`", idle);
    }

    /// Bytes went by, whichever way.
    pub fn byte(&mut self) {
        if let Some(idle) = &mut self.idle {
            idle.last = Instant::now();
        }
    }

    /// They are of the response.
    pub fn byte_out(&mut self) {
        self.byte();
        if let Some(response) = &mut self.response {
            response.last = Instant::now();
        }
    }

    /// The gateway has the head of the response.
    pub fn head_received(&mut self) {
        self.wall = None;
        let Times { idle, response, .. } = self.times;
        self.idle = Silence::new("`idle`", idle);
        self.response = Silence::new("`response`, of the gateway's `timeouts`,", response);
    }

    /// The gateway has the whole response: nobody waits for the function any more.
    pub fn response_complete(&mut self) {
        self.wall = Until::new("background", self.times.background, Instant::now());
        (self.idle, self.response) = (None, None);
    }

    /// It said that it exits.
    pub fn exits(&mut self) {
        self.exit_by.get_or_insert(Instant::now() + EXIT_WITHIN);
    }

    /// When [`Clock::due`] is worth a look.
    pub fn next(&self) -> Option<Instant> {
        let untils = [self.wall, self.total].into_iter().flatten();
        let untils = untils.map(|until| until.warns.unwrap_or(until.ends));
        let silences = [self.idle, self.response].into_iter().flatten();
        let silences = silences.filter_map(|silence| silence.ends());
        untils.chain(silences).chain(self.exit_by).min()
    }

    /// What is to be done at `now`, if anything; each thing once.
    pub fn due(&mut self, now: Instant) -> Option<Due> {
        if self.exit_by.is_some_and(|time| time <= now) {
            self.exit_by = None;
            return Some(Due::Kill);
        }
        for until in [&mut self.wall, &mut self.total] {
            if let Some(reached) = until.take_if(|until| until.ends <= now) {
                return Some(Due::End(reached.ending()));
            }
        }
        for until in [&mut self.wall, &mut self.total].into_iter().flatten() {
            if until.warns.is_some_and(|time| time <= now) {
                until.warns = None;
                return Some(Due::Warn(until.name));
            }
        }
        let late = |silence: &mut Silence| silence.ends().is_some_and(|end| end <= now);
        let silences = [&mut self.idle, &mut self.response];
        let reached = silences
            .into_iter()
            .find_map(|silence| silence.take_if(late));
        reached.map(|reached| Due::End(reached.ending()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_limit_is_near_once_and_then_reached_and_the_smaller_one_comes_first() {
        let start = Instant::now();
        let times = Times {
            wall: Some(10 * SECOND),
            total: Some(9 * SECOND),
            ..Times::default()
        };
        let mut clock = Clock::new(times, start);
        assert_eq!(clock.next(), Some(start + SECOND * 81 / 10));
        assert_eq!(clock.due(start + 8 * SECOND), None);
        let late = start + SECOND * 82 / 10;
        assert_eq!(clock.due(late), Some(Due::Warn("total")));
        assert_eq!(clock.due(late), None);
        let Some(Due::End(ending)) = clock.due(start + 9 * SECOND) else {
            panic!("it is reached");
        };
        assert_eq!(ending.reason, Reason::Wall);
        assert!(ending.detail.contains("`total`"), "{}", ending.detail);
    }

    #[test]
    fn after_the_response_only_background_and_total_count() {
        let times = Times {
            wall: Some(SECOND),
            idle: Some(SECOND),
            head: true,
            background: Some(100 * SECOND),
            ..Times::default()
        };
        let mut clock = Clock::new(times, Instant::now());
        clock.head_received();
        clock.response_complete();
        let later = Instant::now() + 50 * SECOND;
        assert_eq!(clock.due(later), None);
        assert_eq!(
            clock.due(later + 45 * SECOND),
            Some(Due::Warn("background"))
        );
        assert!(matches!(clock.due(later + 60 * SECOND), Some(Due::End(_))));
    }

    #[test]
    fn after_the_head_the_smaller_one_of_idle_and_the_gateways_response_holds() {
        for (idle, response, named) in [(1, 2, "`idle`"), (2, 1, "`response`")] {
            let times = Times {
                idle: Some(idle * SECOND),
                response: Some(response * SECOND),
                head: true,
                ..Times::default()
            };
            let mut clock = Clock::new(times, Instant::now());
            clock.started();
            assert_eq!(clock.next(), None);
            clock.head_received();
            let later = Instant::now() + SECOND * 3 / 2;
            let Some(Due::End(ending)) = clock.due(later) else {
                panic!("it is reached");
            };
            assert_eq!(ending.reason, Reason::Idle);
            assert!(ending.detail.contains(named), "{}", ending.detail);
        }
    }

    #[test]
    fn bytes_of_the_request_do_not_count_for_the_gateways_response() {
        let times = Times {
            idle: Some(10 * SECOND),
            response: Some(10 * SECOND),
            head: true,
            ..Times::default()
        };
        let mut clock = Clock::new(times, Instant::now());
        clock.started();
        clock.head_received();
        let since = Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        clock.byte();
        let Some(Due::End(ending)) = clock.due(since + 10 * SECOND) else {
            panic!("it is reached");
        };
        assert!(ending.detail.contains("`response`"), "{}", ending.detail);
        clock.head_received();
        let since = Instant::now();
        std::thread::sleep(Duration::from_millis(2));
        clock.byte_out();
        assert_eq!(clock.due(since + 10 * SECOND), None);
        assert!(clock.next() > Some(since + 10 * SECOND));
    }

    #[test]
    fn a_spawner_only_lowers_times() {
        let times = Times {
            wall: Some(SECOND),
            ..Times::default()
        };
        let asked = Limits {
            wall: 2_000_000,
            total: 3_000_000,
            ..Limits::default()
        };
        let lowered = times.lowered(Some(&asked));
        assert_eq!(
            (lowered.wall, lowered.total),
            (Some(SECOND), Some(3 * SECOND))
        );
        assert_eq!(lowered.idle, None);
    }
}
