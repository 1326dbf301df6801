//! The part of `wasi_snapshot_preview1` that a function gets: output for the log, arguments,
//! environment, clocks, randomness, exit. No files, no network.
//!
//! Layouts are those of `wasi_snapshot_preview1.witx`. All functions trap on a bad pointer.

use std::time::{Duration, Instant};

use protos::Errno;

use super::{Guest, HostResult, Invocation, clock, errno, memory, random};
use crate::exit::ProcExit;

/// Descriptors: standard input (always at its end), output, error.
const STDIN: i32 = 0;
const STDERR: i32 = 2;

/// The most buffers or subscriptions one call may bring: as `IOV_MAX`.
const MAX_LIST: u32 = 1024;

const FILETYPE_CHARACTER_DEVICE: u8 = 2;
const RIGHT_FD_READ: u64 = 1 << 1;
const RIGHT_FD_WRITE: u64 = 1 << 6;

/// Bytes of a `subscription` and of an `event`.
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

/// `args_sizes_get(*count, *bytes)`.
pub fn args_sizes_get(mut guest: Guest<'_>, count: i32, bytes: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    put_sizes(memory, &invocation.startup.args, count, bytes)
}

/// `args_get(*pointers, *bytes)`.
pub fn args_get(mut guest: Guest<'_>, pointers: i32, bytes: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    put_strings(memory, &invocation.startup.args, pointers, bytes)
}

/// `environ_sizes_get(*count, *bytes)`.
pub fn environ_sizes_get(mut guest: Guest<'_>, count: i32, bytes: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    put_sizes(memory, &invocation.startup.env, count, bytes)
}

/// `environ_get(*pointers, *bytes)`.
pub fn environ_get(mut guest: Guest<'_>, pointers: i32, bytes: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    put_strings(memory, &invocation.startup.env, pointers, bytes)
}

fn put_sizes(memory: &mut [u8], strings: &[String], count: i32, bytes: i32) -> HostResult {
    let length: usize = strings.iter().map(|string| string.len() + 1).sum();
    memory::put(memory, count, (strings.len() as u32).to_le_bytes())?;
    memory::put(memory, bytes, (length as u32).to_le_bytes())?;
    Ok(errno(Ok(())))
}

fn put_strings(memory: &mut [u8], strings: &[String], pointers: i32, bytes: i32) -> HostResult {
    let mut at = bytes;
    for (n, string) in (0u32..).zip(strings) {
        memory::put(memory, memory::offset(pointers, n * 4)?, at.to_le_bytes())?;
        let length = string.len() as u32;
        memory::slice_mut(memory, at, length.cast_signed())?.copy_from_slice(string.as_bytes());
        memory::put(memory, memory::offset(at, length)?, [0])?;
        at = memory::offset(at, length + 1)?;
    }
    Ok(errno(Ok(())))
}

/// `clock_res_get(id, *resolution)`, in nanoseconds.
pub fn clock_res_get(mut guest: Guest<'_>, id: i32, resolution: i32) -> HostResult {
    let (memory, _) = memory::split(&mut guest)?;
    put_time(memory, id, resolution, clock::resolution)
}

/// `clock_time_get(id, precision, *time)`, in nanoseconds.
pub fn clock_time_get(mut guest: Guest<'_>, id: i32, _precision: i64, time: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    let before = invocation.cpu_before;
    put_time(memory, id, time, |id| clock::since(id, before))
}

fn put_time(
    memory: &mut [u8],
    id: i32,
    at: i32,
    ask: impl Fn(rustix::time::ClockId) -> Duration,
) -> HostResult {
    match clock::clock(id) {
        Ok(id) => {
            memory::put(memory, at, clock::nanos(ask(id)).to_le_bytes())?;
            Ok(errno(Ok(())))
        }
        Err(error) => Ok(errno(Err(error))),
    }
}

/// `random_get(*buffer, length)`.
pub fn random_get(mut guest: Guest<'_>, buffer: i32, length: i32) -> HostResult {
    let (memory, _) = memory::split(&mut guest)?;
    random::fill(memory::slice_mut(memory, buffer, length)?);
    Ok(errno(Ok(())))
}

/// `sched_yield()`: there is nothing to yield to, the process has one thread.
pub fn sched_yield(_: Guest<'_>) -> HostResult {
    Ok(errno(Ok(())))
}

/// `proc_exit(code)`: ends the run.
pub fn proc_exit(_: Guest<'_>, code: i32) -> wasmtime::Result<()> {
    Err(ProcExit(code).into())
}

/// So many bytes are taken by one `fd_write`: the limit `cpu` is not looked at meanwhile.
const MOST_AT_ONCE: u32 = 1 << 20;

/// `fd_write(fd, *iovs, iovs_len, *n)`: lines for the log, at most 1 MiB of them. EBADF for all but
/// 1 and 2.
pub fn fd_write(mut guest: Guest<'_>, fd: i32, iovs: i32, iovs_len: i32, n: i32) -> HostResult {
    if !(1..=STDERR).contains(&fd) {
        return Ok(errno(Err(Errno::BADF)));
    }
    let (memory, invocation) = memory::split(&mut guest)?;
    let count = iovs_len.cast_unsigned();
    if count > MAX_LIST {
        return Ok(errno(Err(Errno::INVAL)));
    }
    let mut written = 0u32;
    for index in 0..count {
        let iov = memory::offset(iovs, index * 8)?;
        let pointer = i32::from_le_bytes(memory::get(memory, iov)?);
        let length = i32::from_le_bytes(memory::get(memory, memory::offset(iov, 4)?)?);
        let bytes = memory::slice(memory, pointer, length)?;
        // All of it is checked, and some of it taken.
        let bytes = &bytes[..bytes.len().min((MOST_AT_ONCE - written) as usize)];
        let mut log = std::mem::take(&mut invocation.log);
        let result = log.write(fd as u8, bytes, |stream, line| {
            invocation.say(stream, None, line)
        });
        invocation.log = log;
        result?;
        // At most MOST_AT_ONCE.
        written += bytes.len() as u32;
    }
    memory::put(memory, n, written.to_le_bytes())?;
    Ok(errno(Ok(())))
}

/// `fd_read(fd, *iovs, iovs_len, *n)`: standard input is at its end. EBADF for others.
pub fn fd_read(mut guest: Guest<'_>, fd: i32, _iovs: i32, _iovs_len: i32, n: i32) -> HostResult {
    if fd != STDIN {
        return Ok(errno(Err(Errno::BADF)));
    }
    let (memory, _) = memory::split(&mut guest)?;
    memory::put(memory, n, 0u32.to_le_bytes())?;
    Ok(errno(Ok(())))
}

/// `fd_fdstat_get(fd, *stat)`: the three standard descriptors are character devices.
pub fn fd_fdstat_get(mut guest: Guest<'_>, fd: i32, stat: i32) -> HostResult {
    let rights = match fd {
        STDIN => RIGHT_FD_READ,
        1..=STDERR => RIGHT_FD_WRITE,
        _ => return Ok(errno(Err(Errno::BADF))),
    };
    let (memory, _) = memory::split(&mut guest)?;
    let mut bytes = [0; 24];
    bytes[0] = FILETYPE_CHARACTER_DEVICE;
    bytes[8..16].copy_from_slice(&rights.to_le_bytes());
    memory::put(memory, stat, bytes)?;
    Ok(errno(Ok(())))
}

/// `fd_close(fd)`: closing a standard descriptor changes nothing. EBADF for others.
pub fn fd_close(_: Guest<'_>, fd: i32) -> HostResult {
    Ok(errno(if (STDIN..=STDERR).contains(&fd) {
        Ok(())
    } else {
        Err(Errno::BADF)
    }))
}

/// `fd_seek(fd, offset, whence, *position)`: ESPIPE for the standard descriptors.
pub fn fd_seek(_: Guest<'_>, fd: i32, _: i64, _: i32, _: i32) -> HostResult {
    let standard = (STDIN..=STDERR).contains(&fd);
    Ok(errno(Err(if standard {
        Errno::SPIPE
    } else {
        Errno::BADF
    })))
}

/// A subscription of `poll_oneoff` that was read.
struct Subscription {
    userdata: u64,
    kind: u8,
    due: Due,
}

enum Due {
    Now(Errno),
    At(Instant),
    Never,
}

/// `poll_oneoff(*subscriptions, *events, count, *n)`: waits for clocks. Standard descriptors
/// are always ready; others are EBADF.
pub fn poll_oneoff(
    mut guest: Guest<'_>,
    subscriptions: i32,
    events: i32,
    count: i32,
    n: i32,
) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    let count = count.cast_unsigned();
    if count == 0 || count > MAX_LIST {
        return Ok(errno(Err(Errno::INVAL)));
    }
    let (now, cpu_before) = (Instant::now(), invocation.cpu_before);
    let subscriptions = (0..count)
        .map(|n| {
            subscription(
                memory,
                memory::offset(subscriptions, n * SUBSCRIPTION)?,
                now,
                cpu_before,
            )
        })
        .collect::<wasmtime::Result<Vec<_>>>()?;
    sleep_until_first(invocation, &subscriptions, now)?;
    let now = Instant::now();
    let mut happened = 0;
    for subscription in subscriptions {
        let error = match subscription.due {
            Due::Now(error) => error,
            Due::At(time) if time <= now => Errno::SUCCESS,
            Due::At(_) | Due::Never => continue,
        };
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&subscription.userdata.to_le_bytes());
        event[8..10].copy_from_slice(&error.0.to_le_bytes());
        event[10] = subscription.kind;
        memory::put(memory, memory::offset(events, happened * EVENT)?, event)?;
        happened += 1;
    }
    memory::put(memory, n, happened.to_le_bytes())?;
    Ok(errno(Ok(())))
}

fn subscription(
    memory: &[u8],
    at: i32,
    now: Instant,
    cpu_before: Duration,
) -> wasmtime::Result<Subscription> {
    const CLOCK: u8 = 0;
    const ABSOLUTE: u16 = 1;
    let bytes: [u8; SUBSCRIPTION as usize] = memory::get(memory, at)?;
    let word =
        |at: usize| i32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| {
        u64::from(word(at).cast_unsigned()) | u64::from(word(at + 4).cast_unsigned()) << 32
    };
    let kind = bytes[8];
    let due = if kind == CLOCK {
        let flags = u16::from_le_bytes([bytes[40], bytes[41]]);
        let timeout = Duration::from_nanos(long(24));
        match clock::clock(word(16)) {
            Ok(id) => {
                let absolute = flags & ABSOLUTE != 0;
                let left = if absolute {
                    timeout.saturating_sub(clock::since(id, cpu_before))
                } else {
                    timeout
                };
                now.checked_add(left).map_or(Due::Never, Due::At)
            }
            Err(error) => Due::Now(error),
        }
    } else {
        let standard = (STDIN..=STDERR).contains(&word(16));
        Due::Now(if standard {
            Errno::SUCCESS
        } else {
            Errno::BADF
        })
    };
    Ok(Subscription {
        userdata: long(0),
        kind,
        due,
    })
}

fn sleep_until_first(
    invocation: &mut Invocation,
    subscriptions: &[Subscription],
    now: Instant,
) -> wasmtime::Result<()> {
    let first = subscriptions
        .iter()
        .filter_map(|subscription| match subscription.due {
            Due::Now(_) => Some(now),
            Due::At(time) => Some(time),
            Due::Never => None,
        })
        .min();
    loop {
        let left = first.map(|first| first.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(());
        }
        // Waits on the socket, so that the master's end is noticed and no frame is kept waiting.
        invocation.wait(left)?;
    }
}
