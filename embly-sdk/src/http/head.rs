//! The head of a request: from bytes to a [`Request`].

use super::body::Body;
use crate::{
    error::Error,
    stream::{Conn, input},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use httparse::Status;
use std::io::Read;

/// The largest head that is read. The gateway's own limit is below it by default.
const MAX_HEAD: usize = 256 * 1024;
/// The most header lines that are read.
const MAX_HEADERS: usize = 256;

/// Why there is no request.
#[derive(Debug)]
pub(super) enum Failed {
    /// What came is not HTTP: worth a 400.
    Malformed(String),
    /// Nothing came, or the stream broke.
    Stream(Error),
}

/// How a body is marked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// It has this many bytes.
    Length(u64),
    /// It is in chunked coding.
    Chunked,
}

/// Reads the head from the stream. What follows it stays there.
pub(super) fn read(mut conn: Conn) -> Result<Request<Body>, Failed> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let n = conn
            .read(&mut chunk)
            .map_err(|error| Failed::Stream(error.into()))?;
        if n == 0 && bytes.is_empty() {
            let text = "no request arrived: is this function behind an http gateway? `embly invoke NAME --http GET /` \
                        makes a request";
            return Err(Failed::Stream(Error::msg(text)));
        }
        if n == 0 {
            return Err(malformed("the head is cut short"));
        }
        bytes.extend_from_slice(&chunk[..n]);
        if let Some((mut request, len)) = parse(&bytes).map_err(Failed::Malformed)? {
            let framing = framing(request.headers()).map_err(Failed::Malformed)?;
            input::unread(conn.id(), &bytes[len..]);
            *request.body_mut() = Body::new(conn, framing);
            return Ok(request);
        }
        if bytes.len() > MAX_HEAD {
            return Err(malformed("the head is too large"));
        }
    }
}

fn malformed(text: &str) -> Failed {
    Failed::Malformed(text.to_owned())
}

/// The request and the length of its head; `None` when more bytes are needed.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Request<Body>, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let len = match head.parse(bytes).map_err(|error| error.to_string())? {
        Status::Complete(len) => len,
        Status::Partial => return Ok(None),
    };
    // Both are there in a complete head.
    let method = head.method.unwrap_or_default();
    let mut builder = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?)
        .uri(head.path.unwrap_or_default())
        .version(if head.version == Some(0) {
            Version::HTTP_10
        } else {
            Version::HTTP_11
        });
    for header in head.headers {
        builder = builder.header(header.name, header.value);
    }
    let request = builder
        .body(Body::default())
        .map_err(|error| error.to_string())?;
    Ok(Some((request, len)))
}

/// Writes header lines.
pub(super) fn write<'h>(
    headers: impl IntoIterator<Item = (&'h HeaderName, &'h HeaderValue)>,
    out: &mut Vec<u8>,
) {
    for (name, value) in headers {
        for piece in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(piece);
        }
    }
}

/// How the body is marked out. Whatever is ambiguous is refused.
fn framing(headers: &HeaderMap) -> Result<Framing, String> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if let Some(coding) = headers.get(header::TRANSFER_ENCODING) {
        if length.is_some() {
            return Err("both Content-Length and Transfer-Encoding".into());
        }
        if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("a Transfer-Encoding other than chunked".into());
        }
        return Ok(Framing::Chunked);
    }
    let Some(length) = length else {
        return Ok(Framing::None);
    };
    if lengths.any(|other| other != length) {
        return Err("several values of Content-Length".into());
    }
    let digits = length
        .to_str()
        .ok()
        .filter(|it| it.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|it| it.parse().ok()) {
        Some(0) => Ok(Framing::None),
        Some(length) => Ok(Framing::Length(length)),
        None => Err("Content-Length is not a number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing_of(lines: &str) -> Result<Framing, String> {
        let bytes = format!("POST /a?b=c HTTP/1.1\r\n{lines}\r\n");
        let (request, len) = parse(bytes.as_bytes())?.ok_or("more")?;
        assert_eq!(len, bytes.len());
        assert_eq!(request.uri(), "/a?b=c");
        framing(request.headers())
    }

    #[test]
    fn a_body_is_marked_out_in_one_way_only() {
        assert_eq!(framing_of(""), Ok(Framing::None));
        assert_eq!(framing_of("Content-Length: 0\r\n"), Ok(Framing::None));
        assert_eq!(
            framing_of("Content-Length: 12\r\n"),
            Ok(Framing::Length(12))
        );
        assert_eq!(
            framing_of("transfer-encoding: Chunked\r\n"),
            Ok(Framing::Chunked)
        );
        for bad in [
            "Content-Length: +1\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
        ] {
            assert!(framing_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_http_is_told_from_what_is_not_complete() {
        assert!(matches!(parse(b"GET / HTTP/1.1\r\nHost"), Ok(None)));
        assert!(parse(b"hello \x01\x02").is_err());
        assert!(parse(b"GET / HTTP/1.1\r\nbad header\r\n\r\n").is_err());
    }
}
