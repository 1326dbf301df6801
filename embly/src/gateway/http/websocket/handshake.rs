//! The opening handshake, as the server checks and answers it (RFC 6455, section 4.2).

use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Body;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::config::Websocket;

/// The only version that there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// A handshake that is in order.
#[derive(Debug)]
pub struct Accepted {
    /// 101.
    pub response: Response<Bytes>,
    /// The subprotocol.
    pub protocol: Option<String>,
}

/// Why there is no WebSocket.
#[derive(Debug)]
pub struct Refused {
    /// 4xx.
    pub status: StatusCode,
    /// What the client should do instead.
    pub headers: HeaderMap,
}

impl Refused {
    fn new(status: StatusCode, headers: &[(HeaderName, HeaderValue)]) -> Self {
        Self {
            status,
            headers: headers.iter().cloned().collect(),
        }
    }
}

/// Checks a request.
///
/// # Errors
/// See [`Refused`].
pub fn accept<B: Body>(request: &Request<B>, settings: &Websocket) -> Result<Accepted, Refused> {
    let headers = request.headers();
    if request.method() != Method::GET {
        let allow = (ALLOW, HeaderValue::from_static("GET"));
        return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, &[allow]));
    }
    let upgrade = [
        (UPGRADE, WEBSOCKET),
        (CONNECTION, HeaderValue::from_static("upgrade")),
    ];
    match request.version() {
        Version::HTTP_11 => {}
        Version::HTTP_10 => return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, &upgrade)),
        // HTTP/2 has neither of these headers (RFC 9113, section 8.2.2).
        _ => return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, &[])),
    }
    if !(lists(headers, &CONNECTION, "upgrade") && lists(headers, &UPGRADE, "websocket")) {
        return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, &upgrade));
    }
    let bad = || Refused::new(StatusCode::BAD_REQUEST, &[]);
    if single(headers, &SEC_WEBSOCKET_VERSION).ok_or_else(bad)? != VERSION {
        let [upgrade, connection] = upgrade;
        let version = (SEC_WEBSOCKET_VERSION, VERSION);
        let headers = [upgrade, connection, version];
        return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, &headers));
    }
    let key = single(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
    let key = key.ok_or_else(bad)?;
    if !request.body().is_end_stream() {
        return Err(bad());
    }
    if !welcome(headers, settings) {
        return Err(Refused::new(StatusCode::FORBIDDEN, &[]));
    }
    let protocol = protocol(headers, settings);
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.extend(upgrade);
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept.map_err(|_| bad())?);
    if let Some(protocol) = &protocol {
        let value = HeaderValue::try_from(protocol).map_err(|_| bad())?;
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
    }
    Ok(Accepted { response, protocol })
}

/// The items of a header that is a list, in all its lines.
fn items<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter();
    let lines = lines.filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn lists(headers: &HeaderMap, name: &HeaderName, item: &str) -> bool {
    items(headers, name).any(|there| there.eq_ignore_ascii_case(item))
}

/// The value of a header that is there once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    match key.strip_suffix(b"==") {
        // The last digit has two bits only.
        Some(digits) => {
            digits.len() == 22 && digits.iter().all(digit) && b"AQgw".contains(&digits[21])
        }
        None => false,
    }
}

/// Whether a page of this origin may connect. A client that says none is no page; where origins
/// are listed it is not welcome either.
fn welcome(headers: &HeaderMap, settings: &Websocket) -> bool {
    if settings.origins.is_empty() {
        return true;
    }
    let origin = single(headers, &ORIGIN).and_then(|origin| origin.to_str().ok());
    origin.is_some_and(|origin| {
        let same = |other: &String| origin.eq_ignore_ascii_case(other);
        settings.origins.iter().any(same)
    })
}

/// The best of those that both speak.
fn protocol(headers: &HeaderMap, settings: &Websocket) -> Option<String> {
    let asked: Vec<&str> = items(headers, &SEC_WEBSOCKET_PROTOCOL).collect();
    let mut spoken = settings.protocols.iter();
    spoken
        .find(|protocol| asked.contains(&protocol.as_str()))
        .cloned()
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn answer(lines: &[(&str, &str)], settings: &Websocket) -> Result<Accepted, StatusCode> {
        let mut request = Request::builder().method("GET").uri("/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        accept(&request, settings).map_err(|refused| refused.status)
    }

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        let accepted = answer(&GOOD, &Websocket::default()).unwrap();
        let accept = &accepted.response.headers()["sec-websocket-accept"];
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accepted.response.status(), 101);
    }

    #[test]
    fn what_is_missing_asks_for_an_upgrade_and_what_is_wrong_is_a_bad_request() {
        for (at, value, status) in [
            (0, "keep-alive", 426),
            (1, "h2c", 426),
            (2, "8", 426),
            (3, "dGhlIHNhbXBsZSBub25jZQ=", 400),
            (3, "dGhlIHNhbXBsZSBub25jZR==", 400),
            (3, "", 400),
        ] {
            let mut lines = GOOD;
            lines[at].1 = value;
            let refused = answer(&lines, &Websocket::default()).unwrap_err();
            assert_eq!(refused, status, "{lines:?}");
        }
        for at in [2, 3] {
            let twice = [&GOOD[..], &[GOOD[at]]].concat();
            let refused = answer(&twice, &Websocket::default()).unwrap_err();
            assert_eq!(refused, 400, "{twice:?}");
        }
    }

    #[test]
    fn the_best_common_subprotocol_is_taken_and_none_is_no_mistake() {
        let settings = Websocket {
            protocols: vec!["b".into(), "a".into()],
            ..Websocket::default()
        };
        for (asked, agreed) in [("a, b", Some("b")), ("a", Some("a")), ("B, c", None)] {
            let lines = [&GOOD[..], &[("sec-websocket-protocol", asked)]].concat();
            let accepted = answer(&lines, &settings).unwrap();
            assert_eq!(accepted.protocol.as_deref(), agreed, "{asked}");
        }
        assert_eq!(answer(&GOOD, &settings).unwrap().protocol, None);
    }

    #[test]
    fn only_pages_of_the_listed_origins_are_welcome() {
        let settings = Websocket {
            origins: vec!["https://example.test".into()],
            ..Websocket::default()
        };
        for (origin, welcome) in [
            ("https://example.test", true),
            ("HTTPS://EXAMPLE.test", true),
            ("http://example.test", false),
            ("https://example.test.evil.test", false),
            ("null", false),
        ] {
            let lines = [&GOOD[..], &[("origin", origin)]].concat();
            assert_eq!(answer(&lines, &settings).is_ok(), welcome, "{origin}");
        }
        assert_eq!(answer(&GOOD, &settings).unwrap_err(), 403);
    }
}
