//! Messages, and how they stand in a stream: a kind, a length, and so many bytes.

use crate::error::Error;

/// The request, before all messages.
pub(super) const OPEN: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A kind, and a length.
const HEADER: usize = 5;

/// A kind and a payload.
pub(super) type Frame = (u8, Vec<u8>);

/// A message of a WebSocket, or one of its signals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// Asks the client whether it is there; at most 125 bytes, which it sends back. The client's own
    /// pings are answered by the gateway.
    Ping(Vec<u8>),
    /// The client's answer to a ping.
    Pong(Vec<u8>),
    /// The connection closes: with a code and a reason, or without. The reason has at most
    /// 123 bytes. From the client it is the last message.
    Close(Option<(u16, String)>),
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(bytes.to_vec())
    }
}

/// A frame of any kind.
pub(super) fn frame(kind: u8, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let length = u32::try_from(payload.len())
        .map_err(|_| Error::msg("a WebSocket message of 4 GiB or more"))?;
    let mut frame = Vec::with_capacity(HEADER + payload.len());
    frame.push(kind);
    frame.extend(length.to_le_bytes());
    frame.extend(payload);
    Ok(frame)
}

impl Message {
    pub(super) fn frame(&self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Text(text) => frame(TEXT, text.as_bytes()),
            Self::Binary(bytes) => frame(BINARY, bytes),
            Self::Ping(bytes) => frame(PING, bytes),
            Self::Pong(bytes) => frame(PONG, bytes),
            Self::Close(None) => frame(CLOSE, &[]),
            Self::Close(Some((code, reason))) => {
                frame(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
            }
        }
    }

    pub(super) fn read(kind: u8, payload: Vec<u8>) -> Result<Self, Error> {
        Ok(match kind {
            TEXT => Self::Text(String::from_utf8(payload)?),
            BINARY => Self::Binary(payload),
            PING => Self::Ping(payload),
            PONG => Self::Pong(payload),
            CLOSE => Self::Close(match payload.split_first_chunk() {
                None => None,
                Some((code, reason)) => {
                    let reason = String::from_utf8(reason.to_vec())?;
                    Some((u16::from_be_bytes(*code), reason))
                }
            }),
            other => return Err(Error::msg(format!("a WebSocket frame of kind {other}"))),
        })
    }
}

/// What has arrived and was not received yet.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
}

impl Input {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.start));
        self.bytes.extend_from_slice(bytes);
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.start
    }

    /// The next frame, if it is all there.
    pub fn next(&mut self) -> Option<Frame> {
        let unread = &self.bytes[self.start..];
        let (&kind, rest) = unread.split_first()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let payload = rest.get(..length)?.to_vec();
        self.start += HEADER + length;
        Some((kind, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written_however_they_are_cut() {
        let messages = [
            Message::from("é"),
            Message::from(vec![0, 255]),
            Message::Ping(Vec::new()),
            Message::Pong(b"x".to_vec()),
            Message::Close(None),
            Message::Close(Some((1000, "bye".into()))),
        ];
        let mut input = Input::default();
        let mut read = Vec::new();
        for byte in messages.iter().flat_map(|it| it.frame().unwrap()) {
            input.push(&[byte]);
            let next = input.next();
            read.extend(next.map(|(kind, payload)| Message::read(kind, payload).unwrap()));
        }
        assert_eq!(read, messages);
        assert!(input.is_empty());
    }

    #[test]
    fn a_kind_that_nobody_knows_is_an_error() {
        assert!(Message::read(3, Vec::new()).is_err());
        assert!(Message::read(TEXT, vec![255]).is_err());
    }
}
