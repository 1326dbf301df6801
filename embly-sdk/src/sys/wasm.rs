//! The real host.
#![expect(unsafe_code, reason = "the imports of the host are foreign functions")]

use super::{Errno, Result, Status, Wait};
use std::{sync::OnceLock, time::Duration, time::Instant};

#[link(wasm_import_module = "embly")]
unsafe extern "C" {
    fn _read(id: i32, buf: *mut u8, len: i32, n: *mut i32) -> i32;
    fn _write(id: i32, buf: *const u8, len: i32, n: *mut i32) -> i32;
    fn _spawn(name: *const u8, len: i32, id: *mut i32) -> i32;
    fn _events(
        non_blocking: i32,
        timeout_s: i64,
        timeout_ns: i32,
        ids: *mut i32,
        ids_len: i32,
        n: *mut i32,
    ) -> i32;
    fn _spawn_with(options: *const u8, len: i32, id: *mut i32) -> i32;
    fn _kill(id: i32) -> i32;
    fn _register(name: *const u8, len: i32) -> i32;
    fn _unregister(name: *const u8, len: i32) -> i32;
    fn _lookup(name: *const u8, len: i32, id: *mut i32) -> i32;
    fn _monitor(id: i32) -> i32;
    fn _log(severity: i32, buf: *const u8, len: i32) -> i32;
    fn _close(id: i32) -> i32;
    fn _status(
        id: i32,
        reason: *mut i32,
        code: *mut i32,
        buf: *mut u8,
        len: i32,
        n: *mut i32,
    ) -> i32;
}

/// A length as the host takes it. A slice of more than 2 GiB is cut, which every caller can stand.
fn length(slice: &[u8]) -> i32 {
    i32::try_from(slice.len()).unwrap_or(i32::MAX)
}

fn check(errno: i32) -> Result<()> {
    match errno {
        0 => Ok(()),
        errno => Err(Errno(errno as u16)),
    }
}

/// Whether there is a host around us.
pub(crate) fn in_function() -> bool {
    true
}

/// Bytes that have arrived; 0 only at the end, `AGAIN` when there are none yet.
pub(crate) fn read(id: i32, buf: &mut [u8]) -> Result<usize> {
    let mut n = 0;
    // SAFETY: pointer and length are of one live slice that is ours alone; the host writes at most
    // `len` bytes to it, and one i32 to `n`.
    check(unsafe { _read(id, buf.as_mut_ptr(), length(buf), &mut n) })?;
    Ok(n as usize)
}

/// As many bytes as the credit allows; `AGAIN` when there is none, `PIPE` after the end.
pub(crate) fn write(id: i32, buf: &[u8]) -> Result<usize> {
    let mut n = 0;
    // SAFETY: pointer and length are of one live slice, which the host only reads; it writes one
    // i32 to `n`.
    check(unsafe { _write(id, buf.as_ptr(), length(buf), &mut n) })?;
    Ok(n as usize)
}

/// Starts a function; the number of the stream to it.
pub(crate) fn spawn(name: &str) -> Result<i32> {
    let mut id = 0;
    // SAFETY: pointer and length are of one live text, which the host only reads; it writes one
    // i32 to `id`.
    check(unsafe { _spawn(name.as_ptr(), length(name.as_bytes()), &mut id) })?;
    Ok(id)
}

/// Starts a function with encoded `SpawnOptions`; the number of the stream to it.
pub(crate) fn spawn_with(options: &[u8]) -> Result<i32> {
    let mut id = 0;
    // SAFETY: pointer and length are of one live slice, which the host only reads; it writes one
    // i32 to `id`.
    check(unsafe { _spawn_with(options.as_ptr(), length(options), &mut id) })?;
    Ok(id)
}

/// Lines for the log.
pub(crate) fn log(severity: i32, text: &str) -> Result<()> {
    // SAFETY: pointer and length are of one live text, which the host only reads.
    check(unsafe { _log(severity, text.as_ptr(), length(text.as_bytes())) })
}

/// Ends a child.
pub(crate) fn kill(id: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { _kill(id) })
}

/// Takes a name; `AGAIN` until the answer has come, which is an event of number 0.
pub(crate) fn register(name: &str) -> Result<()> {
    // SAFETY: pointer and length are of one live text, which the host only reads.
    check(unsafe { _register(name.as_ptr(), length(name.as_bytes())) })
}

/// Gives a name back.
pub(crate) fn unregister(name: &str) -> Result<()> {
    // SAFETY: pointer and length are of one live text, which the host only reads.
    check(unsafe { _unregister(name.as_ptr(), length(name.as_bytes())) })
}

/// The number of a stream to whoever has the name.
pub(crate) fn lookup(name: &str) -> Result<i32> {
    let mut id = 0;
    // SAFETY: pointer and length are of one live text, which the host only reads; it writes one
    // i32 to `id`.
    check(unsafe { _lookup(name.as_ptr(), length(name.as_bytes()), &mut id) })?;
    Ok(id)
}

/// Has the ending of the invocation behind a stream reported, whatever becomes of the stream.
pub(crate) fn monitor(id: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { _monitor(id) })
}

/// Waits until something changes on a stream; how many numbers were stored in `ids`.
pub(crate) fn events(wait: Wait, ids: &mut [i32]) -> Result<usize> {
    let (non_blocking, timeout) = match wait {
        Wait::AtMost(timeout) => (timeout.is_zero().into(), timeout),
        // No time at all means without limit.
        Wait::Forever => (0, Duration::ZERO),
    };
    let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    let nanos = timeout.subsec_nanos() as i32;
    let len = i32::try_from(ids.len()).unwrap_or(i32::MAX);
    let mut n = 0;
    // SAFETY: pointer and length (in numbers) are of one live slice that is ours alone; the host
    // writes at most `len` numbers to it, and one i32 to `n`.
    check(unsafe { _events(non_blocking, seconds, nanos, ids.as_mut_ptr(), len, &mut n) })?;
    Ok(n as usize)
}

/// No more bytes from us on this stream.
pub(crate) fn close(id: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { _close(id) })
}

/// How the other side ended; `AGAIN` before it has.
pub(crate) fn status(id: i32, detail: &mut [u8]) -> Result<Status> {
    let (mut reason, mut code, mut n) = (0, 0, 0);
    // SAFETY: pointer and length are of one live slice that is ours alone; the host writes at most
    // `len` bytes to it, and one i32 to each of the other three.
    check(unsafe {
        _status(
            id,
            &mut reason,
            &mut code,
            detail.as_mut_ptr(),
            length(detail),
            &mut n,
        )
    })?;
    Ok(Status {
        reason: reason as u32,
        code,
        detail_len: (n as usize).min(detail.len()),
    })
}

/// The time since some moment, for timers.
pub(crate) fn now() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
