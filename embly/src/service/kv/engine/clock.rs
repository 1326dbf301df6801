//! What time it is for a store.

use std::fmt;
#[cfg(test)]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970. It begins with the clock on the wall and then runs by itself, also
/// while the machine sleeps: steps of the wall clock change nothing until the master starts again.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    Real {
        base: u64,
    },
    #[cfg(test)]
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The time of this machine.
    pub fn real() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = wall.map_or(0, |since| since.as_millis());
        // Milliseconds of 64 bits last for as long as anything does.
        let wall = u64::try_from(wall).unwrap_or(u64::MAX / 2);
        let base = wall.saturating_sub(running());
        Self(Kind::Real { base })
    }

    /// What a test says.
    #[cfg(test)]
    pub fn manual(time: Arc<AtomicU64>) -> Self {
        Self(Kind::Manual(time))
    }

    /// The time.
    pub fn now(&self) -> u64 {
        match &self.0 {
            Kind::Real { base } => base.saturating_add(running()),
            #[cfg(test)]
            Kind::Manual(time) => time.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Milliseconds since the machine was started.
fn running() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * 1000 + nanos / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_the_wall_and_does_not_go_back() {
        let clock = Clock::real();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let first = clock.now();
        assert!(first.abs_diff(wall.as_millis() as u64) < 10_000);
        assert!(clock.now() >= first);
    }
}
