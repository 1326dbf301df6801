//! `_read`, `_write`, `_close`, `_events`, `_status`: the streams of an invocation.

use std::time::{Duration, Instant};

use bytes::Bytes;
use protos::{Body, Errno};

use super::spawn::pay_owed;
use super::{Guest, HostResult, errno, memory};
use crate::streams::ITSELF;

/// `_read(id, buf, len, *n)`: up to `len` bytes that have arrived; never waits.
///
/// Returns EAGAIN when there are none yet, EBADF. `n` is 0 with success only at the end.
///
/// Traps on a bad pointer.
pub fn read(mut guest: Guest<'_>, id: i32, buf: i32, len: i32, n: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    invocation.streams.touched = true;
    let id = id.cast_unsigned();
    if !invocation.streams.readable(id) {
        invocation.channel.take_in(&mut invocation.streams)?;
    }
    let buffer = memory::slice_mut(memory, buf, len)?;
    if buffer.is_empty() {
        memory::put(memory, n, 0u32.to_le_bytes())?;
        return Ok(errno(Err(Errno::INVAL)));
    }
    match invocation.streams.read(id, buffer) {
        Ok(read) => {
            // At most `len`, which is 32 bits.
            memory::put(memory, n, (read.bytes as u32).to_le_bytes())?;
            if let Some((to, bytes)) = read.report {
                invocation.send(Some(to), Body::Credit(bytes))?;
            }
            Ok(errno(Ok(())))
        }
        Err(error) => {
            memory::put(memory, n, 0u32.to_le_bytes())?;
            Ok(errno(Err(error)))
        }
    }
}

/// `_write(id, buf, len, *n)`: as much as the credit allows, as one frame; never waits for
/// credit.
///
/// Returns EAGAIN at no credit, EPIPE when the other side has ended, EBADF.
///
/// Traps on a bad pointer.
pub fn write(mut guest: Guest<'_>, id: i32, buf: i32, len: i32, n: i32) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    invocation.streams.touched = true;
    let id = id.cast_unsigned();
    let length = memory::slice(memory, buf, len)?.len();
    let mut room = invocation.streams.write(id, length);
    if room == Err(Errno::AGAIN) {
        invocation.channel.take_in(&mut invocation.streams)?;
        room = invocation.streams.write(id, length);
    }
    let (written, result) = match room {
        Ok((to, bytes)) => {
            if bytes > 0 {
                let data = Bytes::copy_from_slice(&memory::slice(memory, buf, len)?[..bytes]);
                invocation.send(Some(to), Body::Data(data))?;
            }
            (bytes, Ok(()))
        }
        Err(error) => (0, Err(error)),
    };
    memory::put(memory, n, (written as u32).to_le_bytes())?;
    Ok(errno(result))
}

/// `_close(id)`: no more bytes from us on this stream. A second time it does nothing.
///
/// Returns EBADF.
pub fn close(mut guest: Guest<'_>, id: i32) -> HostResult {
    let invocation = guest.data_mut().invocation()?;
    match invocation.streams.close(id.cast_unsigned()) {
        Ok(Some(to)) => {
            invocation.send(Some(to), Body::HalfClose)?;
            Ok(errno(Ok(())))
        }
        Ok(None) => Ok(errno(Ok(()))),
        Err(error) => Ok(errno(Err(error))),
    }
}

/// `_events(non_blocking, timeout_s, timeout_ns, *ids, ids_len, *n)`: the ids that changed
/// since they were last reported, oldest first; waits for the first one unless told not to.
///
/// Returns EINVAL for a negative timeout or no room for ids. `n` is 0 when the time ran out.
///
/// Traps on a bad pointer.
pub fn events(
    mut guest: Guest<'_>,
    (non_blocking, timeout_s, timeout_ns, ids, ids_len, n): (i32, i64, i32, i32, i32, i32),
) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    invocation.streams.touched = true;
    let bytes = ids_len.cast_unsigned().checked_mul(4).map(u32::cast_signed);
    let Some(bytes) = bytes.filter(|_| ids_len > 0) else {
        return Ok(errno(Err(Errno::INVAL)));
    };
    memory::slice_mut(memory, ids, bytes)?;
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(timeout_s), u32::try_from(timeout_ns)) else {
        return Ok(errno(Err(Errno::INVAL)));
    };
    let timeout = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()));
    // 0 s and 0 ns is without limit, and so is a time that no clock can show.
    let deadline = Some(timeout)
        .filter(|timeout| !timeout.is_zero())
        .and_then(|timeout| Instant::now().checked_add(timeout));
    // Whoever is going to wait learns what has arrived by that.
    if non_blocking != 0 || invocation.streams.has_events() {
        invocation.channel.take_in(&mut invocation.streams)?;
    }
    pay(invocation)?;
    while non_blocking == 0 && !invocation.streams.has_events() {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            // However short the time was: what has arrived by now counts.
            invocation.channel.take_in(&mut invocation.streams)?;
            break;
        }
        invocation.wait(left)?;
    }
    pay(invocation)?;
    let room = memory::slice_mut(memory, ids, bytes)?;
    let mut places = room.as_chunks_mut::<4>().0.iter_mut();
    let count = invocation.streams.take_events(
        |id| {
            if let Some(place) = places.next() {
                *place = id.to_le_bytes();
            }
        },
        ids_len.cast_unsigned() as usize,
    );
    memory::put(memory, n, (count as u32).to_le_bytes())?;
    Ok(errno(Ok(())))
}

/// Gives back credit where much is owed, and says goodbye to visitors that have left.
fn pay(invocation: &mut super::Invocation) -> wasmtime::Result<()> {
    if invocation.streams.owes_much() {
        pay_owed(invocation)?;
    }
    for visitor in invocation.streams.take_left() {
        invocation.send(Some(visitor), Body::HalfClose)?;
    }
    Ok(())
}

/// `_status(id, *reason, *code, buf, len, *n)`: how the other side ended. The text is cut to
/// `len`; `n` is its whole length in bytes. Id 0: the text is the name of a limit that is nearly
/// reached, and the reason what it would end with; each warning is told once.
///
/// Returns EAGAIN before the end and without a warning, EBADF.
///
/// Traps on a bad pointer.
pub fn status(
    mut guest: Guest<'_>,
    (id, reason, code, buf, len, n): (i32, i32, i32, i32, i32, i32),
) -> HostResult {
    let (memory, invocation) = memory::split(&mut guest)?;
    invocation.streams.touched = true;
    let id = id.cast_unsigned();
    if id == ITSELF || invocation.streams.status(id) == Err(Errno::AGAIN) {
        invocation.channel.take_in(&mut invocation.streams)?;
    }
    let warning = (id == ITSELF).then(|| invocation.streams.take_warning());
    let ending = match &warning {
        Some(warning) => warning.as_ref().ok_or(Errno::AGAIN),
        None => invocation.streams.status(id),
    };
    let ending = match ending {
        Ok(ending) => ending,
        Err(error) => return Ok(errno(Err(error))),
    };
    memory::put(memory, reason, ending.reason.number().to_le_bytes())?;
    memory::put(memory, code, ending.code.to_le_bytes())?;
    let detail = ending.detail.as_bytes();
    let room = memory::slice_mut(memory, buf, len)?;
    let fits = ending.detail.floor_char_boundary(room.len());
    room[..fits].copy_from_slice(&detail[..fits]);
    memory::put(memory, n, (detail.len() as u32).to_le_bytes())?;
    Ok(errno(Ok(())))
}
