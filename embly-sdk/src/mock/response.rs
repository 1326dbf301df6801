//! What a gateway would make of a function's bytes.

use crate::{
    http::{Decoder, HeaderMap, HeaderValue, Request, StatusCode, header},
    reason::{Exit, Reason},
};
use std::io::Write;

/// A response, as a client would get it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status. Where the function sent no response, that of the gateway: 500 when it failed,
    /// 502 when it did not, or when what it sent is not HTTP.
    pub status: StatusCode,
    /// The headers; of the gateway's own responses only `embly-error`.
    pub headers: HeaderMap,
    /// The body, without its coding.
    pub body: Vec<u8>,
    /// Whether the body is whole. If not, the gateway cuts the connection.
    pub complete: bool,
    /// How the function ended.
    pub exit: Exit,
}

impl Response {
    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is not UTF-8")
    }

    /// The value of a header, if it is there once or more.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(super) fn of((bytes, exit): (Vec<u8>, Exit), to_head: bool) -> Self {
        let Some((status, headers, rest)) = parse(&bytes) else {
            return Self::of_gateway(exit, bytes.is_empty());
        };
        let bodiless = to_head || status == 204 || status == 304;
        let framed = if bodiless {
            Some(Vec::new())
        } else {
            body(&headers, rest, exit.is_ok())
        };
        let complete = framed.is_some() && exit.is_ok();
        Self {
            status,
            headers,
            body: framed.unwrap_or_default(),
            complete,
            exit,
        }
    }

    fn of_gateway(exit: Exit, empty: bool) -> Self {
        let (status, reason) = match exit.reason {
            Reason::Ok if empty => (StatusCode::BAD_GATEWAY, Reason::NoResponse),
            Reason::Ok => (StatusCode::BAD_GATEWAY, Reason::BadResponse),
            reason => (StatusCode::INTERNAL_SERVER_ERROR, reason),
        };
        let mut headers = HeaderMap::new();
        headers.insert("embly-error", HeaderValue::from_static(reason.name()));
        Self {
            status,
            headers,
            body: Vec::new(),
            complete: true,
            exit,
        }
    }
}

fn parse(bytes: &[u8]) -> Option<(StatusCode, HeaderMap, &[u8])> {
    let mut lines = [httparse::EMPTY_HEADER; 128];
    let mut head = httparse::Response::new(&mut lines);
    let httparse::Status::Complete(len) = head.parse(bytes).ok()? else {
        return None;
    };
    let mut headers = HeaderMap::new();
    for line in head.headers {
        let name: crate::http::HeaderName = line.name.parse().ok()?;
        // Between the SDK and the gateway.
        if name == "embly-handler" {
            continue;
        }
        headers.append(name, HeaderValue::from_bytes(line.value).ok()?);
    }
    Some((
        StatusCode::from_u16(head.code?).ok()?,
        headers,
        &bytes[len..],
    ))
}

/// The body, if it is whole.
fn body(headers: &HeaderMap, rest: &[u8], ended_well: bool) -> Option<Vec<u8>> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        let (mut decoder, mut body) = (Decoder::default(), Vec::new());
        decoder.decode(rest, &mut body).ok()?;
        return decoder.is_done().then_some(body);
    }
    match headers.get(header::CONTENT_LENGTH) {
        Some(length) => rest
            .get(..length.to_str().ok()?.parse().ok()?)
            .map(<[u8]>::to_vec),
        None => ended_well.then(|| rest.to_vec()),
    }
}

/// A request as the gateway sends it to a function.
pub(super) fn request_bytes(request: &Request<impl AsRef<[u8]>>) -> Vec<u8> {
    let body = request.body().as_ref();
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let mut out = format!("{} {path} HTTP/1.1\r\n", request.method()).into_bytes();
    let headers = request.headers();
    for (name, value) in headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let framed = headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING);
    if !framed && !body.is_empty() {
        write!(out, "content-length: {}\r\n", body.len()).expect("a Vec takes every write");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}
