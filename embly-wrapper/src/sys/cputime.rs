//! The CPU time of another process.

use std::io;
use std::time::Duration;

/// CPU time so far of the process `pid`, user and system, all its threads. It must not have been
/// reaped, or the number may be another's by now.
///
/// # Errors
/// That of `clock_gettime`; EINVAL when there is no such process.
pub fn cpu_time(pid: i32) -> io::Result<Duration> {
    // What `clock_getcpuclockid` answers, which makes a system call only to see whether there is
    // such a process (time(7); CPUCLOCK_SCHED in the kernel's posix-timers_types.h).
    let clock = !pid << 3 | 2;
    // SAFETY: zeroed is a valid timespec.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `time` is a live timespec.
    match unsafe { libc::clock_gettime(clock, &raw mut time) } {
        0 => Ok(Duration::new(
            u64::try_from(time.tv_sec).unwrap_or(0),
            u32::try_from(time.tv_nsec).unwrap_or(0),
        )),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_uses_time_and_one_that_is_not_there_has_none() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let before = cpu_time(pid).unwrap();
        let mut n = 0_u64;
        while cpu_time(pid).unwrap() < before + Duration::from_millis(5) {
            n = std::hint::black_box(n + 1);
        }
        // The kernel has no number as large as this.
        assert!(cpu_time((1 << 22) + 1).is_err());
    }
}
