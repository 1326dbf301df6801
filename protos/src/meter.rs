//! How many lines in a second: both sides of a slot count alike, since the master does not rely
//! on what a wrapper should have held back.

use core::time::Duration;

/// Lines are counted in stretches of this length.
const STRETCH: Duration = Duration::from_secs(1);

/// So many times over the limit is no longer talkative but a flood …
const FLOOD_TIMES: u32 = 10;

/// … when it goes on for so many stretches.
const FLOOD_STRETCHES: u32 = 5;

/// The stream of a line that says how many were dropped. A function has 1 and 2: it cannot say so
/// itself.
pub const DROPPED_STREAM: u8 = 3;

/// That line.
pub fn dropped(lines: u64, limit: u32) -> String {
    format!("embly: {lines} lines were dropped, limit `log`: {limit} lines/s")
}

/// How many lines were dropped, as such a line says.
pub fn read_dropped(line: &str) -> Option<u64> {
    let (lines, _) = line.strip_prefix("embly: ")?.split_once(' ')?;
    lines.parse().ok()
}

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is within the limit.
    Pass,
    /// It is over the limit.
    Drop,
    /// It is over, and so far and for so long that whoever sends it is to be ended.
    Flood,
}

/// Counts lines against a limit.
#[derive(Debug)]
pub struct Meter {
    /// Lines in a stretch; 0 for no limit.
    limit: u32,
    /// When the stretch began.
    since: Option<Duration>,
    lines: u32,
    floods: u32,
    dropped: u64,
}

impl Meter {
    /// At most `limit` lines in a second; 0 for no limit.
    pub const fn new(limit: u32) -> Self {
        Self {
            limit,
            since: None,
            lines: 0,
            floods: 0,
            dropped: 0,
        }
    }

    /// The limit, in lines in a second.
    pub const fn limit(&self) -> u32 {
        self.limit
    }

    /// Counts a line at `now`, on any clock that goes forward.
    pub fn count(&mut self, now: Duration) -> Verdict {
        if self.limit == 0 {
            return Verdict::Pass;
        }
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_sub(since);
        if elapsed >= STRETCH {
            let flood = self.lines >= self.limit.saturating_mul(FLOOD_TIMES);
            // A stretch without a line ends a flood.
            let on = elapsed < 2 * STRETCH;
            self.floods = if flood && on { self.floods + 1 } else { 0 };
            self.since = Some(if on { since + STRETCH } else { now });
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines <= self.limit && self.floods < FLOOD_STRETCHES {
            return Verdict::Pass;
        }
        self.dropped += 1;
        if self.floods >= FLOOD_STRETCHES {
            Verdict::Flood
        } else {
            Verdict::Drop
        }
    }

    /// How many lines were dropped since this was last asked, if any.
    pub fn take_dropped(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.dropped)).filter(|lines| *lines > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many lines in each of some seconds; how many pass, and whether it is a flood.
    fn seconds(meter: &mut Meter, counts: &[u32]) -> (u32, bool) {
        let (mut passed, mut flood) = (0, false);
        for (second, count) in counts.iter().enumerate() {
            for n in 0..*count {
                let at = STRETCH * second as u32 + STRETCH * n / *count;
                match meter.count(at) {
                    Verdict::Pass => passed += 1,
                    Verdict::Drop => {}
                    Verdict::Flood => flood = true,
                }
            }
        }
        (passed, flood)
    }

    #[test]
    fn what_is_over_the_limit_is_dropped_and_counted() {
        let mut meter = Meter::new(10);
        let (passed, flood) = seconds(&mut meter, &[10, 15, 3, 99]);
        assert_eq!((passed, flood), (33, false));
        assert_eq!(meter.take_dropped(), Some(94));
        assert_eq!(meter.take_dropped(), None);
    }

    #[test]
    fn ten_times_over_for_five_seconds_is_a_flood() {
        let flood = |counts: &[u32]| seconds(&mut Meter::new(10), counts).1;
        assert!(flood(&[100, 100, 100, 100, 100, 1]));
        assert!(!flood(&[100, 100, 100, 100, 100]), "not 5 s yet");
        assert!(!flood(&[100, 100, 99, 100, 100, 100, 100]));
        assert!(!flood(&[100, 100, 100, 100, 100, 0, 0, 1]), "it has ended");
        assert!(!seconds(&mut Meter::new(0), &[10_000; 9]).1);
    }
}
