//! Reading from a socket straight into a buffer's spare room.

use std::os::fd::AsFd;

use bytes::{BufMut, BytesMut};
use rustix::io;
use rustix::net::{RecvFlags, recv};

/// Receives at most `most` bytes, appended to `buffer`. 0 is the end of the stream.
///
/// # Errors
/// That of `recv`.
pub fn receive(
    socket: impl AsFd,
    buffer: &mut BytesMut,
    most: usize,
    flags: RecvFlags,
) -> io::Result<usize> {
    buffer.reserve(most);
    let spare = &mut buffer.spare_capacity_mut()[..most];
    let ((filled, _), _) = recv(socket, spare, flags)?;
    let bytes = filled.len();
    // SAFETY: `recv` has just filled the first `bytes` bytes of the spare capacity.
    unsafe { buffer.advance_mut(bytes) };
    Ok(bytes)
}
