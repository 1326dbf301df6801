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
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = parsed.parse(bytes) else {
        return None;
    };
    let headers: Vec<(String, String)> = parsed
        .headers
        .iter()
        .map(|h| {
            (
                h.name.to_lowercase(),
                String::from_utf8_lossy(h.value).into_owned(),
            )
        })
        .collect();
    let find = |name: &str| {
        headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    let rest = &bytes[head..];
    let (body, complete) = if find("transfer-encoding") == Some("chunked") {
        unchunk(rest)
    } else if let Some(length) = find("content-length") {
        let length: usize = length.parse().unwrap();
        (
            rest[..rest.len().min(length)].to_vec(),
            rest.len() >= length,
        )
    } else {
        (rest.to_vec(), true)
    };
    Some(Response {
        status: parsed.code.unwrap(),
        headers: headers.clone(),
        body,
        complete,
    })
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

/// Sleeps; for tests that need time to pass, which says why.
pub fn pause(milliseconds: u64, _why: &str) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
