//! Messages as frames of a stream: a kind, a length, and so many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// The request, before all messages.
pub const OPEN: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A kind, and a length.
const HEADER: usize = 5;

/// The most bytes of a ping, a pong, and what a close says (RFC 6455, section 5.5).
const CONTROL: usize = 125;

/// What stands before a payload.
pub fn header(kind: u8, payload: &[u8]) -> Bytes {
    let mut header = BytesMut::with_capacity(HEADER);
    header.put_u8(kind);
    // Heads and messages are limited, far below this.
    header.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    header.freeze()
}

/// A message of the client as a kind and a payload; `None` for what functions are not shown.
pub fn parts(message: Message) -> Option<(u8, Bytes)> {
    Some(match message {
        Message::Text(text) => (TEXT, text.into()),
        Message::Binary(bytes) => (BINARY, bytes),
        Message::Pong(bytes) => (PONG, bytes),
        Message::Close(frame) => (CLOSE, close(frame)),
        Message::Ping(_) | Message::Frame(_) => return None,
    })
}

fn close(frame: Option<CloseFrame>) -> Bytes {
    let Some(frame) = frame else {
        return Bytes::new();
    };
    let mut payload = BytesMut::with_capacity(2 + frame.reason.len());
    payload.put_u16(frame.code.into());
    payload.put_slice(frame.reason.as_bytes());
    payload.freeze()
}

/// Why a function's bytes are no message.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Not a kind that a function may send.
    #[error("a frame of kind {0}, which is not a function's to send")]
    Kind(u8),
    /// More than the limit.
    #[error("limit `message` reached: a frame of {0} bytes, {1} allowed")]
    TooLong(u32, u32),
    /// Text has to be UTF-8.
    #[error("a text frame that is not UTF-8")]
    Text,
    /// Pings and pongs are short.
    #[error("a ping or pong of more than {CONTROL} bytes")]
    Control,
    /// Not a code that may be sent, or not a reason.
    #[error("a close frame without a valid code and reason")]
    Close,
}

/// Finds the messages in what a function says.
#[derive(Debug)]
pub struct Decoder {
    bytes: BytesMut,
    /// The most bytes of a message.
    most: u32,
}

impl Decoder {
    /// Nothing yet.
    pub fn new(most: u32) -> Self {
        Self {
            bytes: BytesMut::new(),
            most,
        }
    }

    /// What has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether it ends in the middle of a frame.
    pub fn is_within(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The next message, if it is all there.
    ///
    /// # Errors
    /// See [`BadFrame`].
    pub fn next(&mut self) -> Result<Option<Message>, BadFrame> {
        let Some((&kind, rest)) = self.bytes.split_first() else {
            return Ok(None);
        };
        if ![TEXT, BINARY, CLOSE, PING, PONG].contains(&kind) {
            return Err(BadFrame::Kind(kind));
        }
        let Some(length) = rest.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        if length > self.most {
            return Err(BadFrame::TooLong(length, self.most));
        }
        let whole = HEADER + length as usize;
        if self.bytes.len() < whole {
            return Ok(None);
        }
        let mut frame = self.bytes.split_to(whole);
        frame.advance(HEADER);
        message(kind, frame.freeze()).map(Some)
    }
}

fn message(kind: u8, payload: Bytes) -> Result<Message, BadFrame> {
    match kind {
        TEXT => match Utf8Bytes::try_from(payload) {
            Ok(text) => Ok(Message::Text(text)),
            Err(_) => Err(BadFrame::Text),
        },
        BINARY => Ok(Message::Binary(payload)),
        CLOSE => said_close(&payload).map(Message::Close),
        PING | PONG if payload.len() > CONTROL => Err(BadFrame::Control),
        PING => Ok(Message::Ping(payload)),
        _ => Ok(Message::Pong(payload)),
    }
}

fn said_close(payload: &[u8]) -> Result<Option<CloseFrame>, BadFrame> {
    if payload.is_empty() {
        return Ok(None);
    }
    if payload.len() > CONTROL {
        return Err(BadFrame::Close);
    }
    let (code, reason) = payload.split_first_chunk().ok_or(BadFrame::Close)?;
    let code = CloseCode::from(u16::from_be_bytes(*code));
    let reason = std::str::from_utf8(reason).map_err(|_| BadFrame::Close)?;
    if !code.is_allowed() {
        return Err(BadFrame::Close);
    }
    let reason = reason.into();
    Ok(Some(CloseFrame { code, reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        [&header(kind, payload), payload].concat()
    }

    fn decoded(bytes: &[u8]) -> Result<Vec<Message>, BadFrame> {
        let mut decoder = Decoder::new(1000);
        let mut all = Vec::new();
        // However it is cut.
        for byte in bytes {
            decoder.push(&[*byte]);
            all.extend(decoder.next()?);
        }
        assert!(!decoder.is_within());
        Ok(all)
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let bytes = [
            frame(TEXT, "é".as_bytes()),
            frame(BINARY, b""),
            frame(PING, b"p"),
            frame(PONG, b"q"),
            frame(CLOSE, b"\x03\xe8bye"),
            frame(CLOSE, b""),
        ];
        let close = CloseFrame {
            code: CloseCode::Normal,
            reason: "bye".into(),
        };
        let expected = [
            Message::text("é"),
            Message::binary(Bytes::new()),
            Message::Ping("p".into()),
            Message::Pong("q".into()),
            Message::Close(Some(close)),
            Message::Close(None),
        ];
        assert_eq!(decoded(&bytes.concat()).unwrap(), expected);
    }

    #[test]
    fn what_is_no_message_is_refused_as_soon_as_it_shows() {
        for (bytes, error) in [
            (vec![OPEN], BadFrame::Kind(0)),
            (vec![11], BadFrame::Kind(11)),
            (vec![1, 0xe9, 3, 0, 0], BadFrame::TooLong(1001, 1000)),
            (frame(TEXT, b"\xff"), BadFrame::Text),
            (frame(PING, &[0; 126]), BadFrame::Control),
            (frame(CLOSE, b"\x03"), BadFrame::Close),
            (frame(CLOSE, b"\x03\xedno"), BadFrame::Close),
            (frame(CLOSE, b"\x03\xe8\xff"), BadFrame::Close),
            (frame(CLOSE, &[3; 126]), BadFrame::Close),
        ] {
            assert_eq!(decoded(&bytes), Err(error));
        }
    }

    #[test]
    fn what_a_client_says_is_shown_but_for_its_pings() {
        let close = CloseFrame {
            code: CloseCode::Away,
            reason: "x".into(),
        };
        let closing = parts(Message::Close(Some(close)));
        assert_eq!(closing, Some((CLOSE, Bytes::from_static(b"\x03\xe9x"))));
        let text = parts(Message::text("t"));
        assert_eq!(text, Some((TEXT, Bytes::from_static(b"t"))));
        assert_eq!(parts(Message::Ping("x".into())), None);
    }
}
