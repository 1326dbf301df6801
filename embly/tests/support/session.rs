//! A client that keeps its connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::client::{self, Response};

/// One connection, with requests one after the other.
pub struct Session {
    at: SocketAddr,
    stream: Option<TcpStream>,
}

impl Session {
    /// A client that has not connected yet.
    pub fn new(at: SocketAddr) -> Self {
        Self { at, stream: None }
    }

    /// `GET path`, on the same connection as the last time if it is still there.
    ///
    /// # Errors
    /// When the connection breaks before the response is whole.
    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        let kept = self.stream.is_some();
        match self.try_get(path) {
            // A server may close a connection that is idle: a client asks again on another.
            Err(error) if kept && error.kind() == io::ErrorKind::NotConnected => self.try_get(path),
            result => result,
        }
    }

    fn try_get(&mut self, path: &str) -> io::Result<Response> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => client::connect(self.at),
        };
        let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
        let gone = |_| io::Error::from(io::ErrorKind::NotConnected);
        stream.write_all(head.as_bytes()).map_err(gone)?;
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = match stream.read(&mut buffer) {
                Ok(0) | Err(_) if bytes.is_empty() => {
                    return Err(io::ErrorKind::NotConnected.into());
                }
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                other => other?,
            };
            bytes.extend_from_slice(&buffer[..count]);
            if let Some(response) = client::try_parse(&bytes).filter(|response| response.complete) {
                let close = response.header("connection") == Some("close");
                self.stream = (!close).then_some(stream);
                return Ok(response);
            }
        }
    }
}
