//! What `fuzz/` feeds, and each test run with the inputs that are kept in `fuzz/corpus`. Each function
//! takes whatever comes, and panics where a promise does not hold.

use bytes::{Bytes, BytesMut};

use crate::frame::{self, FrameError, HEADER_BYTES, MAX_MESSAGE_BYTES};
use crate::services::{http, kv, sql, tcp};
use crate::{Message, comms};

/// Takes an input.
pub type Target = fn(&[u8]);

/// Each function by the name of its corpus.
pub const TARGETS: [(&str, Target); 2] = [("frame", frame), ("messages", messages)];

/// What arrives on a slot. The first byte says in which pieces.
pub fn frame(data: &[u8]) {
    let Some((&piece, stream)) = data.split_first() else {
        return;
    };
    let whole = frames(stream, stream.len());
    assert_eq!(whole, frames(stream, usize::from(piece) + 1), "in pieces");
    let mut encoded = BytesMut::new();
    for message in &whole.0 {
        // A frame that was read can be written.
        frame::encode(message.clone(), &mut encoded).expect("it was no longer");
    }
    let length = encoded.len();
    assert_eq!(frames(&encoded, length), (whole.0, None), "written again");
}

/// The messages of a stream that comes in pieces, and what follows them.
fn frames(stream: &[u8], piece: usize) -> (Vec<Message>, Option<FrameError>) {
    let (mut buffer, mut messages) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match frame::decode(&mut buffer) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        // Nothing is kept that can never be a frame.
        assert!(buffer.len() < HEADER_BYTES + MAX_MESSAGE_BYTES);
    }
    (messages, None)
}

/// One message of any kind: what the master, a wrapper, a service and its caller say. The first
/// byte says which.
pub fn messages(data: &[u8]) {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    let bytes = Bytes::copy_from_slice(bytes);
    match kind % 11 {
        0 => again::<comms::Message>(bytes),
        1 => again::<http::Request>(bytes),
        2 => again::<http::Answer>(bytes),
        3 => again::<kv::Open>(bytes),
        4 => again::<kv::Request>(bytes),
        5 => again::<kv::Response>(bytes),
        6 => again::<sql::Request>(bytes),
        7 => again::<sql::Response>(bytes),
        8 => again::<tcp::Open>(bytes),
        9 => again::<tcp::Answer>(bytes),
        _ => again::<tcp::Step>(bytes),
    }
}

/// What was read and written is read and written the same. Bytes are compared, since a number need
/// not equal itself.
fn again<M: prost::Message + Default>(bytes: Bytes) {
    let Ok(message) = M::decode(bytes) else {
        return;
    };
    let written = message.encode_to_vec();
    assert_eq!(written.len(), message.encoded_len());
    let read = M::decode(&*written).expect("it was written here");
    assert_eq!(read.encode_to_vec(), written);
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn inputs_of_the_fuzzer_keep_every_promise_of_messages() {
        super::replay::all(&super::TARGETS);
    }
}
