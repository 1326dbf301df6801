//! A call of the service, with its messages: u32 little-endian length, then the message.

use super::{ConnectError, ErrorKind, Tls};
use crate::{
    proto::tcp::{Answer, Kind, Open, Opened, Step, answer::Answer as Is},
    service,
    stream::{Conn, input},
    sys,
};
use prost::Message;

/// Bytes of the length of a message.
const HEADER: usize = 4;

/// The longest message of the service that is read.
const MOST: usize = 64 * 1024;

/// A connection, or one that is on its way. Given up when it is dropped, unless it is open: then it
/// is closed.
pub(super) struct Call {
    pub conn: Conn,
    address: String,
    open: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        // One that has ended needs neither.
        let id = self.conn.id();
        let _ = match self.open {
            true => sys::close(id),
            false => sys::kill(id),
        };
    }
}

impl Call {
    /// Asks for a connection.
    pub fn begin(address: &str, tls: Option<&Tls>, starttls: bool) -> Result<Self, ConnectError> {
        let error = |kind, text: &str| ConnectError::new(address, kind, text);
        let (host, port) = address
            .rsplit_once(':')
            .ok_or_else(|| error(ErrorKind::Invalid, "write it as `HOST:PORT`"))?;
        let port = port.parse::<u16>().ok().filter(|port| *port > 0);
        let port =
            port.ok_or_else(|| error(ErrorKind::Invalid, "a port is a number from 1 to 65535"))?;
        let open = Open {
            host: host.to_owned(),
            port: port.into(),
            tls: tls.map(Tls::message),
            starttls,
        };
        let conn = service::call("embly/tcp")
            .map_err(|failed| error(ErrorKind::NoRoom, &failed.to_string()))?;
        let mut call = Self {
            conn,
            address: address.to_owned(),
            open: false,
        };
        call.write(&open)?;
        Ok(call)
    }

    /// Why it did not come to it.
    pub fn error(&self, kind: ErrorKind, text: &str) -> ConnectError {
        ConnectError::new(&self.address, kind, text)
    }

    /// Sends a message. A stream to a service begins with all of its credit, and what is sent
    /// before there is a connection fits in it.
    fn write(&mut self, message: &impl Message) -> Result<(), ConnectError> {
        let frame = frame(message);
        match sys::write(self.conn.id(), &frame) {
            Ok(n) if n == frame.len() => Ok(()),
            Ok(_) | Err(_) => Err(self.error(ErrorKind::Invalid, "that is too long")),
        }
    }

    /// Sends a step.
    pub async fn step(&mut self, step: &Step) -> Result<(), ConnectError> {
        let sent = self.conn.send(&frame(step)).await;
        sent.map_err(|error| ConnectError::ended(&self.address, &error))
    }

    /// What became of the last wish.
    pub async fn answer(&mut self) -> Result<Opened, ConnectError> {
        let answer: Answer = self.message().await?;
        self.opened(answer)
    }

    /// The connection, or why there is none.
    pub fn opened(&mut self, answer: Answer) -> Result<Opened, ConnectError> {
        match answer.answer {
            Some(Is::Opened(opened)) => {
                self.open = true;
                Ok(opened)
            }
            Some(Is::Error(error)) => {
                let kind = match error.kind() {
                    Kind::Other => ErrorKind::Other,
                    Kind::Name => ErrorKind::Name,
                    Kind::Refused => ErrorKind::Refused,
                    Kind::Timeout => ErrorKind::Timeout,
                    Kind::Unreachable => ErrorKind::Unreachable,
                    Kind::Tls => ErrorKind::Tls,
                };
                Err(self.error(kind, &error.message))
            }
            None => Err(self.error(ErrorKind::Other, "the service says nothing")),
        }
    }

    /// The next message of the service.
    pub async fn message<M: Message + Default>(&mut self) -> Result<M, ConnectError> {
        let other = |text: &str| self.error(ErrorKind::Other, text);
        match read(self.conn).await {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(other("the connection has ended before there was an answer")),
            Err(error) => Err(ConnectError::ended(&self.address, &error)),
        }
    }
}

/// The next message on a stream; `None` at its good end. What follows stays there to be read.
pub(crate) async fn read<M: Message + Default>(
    conn: Conn,
) -> Result<Option<M>, crate::error::Error> {
    let mut bytes = Vec::new();
    loop {
        conn.await?;
        match conn.now() {
            more if more.is_empty() => return Ok(None),
            more => bytes.extend(more),
        }
        let Some(length) = bytes.first_chunk::<HEADER>() else {
            continue;
        };
        let end = HEADER + u32::from_le_bytes(*length) as usize;
        if end > HEADER + MOST {
            return Err(crate::Error::msg(
                "the service has sent a message that is too long",
            ));
        }
        if let Some(message) = bytes.get(HEADER..end) {
            let message = M::decode(message)?;
            input::unread(conn.id(), &bytes[end..]);
            return Ok(Some(message));
        }
    }
}

/// A message with its length.
pub(crate) fn frame(message: &impl Message) -> Vec<u8> {
    let length = u32::try_from(message.encoded_len()).expect("messages are made here, and short");
    let mut frame = length.to_le_bytes().to_vec();
    message.encode(&mut frame).expect("a vector grows");
    frame
}
