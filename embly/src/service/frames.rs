//! How a service reads its stream: the next bytes, whatever their number, or whole frames: u32
//! little-endian length, then so many bytes. Most services speak protobuf messages in such frames.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use protos::{Ending, Errno};

use super::{Inbox, StreamEvent};

/// Bytes of the length of a frame.
const HEADER: usize = 4;

/// What a caller writes, in order.
#[derive(Debug)]
pub struct Reader {
    inbox: Inbox,
    buffer: BytesMut,
    ended: bool,
}

impl Reader {
    /// Reads from the beginning.
    pub fn new(inbox: Inbox) -> Self {
        Self {
            inbox,
            buffer: BytesMut::new(),
            ended: false,
        }
    }

    /// The next bytes, as they came; `None` at the end of what the caller writes.
    pub async fn bytes(&mut self) -> Option<Bytes> {
        poll_fn(|context| self.poll_bytes(context)).await
    }

    /// The same, for who polls.
    pub fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.buffer.is_empty() {
            return Poll::Ready(Some(self.buffer.split().freeze()));
        }
        self.poll_arrived(context)
    }

    fn poll_arrived(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match ready!(self.inbox.poll_next(context)) {
            Some(StreamEvent::Data(data)) => Poll::Ready(Some(data)),
            Some(StreamEvent::HalfClose | StreamEvent::Ended(_)) | None => {
                self.ended = true;
                Poll::Ready(None)
            }
        }
    }

    /// All that the caller has written and nobody has read, if it has said that this is all: it may
    /// have ended since. At most as much as its credit allows.
    pub fn rest(&mut self) -> Option<Vec<Bytes>> {
        let mut rest = vec![self.buffer.split().freeze()];
        rest.extend(self.inbox.rest()?);
        Some(rest)
    }

    /// The next message, of at most `most` bytes; `None` at the end, between two of them.
    ///
    /// # Errors
    /// The ending for a caller that writes something else.
    pub async fn message<M: Message + Default>(
        &mut self,
        most: usize,
    ) -> Result<Option<M>, Ending> {
        let Some(frame) = self.frame(most).await? else {
            return Ok(None);
        };
        let message = M::decode(frame);
        message
            .map(Some)
            .map_err(|error| malformed(format!("a message cannot be read: {error}")))
    }

    /// How long the next frame will be; `None` at the end, between two of them.
    ///
    /// # Errors
    /// The ending for a caller that writes something else.
    pub async fn length(&mut self) -> Result<Option<usize>, Ending> {
        loop {
            if let Some(length) = self.buffer.first_chunk::<HEADER>() {
                return Ok(Some(u32::from_le_bytes(*length) as usize));
            }
            match poll_fn(|context| self.poll_arrived(context)).await {
                Some(data) => self.buffer.extend_from_slice(&data),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(malformed("the stream ends within a message".to_owned())),
            }
        }
    }

    /// The next frame, of at most `most` bytes; `None` at the end, between two of them.
    ///
    /// # Errors
    /// The ending for a caller that writes something else.
    pub async fn frame(&mut self, most: usize) -> Result<Option<Bytes>, Ending> {
        loop {
            if let Some(length) = self.buffer.first_chunk::<HEADER>() {
                let length = u32::from_le_bytes(*length) as usize;
                if length > most {
                    return Err(malformed(format!(
                        "a message of {length} bytes is too long, at most {most} are read"
                    )));
                }
                if self.buffer.len() >= HEADER + length {
                    self.buffer.advance(HEADER);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            match poll_fn(|context| self.poll_arrived(context)).await {
                Some(data) => self.buffer.extend_from_slice(&data),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(malformed("the stream ends within a message".to_owned())),
            }
        }
    }
}

/// The frame of a message.
pub fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(HEADER + length);
    // Messages are made here, and far shorter than 4 GiB.
    frame.put_u32_le(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode(&mut frame).expect("a buffer that grows");
    frame.freeze()
}

/// The ending of a call whose caller does not speak the service's protocol.
pub fn malformed(detail: String) -> Ending {
    Ending::refused(Errno::INVAL, detail)
}
