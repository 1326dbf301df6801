//! How a request is carried out, and the message that says so.

use crate::proto::http::{Header, Request as Message, Version as Number};
use http::request::Parts;
use std::time::Duration;

/// How a request is carried out: an extension of the request.
///
/// ```
/// # use embly_sdk as embly;
/// use embly::http::{Request, client::Options};
/// use std::time::Duration;
///
/// let request = Request::get("https://api.example.com/")
///     .extension(Options::new().redirects(0).time(Duration::from_secs(2)))
///     .body("");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    redirects: Option<u32>,
    compressed: bool,
    time: Option<Duration>,
    version: Version,
}

/// A version of HTTP to speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// What the server offers; 1.1 without TLS.
    #[default]
    Any,
    /// 1.1.
    Http1,
    /// 2, without TLS as well.
    Http2,
}

impl Options {
    /// As the project file says it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Follows at most so many redirects. With 0 a redirect is the response.
    pub fn redirects(mut self, most: u32) -> Self {
        self.redirects = Some(most);
        self
    }

    /// Leaves a compressed response as it is. Without this, and without a header `accept-encoding` of
    /// the request, the service asks for compression, and unpacks.
    pub fn compressed(mut self) -> Self {
        self.compressed = true;
        self
    }

    /// Time for all of it, from the request to the last byte of the response.
    pub fn time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Speaks this version.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }
}

/// The message for a head.
pub(super) fn message(head: &Parts) -> Message {
    let options = head.extensions.get::<Options>().copied();
    let options = options.unwrap_or_default();
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| Header {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    Message {
        method: head.method.as_str().to_owned(),
        url: head.uri.to_string(),
        headers: head.headers.iter().map(header).collect(),
        redirects: options.redirects,
        compressed: options.compressed,
        // 0 is no limit there.
        time: options.time.map_or(0, |time| micros(time).max(1)),
        version: match options.version {
            Version::Any => Number::Any.into(),
            Version::Http1 => Number::Http1.into(),
            Version::Http2 => Number::Http2.into(),
        },
        ..Message::default()
    }
}
