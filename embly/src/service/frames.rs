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
    buffer: Buffer,
    ended: bool,
}

/// What has arrived and was not read.
#[derive(Debug, Default)]
struct Buffer(BytesMut);

impl Buffer {
    /// The length that the next frame says, when it is there.
    fn length(&self) -> Option<usize> {
        let length = self.0.first_chunk::<HEADER>()?;
        Some(u32::from_le_bytes(*length) as usize)
    }

    /// The next frame, when all of it is there.
    fn frame(&mut self, most: usize) -> Result<Option<Bytes>, Ending> {
        let Some(length) = self.length() else {
            return Ok(None);
        };
        if length > most {
            return Err(malformed(format!(
                "a message of {length} bytes is too long, at most {most} are read"
            )));
        }
        if self.0.len() - HEADER < length {
            return Ok(None);
        }
        self.0.advance(HEADER);
        Ok(Some(self.0.split_to(length).freeze()))
    }

    /// Whether the stream may end here.
    fn end(&self) -> Result<(), Ending> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(malformed("the stream ends within a message".to_owned())),
        }
    }
}

impl Reader {
    /// Reads from the beginning.
    pub fn new(inbox: Inbox) -> Self {
        Self {
            inbox,
            buffer: Buffer::default(),
            ended: false,
        }
    }

    /// The next bytes, as they came; `None` at the end of what the caller writes.
    pub async fn bytes(&mut self) -> Option<Bytes> {
        poll_fn(|context| self.poll_bytes(context)).await
    }

    /// The same, for who polls.
    pub fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.buffer.0.is_empty() {
            return Poll::Ready(Some(self.buffer.0.split().freeze()));
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
        let mut rest = vec![self.buffer.0.split().freeze()];
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
            if let Some(length) = self.buffer.length() {
                return Ok(Some(length));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// The next frame, of at most `most` bytes; `None` at the end, between two of them.
    ///
    /// # Errors
    /// The ending for a caller that writes something else.
    pub async fn frame(&mut self, most: usize) -> Result<Option<Bytes>, Ending> {
        loop {
            if let Some(frame) = self.buffer.frame(most)? {
                return Ok(Some(frame));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// Waits for more bytes; whether there are any.
    async fn more(&mut self) -> Result<bool, Ending> {
        match poll_fn(|context| self.poll_arrived(context)).await {
            Some(data) => {
                self.buffer.0.extend_from_slice(&data);
                Ok(true)
            }
            None => self.buffer.end().map(|()| false),
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

/// What `fuzz/` feeds.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing {
    use super::*;

    /// The longest frame that is read here, in bytes.
    const MOST: usize = 40;

    /// A stream of frames. The first byte says in which pieces it comes, on which nothing depends.
    pub fn stream(data: &[u8]) {
        let Some((&piece, stream)) = data.split_first() else {
            return;
        };
        let whole = frames(stream, stream.len());
        assert_eq!(whole, frames(stream, usize::from(piece) + 1), "in pieces");
    }

    fn frames(stream: &[u8], piece: usize) -> (Vec<Bytes>, Option<Ending>) {
        let (mut buffer, mut frames) = (Buffer::default(), Vec::new());
        for piece in stream.chunks(piece.max(1)) {
            buffer.0.extend_from_slice(piece);
            loop {
                match buffer.frame(MOST) {
                    Ok(Some(frame)) => {
                        assert!(frame.len() <= MOST);
                        frames.push(frame);
                    }
                    Ok(None) => break,
                    Err(ending) => return (frames, Some(ending)),
                }
            }
        }
        (frames, buffer.end().err())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All frames of bytes that arrive in pieces, and whether they may end there.
    fn read(pieces: &[&[u8]], most: usize) -> Result<Vec<Bytes>, Ending> {
        let (mut buffer, mut frames) = (Buffer::default(), Vec::new());
        for piece in pieces {
            buffer.0.extend_from_slice(piece);
            while let Some(frame) = buffer.frame(most)? {
                frames.push(frame);
            }
        }
        buffer.end().map(|()| frames)
    }

    fn written(frames: &[Vec<u8>]) -> Vec<u8> {
        let frame = |body: &Vec<u8>| {
            let length = u32::try_from(body.len()).unwrap();
            [&length.to_le_bytes()[..], body].concat()
        };
        frames.iter().flat_map(frame).collect()
    }

    fn split<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        for length in lengths {
            let (piece, rest) = bytes.split_at((*length).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces.push(bytes);
        pieces
    }

    const MOST: usize = 40;

    proptest! {
        #[test]
        fn frames_are_the_same_wherever_the_stream_is_split(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=MOST), 0..8),
            lengths in prop::collection::vec(0_usize..12, 0..40),
        ) {
            let bytes = written(&frames);
            let read = read(&split(&bytes, &lengths), MOST).unwrap();
            prop_assert_eq!(read, frames);
        }

        #[test]
        fn a_stream_that_ends_within_a_frame_is_refused(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=MOST), 1..5),
            lengths in prop::collection::vec(0_usize..12, 0..40),
            less in 1_usize..=HEADER,
        ) {
            let bytes = written(&frames);
            let cut = &bytes[..bytes.len() - less];
            let whole = written(&frames[..frames.len() - 1]).len();
            let read = read(&split(cut, &lengths), MOST);
            // A frame without bytes may be cut off whole.
            prop_assert_eq!(read.is_ok(), cut.len() == whole);
        }

        #[test]
        fn a_frame_that_is_too_long_is_refused_before_it_is_there(
            before in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=MOST), 0..4),
            lengths in prop::collection::vec(0_usize..12, 0..40),
            length in MOST as u32 + 1..,
        ) {
            let bytes = [written(&before), length.to_le_bytes().to_vec()].concat();
            let refusal = read(&split(&bytes, &lengths), MOST).unwrap_err();
            prop_assert!(refusal.detail.contains("is too long"), "{}", refusal.detail);
        }

        #[test]
        fn what_is_written_here_is_read_here(store in ".{0,30}") {
            let message = protos::services::kv::Open { store };
            let bytes = frame(&message);
            let frames = read(&[&bytes], MOST * 4).unwrap();
            let read = protos::services::kv::Open::decode(frames[0].clone()).unwrap();
            prop_assert_eq!((frames.len(), read), (1, message));
        }
    }
}
