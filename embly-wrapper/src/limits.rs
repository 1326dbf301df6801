//! The limits that the wrapper itself enforces: memory and CPU time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use protos::Reason;
use protos::warning::AT_PERCENT;
use wasmtime::ResourceLimiter;

use crate::exit::LimitReached;

/// Entries of all tables together: far more than a program needs, little enough to pay for.
const MAX_TABLE_ELEMENTS: usize = 1 << 20;

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
        let limit = self.limit;
        format!("memory limit reached: {wanted} bytes wanted, {limit} allowed")
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

/// Counts CPU time in a sliding window. The timer ticks once per [`CpuLimit::tick`] of CPU
/// time; so many ticks within one window make the limit.
#[derive(Debug)]
pub struct CpuLimit {
    limit: Duration,
    window: Duration,
    ticks: VecDeque<Instant>,
    allowed: usize,
    /// So many ticks are worth a warning; 0 where one tick is all there is.
    warn_at: usize,
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
    /// A limit in any `window`; `None` when nothing is limited.
    pub fn new(limit: Duration, window: Duration) -> Option<Self> {
        if limit.is_zero() {
            return None;
        }
        let tick = Self::tick_of(limit);
        let allowed = limit.as_nanos().div_ceil(tick.as_nanos());
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
        Some(Self {
            limit,
            window,
            ticks: VecDeque::new(),
            allowed,
            warn_at: allowed.saturating_mul(AT_PERCENT as usize) / 100,
            warned: false,
        })
    }

    fn tick_of(limit: Duration) -> Duration {
        (limit / 20).clamp(SHORTEST_TICK, LONGEST_TICK)
    }

    /// How often the timer is to tick, in CPU time.
    pub fn tick(&self) -> Duration {
        Self::tick_of(self.limit)
    }

    /// Counts a tick at `now`.
    ///
    /// # Errors
    /// [`LimitReached`] when it was the last one allowed.
    pub fn on_tick(&mut self, now: Instant) -> Result<Tick, LimitReached> {
        while self
            .ticks
            .front()
            .is_some_and(|first| now.duration_since(*first) > self.window)
        {
            self.ticks.pop_front();
        }
        self.ticks.push_back(now);
        let used = self.ticks.len();
        if used < self.allowed {
            let near = self.warn_at > 0 && used >= self.warn_at;
            let first = !std::mem::replace(&mut self.warned, near) && near;
            return Ok(if first { Tick::Near } else { Tick::Fine });
        }
        let detail = format!("CPU limit reached: {:?} in {:?}", self.limit, self.window);
        Err(LimitReached {
            reason: Reason::Cpu,
            detail,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_counted_within_the_window_only() {
        let window = Duration::from_secs(60);
        let mut limit = CpuLimit::new(Duration::from_secs(1), window).unwrap();
        let start = Instant::now();
        let ticks = 20;
        assert_eq!(limit.tick() * ticks, Duration::from_secs(1));
        for n in 0..ticks * 3 {
            let now = start + window / (ticks - 2) * n;
            assert!(limit.on_tick(now).is_ok(), "tick {n} is within the limit");
        }
        let now = start + window * 10;
        for _ in 1..ticks {
            assert!(limit.on_tick(now).is_ok());
        }
        assert_eq!(limit.on_tick(now).unwrap_err().reason, Reason::Cpu);
    }

    #[test]
    fn a_warning_comes_at_nine_tenths_once_each_time() {
        let window = Duration::from_secs(60);
        let mut limit = CpuLimit::new(Duration::from_secs(1), window).unwrap();
        let start = Instant::now();
        for when in [start, start + 2 * window] {
            let ticks: Vec<Tick> = (1..20).map(|_| limit.on_tick(when).unwrap()).collect();
            let near = ticks.iter().position(|tick| *tick == Tick::Near);
            assert_eq!(near, Some(17), "the 18th of 20");
            assert_eq!(ticks.iter().filter(|tick| **tick == Tick::Near).count(), 1);
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
