//! `compress`: answers that are sent in fewer bytes, to who takes that.
//!
//! Not the gateway's own pages, which are small; not what is compressed already, a part (206), an event
//! stream, or what says `no-transform`. What a function has written is sent on as it comes: the
//! library flushes whenever there is nothing more to compress yet.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Frame};
use tower_http::CompressionLevel;
use tower_http::compression::{Compression, CompressionBody};
use tower_service::Service;

use super::super::answer::{Body, Cut};
use super::given::Given;
use crate::config::Compress;

/// Of those that do not take longer than the function itself.
const LEVEL: CompressionLevel = CompressionLevel::Precise(4);

/// A body that is compressed.
pub struct Packed {
    body: CompressionBody<Body>,
    sent: u64,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").finish_non_exhaustive()
    }
}

/// What a request says of it.
#[derive(Debug)]
pub struct Takes {
    encodings: Vec<HeaderValue>,
    head: bool,
}

impl Takes {
    /// What this one says.
    pub fn of<T>(request: &Request<T>) -> Self {
        let encodings = request.headers().get_all(ACCEPT_ENCODING);
        Self {
            encodings: encodings.iter().cloned().collect(),
            head: request.method() == Method::HEAD,
        }
    }
}

/// The answer as it is sent.
pub async fn pack(rules: &Compress, takes: Takes, answer: Response<Body>) -> Response<Body> {
    if !fits(rules, &answer) {
        return answer;
    }
    let mut request = Request::new(());
    for encoding in takes.encodings {
        request.headers_mut().append(ACCEPT_ENCODING, encoding);
    }
    let status = answer.status();
    let compression = |answer| {
        let all = |_, _, _: &HeaderMap, _: &http::Extensions| true;
        Compression::new(answer).quality(LEVEL).compress_when(all)
    };
    let (mut head, body) = if takes.head {
        // Its head alone, with the body that it has not got.
        let (head, body) = answer.into_parts();
        let bare = Response::from_parts(head, Body::full(Bytes::new()));
        let packed = compression(Given::new(bare)).call(request).await;
        let packed = packed.unwrap_or_else(|never| match never {});
        (packed.into_parts().0, body)
    } else {
        let packed = compression(Given::new(answer)).call(request).await;
        let packed = packed.unwrap_or_else(|never| match never {});
        let (head, body) = packed.into_parts();
        match head.headers.contains_key(CONTENT_ENCODING) {
            true => (head, Body::Packed(Box::new(Packed { body, sent: 0 }))),
            false => (head, body.into_inner()),
        }
    };
    // Whoever takes nothing at all gets it as it is (RFC 9110, section 12.5.3).
    head.status = status;
    if head.headers.contains_key(CONTENT_ENCODING) {
        weaken(&mut head.headers);
    }
    Response::from_parts(head, body)
}

/// Whether it is worth while, and allowed.
fn fits(rules: &Compress, answer: &Response<Body>) -> bool {
    let headers = answer.headers();
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let kind = text(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let listed = |listed: &String| match listed.strip_suffix('*') {
        Some(start) => kind.starts_with(start),
        None => kind == listed,
    };
    let length = text(CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let length = length.or_else(|| answer.body().size_hint().exact());
    let whole = ![
        StatusCode::PARTIAL_CONTENT,
        StatusCode::NO_CONTENT,
        StatusCode::NOT_MODIFIED,
    ]
    .contains(&answer.status());
    let fixed = text(CACHE_CONTROL).is_some_and(|value| value.contains("no-transform"));
    whole
        && !fixed
        && !matches!(answer.body(), Body::Full(_))
        && !headers.contains_key(CONTENT_ENCODING)
        && kind != "text/event-stream"
        && rules.types.iter().any(listed)
        && length.is_none_or(|length: u64| length >= rules.least)
}

/// Other bytes must not have the same strong name (RFC 9110, section 8.8.3).
fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers
        .get(ETAG)
        .filter(|tag| tag.as_bytes().starts_with(b"\""))
    else {
        return;
    };
    match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        Ok(weak) => drop(headers.insert(ETAG, weak)),
        Err(_) => drop(headers.remove(ETAG)),
    }
}

impl Packed {
    /// The next piece. The access line counts what is sent.
    pub fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let frame = frame.map(|frame| frame.map_err(|error| Cut::because(&error)));
        if let Some(Ok(frame)) = &frame {
            self.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
            self.body.get_mut().sent_instead(self.sent);
        }
        Poll::Ready(frame)
    }

    /// The client did not take all of it.
    pub fn not_taken(&mut self) {
        self.body.get_mut().not_taken();
    }
}
