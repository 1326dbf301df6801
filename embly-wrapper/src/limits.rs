//! The limits that the wrapper itself enforces: memory and CPU time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protos::Reason;
use protos::warning;
use wasmtime::ResourceLimiter;

use crate::exit::LimitReached;

/// Entries of all tables together: far more than a program needs, little enough to pay for.
pub const MAX_TABLE_ELEMENTS: usize = 1 << 20;

/// The CPU timer ticks this often at the most and the least, in CPU time. The kernel's own
/// clock ticks every 1 to 10 ms.
const SHORTEST_TICK: Duration = Duration::from_millis(1);
const LONGEST_TICK: Duration = Duration::from_millis(50);

/// Counts linear memory against its limit.
#[derive(Debug)]
pub struct MemoryLimit {
    limit: u64,
    used: u64,
    tables: usize,
    /// The first refusal, in words.
    pub refused: Option<String>,
}

impl Default for MemoryLimit {
    /// No limit, as long as nothing runs.
    fn default() -> Self {
        Self {
            limit: u64::MAX,
            used: 0,
            tables: 0,
            refused: None,
        }
    }
}

impl MemoryLimit {
    /// Sets the limit in bytes; 0 for none.
    ///
    /// # Errors
    /// [`LimitReached`] when there is more than that already.
    pub fn set(&mut self, limit: u64) -> Result<(), LimitReached> {
        self.limit = if limit == 0 { u64::MAX } else { limit };
        if self.used <= self.limit {
            return Ok(());
        }
        let detail = self.reached(self.used);
        Err(LimitReached {
            reason: Reason::Memory,
            detail,
        })
    }

    fn reached(&self, wanted: u64) -> String {
        let (wanted, limit) = (size(wanted), size(self.limit));
        format!("limit `memory` reached: {limit}, {wanted} wanted")
    }
}

/// As the project file writes it, where that is a whole number, or nearly so.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let fits = |unit: &&(&str, u64)| bytes >= unit.1;
    match units.iter().find(fits) {
        Some((name, unit)) if bytes.is_multiple_of(*unit) => format!("{}{name}", bytes / unit),
        // What is a little more than a limit does not look like it.
        Some((name, unit)) => format!("{:.1}{name}", (bytes * 10).div_ceil(*unit) as f64 / 10.0),
        None => format!("{bytes}B"),
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.used + desired.saturating_sub(current) as u64;
        if wanted > self.limit {
            let detail = self.reached(wanted);
            self.refused.get_or_insert(detail);
            return Ok(false);
        }
        // Growth beyond the module's own maximum fails without us.
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.used = wanted;
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.tables + desired.saturating_sub(current);
        if wanted > MAX_TABLE_ELEMENTS {
            self.refused.get_or_insert_with(|| {
                format!(
                    "table limit reached: {wanted} entries wanted, {MAX_TABLE_ELEMENTS} allowed"
                )
            });
            return Ok(false);
        }
        self.tables = wanted;
        Ok(true)
    }
}

/// Counts CPU time in a sliding window. The timer ticks about once per [`CpuLimit::tick`] of CPU
/// time; how much it really was says the clock of the process, since timers count in the coarse
/// steps of the kernel.
#[derive(Debug)]
pub struct CpuLimit {
    limit: Duration,
    window: Duration,
    /// What the clock showed at each tick of the window, and at the one before it.
    readings: VecDeque<(Instant, Duration)>,
    warned: bool,
}

/// What a tick means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// Nothing special.
    Fine,
    /// The limit is near, for the first time since it was not.
    Near,
}

impl CpuLimit {
    /// A limit in any `window`, from `now` on, when the clock shows `used`; `None` when nothing
    /// is limited.
    pub fn new(limit: Duration, window: Duration, now: Instant, used: Duration) -> Option<Self> {
        (!limit.is_zero()).then(|| Self {
            limit,
            window,
            readings: VecDeque::from([(now, used)]),
            warned: false,
        })
    }

    /// How often the timer is to tick, in CPU time.
    pub fn tick(&self) -> Duration {
        (self.limit / 20).clamp(SHORTEST_TICK, LONGEST_TICK)
    }

    /// A tick at `now`, when the clock shows `used`.
    ///
    /// # Errors
    /// [`LimitReached`] when all is used up.
    pub fn on_tick(&mut self, now: Instant, used: Duration) -> Result<Tick, LimitReached> {
        // The first one that is kept is where the window begins.
        while self
            .readings
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) > self.window)
        {
            self.readings.pop_front();
        }
        self.readings.push_back((now, used));
        let before = self.readings.front().map_or(used, |(_, before)| *before);
        let used = used.saturating_sub(before);
        if used < self.limit {
            let near = used >= warning::at(self.limit);
            let first = !std::mem::replace(&mut self.warned, near) && near;
            return Ok(if first { Tick::Near } else { Tick::Fine });
        }
        let detail = format!(
            "limit `cpu` reached: {:?} of CPU time in {:?}",
            self.limit, self.window
        );
        Err(LimitReached {
            reason: Reason::Cpu,
            detail,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const WINDOW: Duration = Duration::from_secs(60);

    #[test]
    fn cpu_time_is_counted_within_the_window_only() {
        let start = Instant::now();
        let mut limit = CpuLimit::new(SECOND, WINDOW, start, SECOND).unwrap();
        let tick = limit.tick();
        assert_eq!(tick * 20, SECOND);
        for n in 1..60 {
            let now = start + WINDOW / 18 * n;
            assert!(limit.on_tick(now, SECOND + tick * n).is_ok(), "tick {n}");
        }
        let now = start + WINDOW * 10;
        for n in 60..79 {
            assert!(limit.on_tick(now, SECOND + tick * n).is_ok(), "tick {n}");
        }
        let reached = limit.on_tick(now, SECOND + tick * 79).unwrap_err();
        assert_eq!(reached.reason, Reason::Cpu);
    }

    #[test]
    fn a_warning_comes_at_nine_tenths_once_each_time() {
        let start = Instant::now();
        let mut limit = CpuLimit::new(SECOND, WINDOW, start, Duration::ZERO).unwrap();
        let tick = limit.tick();
        for (when, from) in [(start, 1), (start + 3 * WINDOW, 20)] {
            let ticks = (from..from + 19).map(|n| limit.on_tick(when, tick * n).unwrap());
            let near: Vec<usize> = ticks
                .enumerate()
                .filter_map(|(n, tick)| (tick == Tick::Near).then_some(n))
                .collect();
            assert_eq!(near, [17], "the 18th of 20");
        }
    }

    #[test]
    fn memories_are_counted_together() {
        let mut limit = MemoryLimit::default();
        limit.set(10).unwrap();
        assert!(limit.memory_growing(0, 6, None).unwrap());
        assert!(!limit.memory_growing(0, 5, None).unwrap());
        assert!(limit.refused.is_some());
        assert!(limit.memory_growing(6, 10, None).unwrap());
        assert_eq!(limit.set(9).unwrap_err().reason, Reason::Memory);
    }
}
