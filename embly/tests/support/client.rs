//! A plain HTTP/1.1 client: it sends what it is given and shows what comes back, whole or cut.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::PATIENCE;

/// What came back on a connection that was asked to close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, decoded if it was chunked.
    pub body: Vec<u8>,
    /// Whether the body was all that its framing promised.
    pub complete: bool,
}

impl Response {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The reason in the header `embly-error`.
    pub fn reason(&self) -> &str {
        self.header("embly-error").unwrap_or_default()
    }
}

/// `GET path`.
pub fn get(at: SocketAddr, path: &str) -> Response {
    request(
        at,
        format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n"),
    )
}

/// `POST path` with a body of known length.
pub fn post(at: SocketAddr, path: &str, body: &[u8]) -> Response {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    request(at, [head.as_bytes(), body].concat())
}

/// `PUT path` with a body of known length.
pub fn put(at: SocketAddr, path: &str, body: &[u8]) -> Response {
    let length = body.len();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    request(at, [head.as_bytes(), body].concat())
}

/// Sends these bytes and reads one response, up to the end of the connection.
pub fn request(at: SocketAddr, bytes: impl AsRef<[u8]>) -> Response {
    let mut stream = connect(at);
    // A server that answers early may close before it has read all.
    let _ = stream.write_all(bytes.as_ref());
    read_response(stream)
}

/// A connection that never waits for ever.
pub fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads one response, up to the end of the connection.
pub fn read_response(mut stream: TcpStream) -> Response {
    let mut bytes = Vec::new();
    // A reset after data is a cut response, which shows below.
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

/// A response from all the bytes of a connection.
pub fn parse(bytes: &[u8]) -> Response {
    try_parse(bytes)
        .unwrap_or_else(|| panic!("no response in {:?}", String::from_utf8_lossy(bytes)))
}

/// A response as far as it has come; `None` before its head is whole.
pub fn try_parse(bytes: &[u8]) -> Option<Response> {
    parse_head(bytes).map(|(head, response)| with_body(response, &bytes[head..]))
}

/// A head and its length, if it is all there; the body is empty.
fn parse_head(bytes: &[u8]) -> Option<(usize, Response)> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return None,
        Err(error) => panic!("{error} in {:?}", String::from_utf8_lossy(bytes)),
    };
    let header = |h: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(h.value).into_owned();
        (h.name.to_lowercase(), value)
    };
    let response = Response {
        status: parsed.code.unwrap(),
        headers: parsed.headers.iter().map(header).collect(),
        body: Vec::new(),
        complete: false,
    };
    Some((length, response))
}

fn with_body(mut response: Response, rest: &[u8]) -> Response {
    (response.body, response.complete) = if response.header("transfer-encoding") == Some("chunked")
    {
        unchunk(rest)
    } else if let Some(length) = response.header("content-length") {
        let length: usize = length.parse().unwrap();
        (
            rest[..rest.len().min(length)].to_vec(),
            rest.len() >= length,
        )
    } else {
        (rest.to_vec(), true)
    };
    response
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(rest) {
        let size = usize::try_from(size).unwrap();
        rest = &rest[line..];
        if size == 0 {
            return (body, rest.ends_with(b"\r\n"));
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(&rest[..rest.len().min(size)]);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
    (body, false)
}

/// A connection for several requests.
pub struct Connection {
    /// To write to.
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub fn new(at: SocketAddr) -> Self {
        Self {
            stream: connect(at),
            unread: Vec::new(),
        }
    }

    /// Writes bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a GET and takes its response.
    pub fn get(&mut self, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
        self.response()
    }

    fn more(&mut self) {
        let mut buffer = [0; 64 * 1024];
        let bytes = self.stream.read(&mut buffer).unwrap();
        assert!(
            bytes > 0,
            "the server closed the connection after {:?}",
            String::from_utf8_lossy(&self.unread)
        );
        self.unread.extend_from_slice(&buffer[..bytes]);
    }

    /// Takes the next head off the stream.
    pub fn head(&mut self) -> Response {
        loop {
            if let Some((length, response)) = parse_head(&self.unread) {
                self.unread.drain(..length);
                return response;
            }
            self.more();
        }
    }

    /// Takes the next response off the stream; it must end without the connection ending.
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                response.body.extend_from_slice(&chunk);
            }
        } else if ![204, 304].contains(&response.status) {
            let length = response.header("content-length").expect("a length");
            response.body = self.exactly(length.parse().unwrap());
        }
        response.complete = true;
        response
    }

    /// Takes the next chunk off the stream; `None` for the last one.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = loop {
            match httparse::parse_chunk_size(&self.unread).unwrap() {
                httparse::Status::Complete((line, size)) => {
                    self.unread.drain(..line);
                    break usize::try_from(size).unwrap();
                }
                httparse::Status::Partial => self.more(),
            }
        };
        let chunk = self.exactly(size);
        assert_eq!(self.exactly(2), b"\r\n");
        (size > 0).then_some(chunk)
    }

    /// Takes so many bytes off the stream.
    pub fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        while self.unread.len() < bytes {
            self.more();
        }
        self.unread.drain(..bytes).collect()
    }

    /// What is left, up to the end of the connection, and whether that was in order.
    pub fn rest(mut self) -> (Vec<u8>, bool) {
        let in_order = self.stream.read_to_end(&mut self.unread).is_ok();
        (self.unread, in_order)
    }
}

/// Ends a connection with a reset instead of in order.
pub fn reset(stream: TcpStream) {
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
}

/// A GET for the guest `script`, with its steps.
pub fn script(steps: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-do: {steps}\r\n\r\n")
}

/// The step of the guest `script` that writes these bytes.
pub fn write(bytes: impl AsRef<[u8]>) -> String {
    let hex: String = bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("write {hex}")
}

/// Sleeps; for tests that need time to pass, which says why.
pub fn pause(milliseconds: u64, _why: &str) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
