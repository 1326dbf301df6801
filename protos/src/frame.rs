//! Messages to bytes and back: u32 little-endian length, then the message.

use bytes::{Buf, BufMut, BytesMut};
use prost::Message as _;

use crate::credit::MAX_WINDOW;
use crate::{Malformed, Message, comms};

/// Length of the length.
pub const HEADER_BYTES: usize = 4;

/// The longest message, in bytes, without its header: one full window of data, and
/// room for arguments, environment and names beside it.
pub const MAX_MESSAGE_BYTES: usize = MAX_WINDOW as usize + 64 * 1024;

const _: () = assert!(MAX_MESSAGE_BYTES > MAX_WINDOW as usize + 1024);
const _: () = assert!(MAX_MESSAGE_BYTES < u32::MAX as usize);

/// Why bytes are no frame. The connection they came from is of no more use.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is over [`MAX_MESSAGE_BYTES`].
    #[error("a frame of {0} bytes is too long, at most {MAX_MESSAGE_BYTES} are allowed")]
    TooLong(usize),
    /// The content is no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Appends the frame of `message` to `out`.
///
/// # Errors
/// [`FrameError::TooLong`], with nothing appended.
pub fn encode(message: Message, out: &mut BytesMut) -> Result<(), FrameError> {
    let message = comms::Message::from(message);
    let length = message.encoded_len();
    if length > MAX_MESSAGE_BYTES {
        return Err(FrameError::TooLong(length));
    }
    out.reserve(HEADER_BYTES + length);
    out.put_u32_le(u32::try_from(length).map_err(|_| FrameError::TooLong(length))?);
    message
        .encode(out)
        .map_err(|error| Malformed::NotProtobuf(error.to_string()))?;
    Ok(())
}

/// Takes the first whole frame off `buffer`, or `None` when it is not all there.
/// Payload is not copied: it shares the buffer's memory.
///
/// # Errors
/// [`FrameError`] when the bytes are no frame.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Message>, FrameError> {
    let Some(length) = buffer.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_MESSAGE_BYTES {
        return Err(FrameError::TooLong(length));
    }
    if buffer.len() < HEADER_BYTES + length {
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    let message = comms::Message::decode(buffer.split_to(length).freeze())
        .map_err(|error| Malformed::NotProtobuf(error.to_string()))?;
    Ok(Some(Message::try_from(message)?))
}
