//! Clocks, as WASI numbers them.

use std::time::Duration;

use protos::Errno;
use rustix::time::{ClockId, clock_getres, clock_gettime};

/// The clock with this WASI number.
///
/// # Errors
/// EINVAL for a number that WASI does not define.
pub fn clock(id: i32) -> Result<ClockId, Errno> {
    match id {
        0 => Ok(ClockId::Realtime),
        1 => Ok(ClockId::Monotonic),
        2 => Ok(ClockId::ProcessCPUTime),
        3 => Ok(ClockId::ThreadCPUTime),
        _ => Err(Errno::INVAL),
    }
}

/// The time on this clock.
pub fn now(clock: ClockId) -> Duration {
    duration(clock_gettime(clock))
}

/// The same for a guest whose process had used so much CPU time when it began: the clocks of CPU
/// time begin with it.
pub fn since(clock: ClockId, cpu_before: Duration) -> Duration {
    match clock {
        ClockId::ProcessCPUTime | ClockId::ThreadCPUTime => now(clock).saturating_sub(cpu_before),
        _ => now(clock),
    }
}

/// CPU time of this process so far, user and system.
pub fn cpu_time() -> Duration {
    now(ClockId::ProcessCPUTime)
}

/// The resolution of this clock.
pub fn resolution(clock: ClockId) -> Duration {
    duration(clock_getres(clock))
}

/// Nanoseconds, as WASI counts them.
pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn duration(time: rustix::time::Timespec) -> Duration {
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
}
