//! A WebSocket client that sends any bytes and shows every frame.

use std::net::SocketAddr;

use super::client::{Connection, Response};

/// Opcodes (RFC 6455, section 5.2).
pub const CONTINUE: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame as it came, or is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The last of its message.
    pub fin: bool,
    /// Opcode.
    pub opcode: u8,
    /// Not masked.
    pub payload: Vec<u8>,
}

/// A frame on its own.
pub fn whole(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame {
        fin: true,
        opcode,
        payload: payload.as_ref().to_vec(),
    }
}

/// A frame that others follow.
pub fn part(opcode: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame {
        fin: false,
        ..whole(opcode, payload)
    }
}

/// A close with a code.
pub fn close(code: u16, reason: &str) -> Frame {
    whole(CLOSE, [&code.to_be_bytes(), reason.as_bytes()].concat())
}

impl Frame {
    /// As a client sends it.
    pub fn masked(&self) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = self.head(0x80);
        bytes.extend(mask);
        let masked = self.payload.iter().zip(mask.iter().cycle());
        bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// As a server sends it.
    pub fn unmasked(&self) -> Vec<u8> {
        [self.head(0), self.payload.clone()].concat()
    }

    fn head(&self, mask: u8) -> Vec<u8> {
        let first = if self.fin { 0x80 } else { 0 } | self.opcode;
        let length = self.payload.len();
        let mut head = vec![first];
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(small @ ..126), _) => head.push(mask | small),
            (_, Ok(length)) => {
                head.push(mask | 126);
                head.extend(length.to_be_bytes());
            }
            _ => {
                head.push(mask | 127);
                head.extend((length as u64).to_be_bytes());
            }
        }
        head
    }
}

/// The request for a WebSocket, with more lines.
pub fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// A connection that has been upgraded.
pub struct Raw {
    /// To write to.
    pub connection: Connection,
    /// The 101.
    pub answer: Response,
}

impl Raw {
    /// Connects.
    pub fn open(at: SocketAddr, path: &str) -> Self {
        Self::open_with(at, path, "")
    }

    /// Connects with more headers.
    pub fn open_with(at: SocketAddr, path: &str, more: &str) -> Self {
        let mut connection = Connection::new(at);
        connection.send(handshake(path, more));
        let answer = connection.head();
        assert_eq!(answer.status, 101, "{answer:?}");
        Self { connection, answer }
    }

    /// Sends frames.
    pub fn send(&mut self, frames: &[Frame]) {
        let bytes: Vec<u8> = frames.iter().flat_map(Frame::masked).collect();
        self.connection.send(bytes);
    }

    /// Sends text.
    pub fn say(&mut self, text: &str) {
        self.send(&[whole(TEXT, text)]);
    }

    /// The next frame.
    pub fn frame(&mut self) -> Frame {
        let head = self.connection.exactly(2);
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
        assert_eq!(head[0] & 0x70, 0, "there is no extension");
        let length = match head[1] {
            126 => u16::from_be_bytes(self.connection.exactly(2).try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.connection.exactly(8).try_into().unwrap()),
            small => small.into(),
        };
        Frame {
            fin: head[0] & 0x80 != 0,
            opcode: head[0] & 0xf,
            payload: self.connection.exactly(usize::try_from(length).unwrap()),
        }
    }

    /// The next frame, which is text.
    pub fn text(&mut self) -> String {
        let frame = self.frame();
        assert_eq!((frame.opcode, frame.fin), (TEXT, true), "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    /// The next frame, which is a close: its code and reason. The client answers it, and the
    /// connection ends in order.
    pub fn closed(mut self) -> (u16, String) {
        let frame = self.frame();
        assert_eq!(frame.opcode, CLOSE, "{frame:?}");
        // It may be closed already.
        let _ = std::io::Write::write_all(&mut self.connection.stream, &frame.masked());
        let (rest, in_order) = self.connection.rest();
        assert!(rest.is_empty() && in_order, "{in_order} {rest:?}");
        match frame.payload.split_first_chunk() {
            Some((code, reason)) => (
                u16::from_be_bytes(*code),
                String::from_utf8(reason.to_vec()).unwrap(),
            ),
            None => (1005, String::new()),
        }
    }
}
