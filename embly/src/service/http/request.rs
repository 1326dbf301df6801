//! What a caller asks for, checked before anybody else hears of it.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use protos::services::http::{Request, Version};

use super::failure::Failure;
use crate::allow::http::Target;
use crate::limits::HttpLimits;

/// The longest message of a caller: a head, and a body that comes with it.
pub const MESSAGE_MAX: usize = HEAD_MAX + CONTENT_MAX + 16 * 1024;

/// Bytes of a body that comes with its request.
pub const CONTENT_MAX: usize = 64 * 1024;

/// Bytes of all headers together, and of the URL: what servers take is far less.
const HEAD_MAX: usize = 64 * 1024;

/// How many headers: as many as the library that reads them takes of a server.
pub const HEADERS_MAX: usize = 256;

/// The longest method.
const METHOD_MAX: usize = 32;

/// Headers that mark out a message on its connection, which is the service's own.
const OURS: [HeaderName; 9] = [
    header::HOST,
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("http2-settings"),
];

/// Whether a header is not for callers: neither to send nor to get.
fn is_ours(name: &HeaderName) -> bool {
    OURS.contains(name) || name.as_str().starts_with("proxy-")
}

/// Takes away what is said between a server and its client only (RFC 9110, section 7.6.1).
pub fn hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_ours(name))
        .cloned()
        .collect();
    for name in named.into_iter().chain(ours) {
        headers.remove(name);
    }
}

/// A request that can be sent.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Any but `CONNECT`.
    pub method: Method,
    /// Where to.
    pub target: Target,
    /// Without those that the service adds.
    pub headers: HeaderMap,
    /// The body, as far as it is known.
    pub body: Content,
    /// Redirects that may be followed.
    pub redirects: u32,
    /// Whether a compressed response is unpacked.
    pub unpacks: bool,
    /// Time for all of it.
    pub time: Option<Duration>,
    /// The version to speak.
    pub version: Version,
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Whole(Bytes),
    /// It follows, of this length if that was said.
    Follows(Option<u64>),
}

impl Asked {
    /// Checks a request.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(request: Request, limits: &HttpLimits) -> Result<Self, Failure> {
        let method = method(&request.method)?;
        let target = Target::parse(&request.url).map_err(|error| {
            Failure::invalid(format!("the URL `{}` {error}", shown(&request.url)))
        })?;
        let mut headers = headers(&request)?;
        let length = content_length(&mut headers)?;
        let body = body(&request, length, limits)?;
        let version = Version::try_from(request.version).map_err(|_| {
            Failure::invalid(format!(
                "there is no version number {} to speak",
                request.version
            ))
        })?;
        let time = Some(Duration::from_micros(request.time)).filter(|time| !time.is_zero());
        let most = limits.redirects;
        Ok(Self {
            method,
            target,
            headers,
            body,
            redirects: request.redirects.map_or(most, |asked| asked.min(most)),
            unpacks: !request.compressed,
            time: time.into_iter().chain(limits.time).min(),
            version,
        })
    }
}

/// A text of the caller's, for a message.
pub fn shown(text: &str) -> String {
    const SHOWN: usize = 200;
    let short: String = text.chars().take(SHOWN).collect();
    let more = if short.len() < text.len() { "…" } else { "" };
    format!("{}{more}", short.escape_debug())
}

fn method(text: &str) -> Result<Method, Failure> {
    let method = Method::from_bytes(text.as_bytes()).ok();
    let method = method.filter(|_| text.len() <= METHOD_MAX);
    let wrong = || Failure::invalid(format!("`{}` is not a method", shown(text)));
    match method.ok_or_else(wrong)? {
        Method::CONNECT => Err(Failure::invalid(
            "the method `CONNECT` makes a tunnel, which this service does not",
        )),
        method => Ok(method),
    }
}

fn headers(request: &Request) -> Result<HeaderMap, Failure> {
    let sizes = request
        .headers
        .iter()
        .map(|it| it.name.len() + it.value.len());
    if request.headers.len() > HEADERS_MAX || sizes.sum::<usize>() > HEAD_MAX {
        return Err(Failure::invalid(format!(
            "the headers are too many: at most {HEADERS_MAX}, of {} KiB together",
            HEAD_MAX / 1024
        )));
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for header in &request.headers {
        let named = || format!("the header `{}`", shown(&header.name));
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| Failure::invalid(format!("{} has a name that no header has", named())))?;
        if is_ours(&name) {
            return Err(Failure::invalid(format!(
                "{} is for the service to send: leave it out",
                named()
            )));
        }
        let value = HeaderValue::from_bytes(&header.value).map_err(|_| {
            Failure::invalid(format!(
                "{} has a value that no header has, a line break for one",
                named()
            ))
        })?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// The length that the caller promises, which is then sent as the library does it.
fn content_length(headers: &mut HeaderMap) -> Result<Option<u64>, Failure> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let digits = value.to_str().ok();
    let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let length = digits.and_then(|text| text.parse().ok());
    let once = values.next().is_none();
    headers.remove(header::CONTENT_LENGTH);
    match length {
        Some(length) if once => Ok(Some(length)),
        _ => Err(Failure::invalid(
            "the header `content-length` is not one number: leave it out, or correct it",
        )),
    }
}

fn body(request: &Request, length: Option<u64>, limits: &HttpLimits) -> Result<Content, Failure> {
    let content = &request.content;
    let known = content.len() as u64;
    if request.body_follows && !content.is_empty() {
        return Err(Failure::invalid(
            "a request has `content`, or a body that follows, not both",
        ));
    }
    if content.len() > CONTENT_MAX {
        return Err(Failure::invalid(format!(
            "`content` has at most {} KiB; a longer body follows the request",
            CONTENT_MAX / 1024
        )));
    }
    let promised = if request.body_follows {
        length
    } else {
        Some(known)
    };
    if let (Some(most), Some(promised)) = (limits.request_body, promised)
        && promised > most
    {
        return Err(super::body::too_long(most));
    }
    if request.body_follows {
        return Ok(Content::Follows(length));
    }
    match length {
        Some(length) if length != known => Err(Failure::invalid(format!(
            "the header `content-length` says {length}, the body has {known} bytes"
        ))),
        _ => Ok(Content::Whole(content.clone())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protos::services::http::{Header, Kind};

    fn request(headers: &[(&str, &str)]) -> Request {
        let header = |(name, value): &(&str, &str)| Header {
            name: (*name).to_owned(),
            value: Bytes::copy_from_slice(value.as_bytes()),
        };
        Request {
            method: "POST".to_owned(),
            url: "https://h.example/x".to_owned(),
            headers: headers.iter().map(header).collect(),
            ..Request::default()
        }
    }

    fn check(request: Request) -> Result<Asked, Failure> {
        Asked::check(request, &HttpLimits::default())
    }

    fn refused(request: Request) -> String {
        let failure = check(request).expect_err("it is wrong");
        assert_eq!(failure.kind, Kind::Invalid);
        failure.message
    }

    #[test]
    fn headers_of_the_connection_cannot_be_set_and_none_can_be_smuggled() {
        for name in [
            "Host",
            "Connection",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Upgrade",
            "Expect",
            "Keep-Alive",
            "HTTP2-Settings",
            "Proxy-Authorization",
            "proxy-connection",
        ] {
            assert!(
                refused(request(&[(name, "x")])).contains("leave it out"),
                "{name}"
            );
        }
        for (name, value) in [
            ("", "x"),
            ("a b", "x"),
            ("a:b", "x"),
            ("a\r\nb", "x"),
            (":path", "/"),
            ("x", "a\r\nb: c"),
            ("x", "a\nb"),
            ("x", "a\0b"),
        ] {
            assert!(
                refused(request(&[(name, value)])).contains("header"),
                "{name:?} {value:?}"
            );
        }
        let asked = check(request(&[("X-A", "1"), ("x-a", "2"), ("cookie", "c")])).unwrap();
        assert_eq!(asked.headers.get_all("x-a").iter().count(), 2);
    }

    #[test]
    fn methods_are_tokens_and_no_tunnels() {
        for method in [
            "",
            "GET ",
            "GET / HTTP/1.1\r\n",
            "CONNECT",
            "\u{fc}",
            &"X".repeat(33),
        ] {
            let wrong = Request {
                method: method.to_owned(),
                ..request(&[])
            };
            assert!(refused(wrong).contains("method"), "{method:?}");
        }
        let odd = Request {
            method: "PROPFIND".to_owned(),
            ..request(&[])
        };
        assert_eq!(check(odd).unwrap().method, "PROPFIND");
    }

    #[test]
    fn a_length_is_one_number_and_that_of_the_body() {
        let follows = |headers: &[(&str, &str)]| Request {
            body_follows: true,
            ..request(headers)
        };
        assert_eq!(check(follows(&[])).unwrap().body, Content::Follows(None));
        let known = check(follows(&[("Content-Length", "7")])).unwrap();
        assert_eq!(known.body, Content::Follows(Some(7)));
        assert!(known.headers.is_empty());
        for lengths in [
            &[("content-length", "7"), ("content-length", "7")][..],
            &[("content-length", "7, 7")],
            &[("content-length", "+7")],
            &[("content-length", "")],
            &[("content-length", "99999999999999999999")],
        ] {
            assert!(refused(follows(lengths)).contains("one number"));
        }
        let whole = Request {
            content: Bytes::from_static(b"abc"),
            ..request(&[("content-length", "4")])
        };
        assert!(refused(whole).contains("says 4, the body has 3"));
        let both = Request {
            content: Bytes::from_static(b"abc"),
            ..follows(&[])
        };
        assert!(refused(both).contains("not both"));
        let long = Request {
            content: vec![0; CONTENT_MAX + 1].into(),
            ..request(&[])
        };
        assert!(refused(long).contains("at most 64 KiB"));
    }

    #[test]
    fn limits_hold_and_a_caller_can_only_lower_them() {
        let limits = HttpLimits {
            time: Some(Duration::from_secs(5)),
            request_body: Some(10),
            redirects: 3,
            ..HttpLimits::default()
        };
        let asked = |request| Asked::check(request, &limits);
        let higher = Request {
            time: 9_000_000,
            redirects: Some(9),
            ..request(&[])
        };
        let higher = asked(higher).unwrap();
        assert_eq!((higher.time, higher.redirects), (limits.time, 3));
        let lower = Request {
            time: 1_000_000,
            redirects: Some(0),
            ..request(&[])
        };
        let lower = asked(lower).unwrap();
        assert_eq!(
            (lower.time, lower.redirects),
            (Some(Duration::from_secs(1)), 0)
        );
        let long = Request {
            content: vec![0; 11].into(),
            ..request(&[])
        };
        assert_eq!(asked(long).unwrap_err().kind, Kind::TooLarge);
        let promised = Request {
            body_follows: true,
            ..request(&[("content-length", "11")])
        };
        assert_eq!(asked(promised).unwrap_err().kind, Kind::TooLarge);
        let many = vec![("x", "y"); HEADERS_MAX + 1];
        assert!(refused(request(&many)).contains("too many"));
        let big = "v".repeat(HEAD_MAX);
        assert!(refused(request(&[("x", &big)])).contains("too many"));
    }

    #[test]
    fn what_is_said_between_a_server_and_its_client_only_is_taken_away() {
        let mut headers = HeaderMap::new();
        for name in OURS.iter().map(HeaderName::as_str).chain([
            "proxy-authenticate",
            "proxy-connection",
            "x-own",
            "x-kept",
        ]) {
            let value = HeaderValue::from_static("x-own, close");
            headers.append(HeaderName::try_from(name).unwrap(), value);
        }
        hop_by_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-kept"]);
    }
}
