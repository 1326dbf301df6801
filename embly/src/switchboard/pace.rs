//! How fast the master takes what a wrapper says. One that says more is held back: it stays in
//! its socket, and its writer waits. So a flood costs its sender, and not its neighbours.

use std::num::NonZero;
use std::sync::OnceLock;
use std::time::Duration;

use protos::{Body, Limits, meter};
use tokio::time::Instant;

/// So many frames are looked at before all others have their turn: 10 to 50 µs.
pub const FRAMES_A_TURN: usize = 64;

/// The same in bytes.
pub const BYTES_A_TURN: usize = 32 * 1024;

/// Frames in a second, in the long run: data at 16 KiB a frame is 800 MB/s; the smallest
/// frames take a twentieth of a core.
const PER_SECOND: u32 = 50_000;

const TURN: i64 = FRAMES_A_TURN as i64;

/// Frames that may come at once.
const BURST: i64 = 10_000;

/// A spawn is as much work as so many other frames, also one that is refused.
const SPAWN: i64 = 16;

/// A frame without data counts once more for so many bytes each.
const LONG: usize = 1024;

/// Processes that a tree of invocations may be starting at a time: as many as the machine can
/// start at once. So a bomb of spawns does not fill the run queue, and a fan-out is no slower.
pub fn starts_at_once() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

/// Counts frames, of those that are on credit.
#[derive(Debug)]
pub struct Pace {
    /// Less than nothing where a turn has taken more than was left: that is waited for as well.
    left: i64,
    at: Instant,
}

impl Pace {
    pub fn new(now: Instant) -> Self {
        Self {
            left: BURST,
            at: now,
        }
    }

    /// Counts what was taken, a frame of so many bytes.
    pub fn take(&mut self, body: &Body, size: usize) {
        // Data is on credit; anything else has no reason to be long.
        let long = i64::try_from(size / LONG).unwrap_or(BURST).min(BURST);
        self.left -= match body {
            Body::Data(_) => 1,
            Body::Spawn { .. } => SPAWN + long,
            _ => 1 + long,
        };
    }

    /// When more may be taken; `None` for now. The clock is only asked where it matters.
    pub fn held_until(&mut self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        if self.left >= TURN {
            return None;
        }
        let now = now();
        let elapsed = now.saturating_duration_since(self.at);
        let more = elapsed.as_micros() * u128::from(PER_SECOND) / 1_000_000;
        if more > 0 {
            let more = i64::try_from(more).unwrap_or(i64::MAX);
            self.left = self.left.saturating_add(more).min(BURST);
            self.at = now;
        }
        // At least a turn is worth being woken for.
        let missing = u32::try_from(TURN - self.left)
            .ok()
            .filter(|missing| *missing > 0)?;
        Some(now + Duration::from_secs(1) * missing / PER_SECOND)
    }
}

/// The log of an invocation, as the master counts it: an honest wrapper drops what is too much
/// itself, and never comes near this.
#[derive(Debug)]
pub struct LogGate {
    since: Instant,
    meter: meter::Meter,
    line: usize,
}

impl LogGate {
    /// Twice what the wrapper lets pass: the seconds of the two are not the same ones, and what
    /// waited in the socket comes at once.
    pub fn new(limits: &Limits) -> Self {
        Self {
            since: Instant::now(),
            meter: meter::Meter::new(limits.log_lines.saturating_mul(2)),
            line: limits.log_line as usize,
        }
    }

    /// What happens to this line, which is cut where it is too long.
    pub fn pass(&mut self, line: &mut String) -> meter::Verdict {
        if self.line > 0 {
            line.truncate(line.floor_char_boundary(self.line));
        }
        self.meter.count(self.since.elapsed())
    }

    /// How many lines were dropped.
    pub fn take_dropped(&mut self) -> Option<u64> {
        self.meter.take_dropped()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_held_back_to_its_pace_and_others_never_wait() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let (mut now, mut frames) = (start, 0);
        while now < start + Duration::from_secs(2) {
            match pace.held_until(|| now) {
                Some(until) => now = until,
                None => {
                    pace.take(&Body::Kill, 20);
                    frames += 1;
                }
            }
        }
        let most = BURST + 2 * i64::from(PER_SECOND) + TURN;
        assert!(
            (2 * i64::from(PER_SECOND)..=most).contains(&frames),
            "{frames}"
        );
        for n in 0..PER_SECOND {
            let now = now + Duration::from_secs(1) + Duration::from_micros(25) * n;
            assert_eq!(pace.held_until(|| now), None, "frame {n}");
            pace.take(&Body::Kill, 20);
        }
    }

    #[test]
    fn what_a_turn_takes_beyond_what_is_left_is_waited_for() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let spawn = Body::Spawn {
            name: "nobody".to_owned(),
            address: protos::Address::new(1).unwrap(),
            options: None,
        };
        let (mut now, mut spawns) = (start, 0);
        while now < start + Duration::from_secs(2) {
            match pace.held_until(|| now) {
                Some(until) => now = until,
                // As the driver does: all frames that there is a turn for.
                None => (0..FRAMES_A_TURN).for_each(|_| {
                    pace.take(&spawn, 20);
                    spawns += 1;
                }),
            }
        }
        let most = (BURST + 2 * i64::from(PER_SECOND)) / SPAWN + 2 * TURN;
        assert!(
            (most - 4 * TURN..=most).contains(&spawns),
            "{spawns} of {most}"
        );
    }

    #[test]
    fn a_line_of_the_log_is_cut_between_characters() {
        let limits = Limits {
            log_lines: 1,
            log_line: 5,
            ..Limits::default()
        };
        let mut gate = LogGate::new(&limits);
        let mut line = "äöü".to_owned();
        assert_eq!(gate.pass(&mut line), meter::Verdict::Pass);
        assert_eq!(line, "äö");
        gate.pass(&mut line);
        assert_eq!(gate.pass(&mut line), meter::Verdict::Drop);
        assert_eq!(gate.take_dropped(), Some(1));
    }
}
