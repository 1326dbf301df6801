//! Heads: a request's as bytes for the function, a response's from its bytes.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, COOKIE, EXPECT, HOST, MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    RANGE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};

use super::decode::Framing;
use super::forwarded::is_of_proxies;

/// The header with the id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header of a response with which the SDK says that it answers in place of a handler that has
/// returned an `Err`, and its value.
const HANDLER: HeaderName = HeaderName::from_static("embly-handler");
const FAILED: &str = "failed";

/// Names that begin so are Embly's own and never come from a client.
const OWN_PREFIX: &str = "embly-";

/// The longest head of a response, in bytes.
pub const RESPONSE_HEAD: usize = 64 * 1024;

/// The most headers of a response.
const RESPONSE_HEADERS: usize = 128;

/// The longest value of `Connection`, in bytes, either way.
const CONNECTION_MOST: usize = 4 * 1024;

/// How the body of a request is sent to the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunked coding, with trailers.
    Chunked,
}

/// The head of a request as the function sees it: HTTP/1.1, no hop-by-hop headers, the body's
/// framing as given, and what the gateway tells it in headers of its own.
pub fn request(parts: &Request<()>, body: RequestBody, told: &[(String, String)]) -> Bytes {
    let mut out = BytesMut::with_capacity(512);
    let path = parts
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    // A whole URL may go on with the query, without a path.
    let slash = if path.starts_with('?') { "/" } else { "" };
    for piece in [parts.method().as_str(), " ", slash, path, " HTTP/1.1\r\n"] {
        out.put_slice(piece.as_bytes());
    }
    let headers = parts.headers();
    // A target that names its host counts more than the header (RFC 9112, section 3.2.2).
    let authority = parts.uri().authority().map(http::uri::Authority::as_str);
    if let Some(host) = authority.and_then(|authority| authority.rsplit('@').next()) {
        put(&mut out, "host", host.as_bytes());
    }
    // HTTP/2 has them in pieces, and nobody else knows that (RFC 9113, section 8.2.3).
    let joined = parts.version() == Version::HTTP_2 && headers.get_all(COOKIE).iter().count() > 1;
    if joined {
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        let cookies = cookies.iter().map(|value| value.as_bytes());
        put(
            &mut out,
            "cookie",
            &cookies.collect::<Vec<_>>().join(&b"; "[..]),
        );
    }
    for (name, value) in headers {
        let dropped = hop_by_hop(name)
            || *name == CONTENT_LENGTH
            || (*name == HOST && authority.is_some())
            || *name == EXPECT
            || (*name == COOKIE && joined)
            || is_withheld(name);
        if !dropped {
            put(&mut out, name.as_str(), value.as_bytes());
        }
    }
    for (name, value) in told {
        put(&mut out, name, value.as_bytes());
    }
    match body {
        RequestBody::None => {}
        RequestBody::Length(length) => {
            put(&mut out, "content-length", length.to_string().as_bytes());
        }
        RequestBody::Chunked => put(&mut out, "transfer-encoding", b"chunked"),
    }
    out.put_slice(b"\r\n");
    out.freeze()
}

/// Takes out what a client says is for the next hop only, before anybody adds what is for the function.
/// What says for whom the request is stays, and so do a handshake and the words of proxies.
pub fn drop_listed(headers: &mut HeaderMap) {
    if !headers.contains_key(CONNECTION) {
        return;
    }
    let kept = |name: &HeaderName| [HOST, UPGRADE].contains(name) || is_of_proxies(name);
    for name in listed(headers).into_iter().filter(|name| !kept(name)) {
        headers.remove(name);
    }
}

/// Names of headers that the gateway's rules, or a function in front, have settled: a client says
/// nothing else in trailers.
#[derive(Debug, Clone, Default)]
pub struct Settled(pub Vec<HeaderName>);

impl Settled {
    /// Notes them at the request.
    pub fn note<T>(request: &mut Request<T>, names: impl IntoIterator<Item = HeaderName>) {
        let settled = request.extensions_mut().get_or_insert_default::<Self>();
        settled.0.extend(names);
    }
}

/// Whether a function gets it from the gateway only.
pub fn is_withheld(name: &HeaderName) -> bool {
    *name == REQUEST_ID || is_own(name)
}

fn is_own(name: &HeaderName) -> bool {
    name.as_str().starts_with(OWN_PREFIX)
}

/// Whether a trailer may have this name. What frames or routes a message, says who asks, or how to
/// read the body, comes too late behind it, and would be taken for a header by who joins the two
/// (RFC 9110, section 6.5.1).
fn may_trail(name: &HeaderName) -> bool {
    const EARLIER: [HeaderName; 11] = [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        COOKIE,
        EXPECT,
        HOST,
        MAX_FORWARDS,
        RANGE,
    ];
    !EARLIER.contains(name) && !hop_by_hop(name) && !is_withheld(name)
}

/// Whether it says for whom a message is, where it ends, or how it goes to the next hop.
pub fn is_of_message(name: &HeaderName) -> bool {
    hop_by_hop(name) || [CONTENT_LENGTH, EXPECT, HOST].contains(name)
}

/// The last chunk, with those trailers that a client may send.
pub fn last_chunk(trailers: Option<&HeaderMap>, settled: &Settled) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(b"0\r\n");
    // What a client cannot say in front it cannot say behind.
    let may =
        |name: &HeaderName| may_trail(name) && !is_of_proxies(name) && !settled.0.contains(name);
    let trailers = trailers.into_iter().flat_map(HeaderMap::iter);
    for (name, value) in trailers.filter(|(name, _)| may(name)) {
        put(&mut out, name.as_str(), value.as_bytes());
    }
    out.put_slice(b"\r\n");
    out.freeze()
}

fn put(out: &mut BytesMut, name: &str, value: &[u8]) {
    for piece in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.put_slice(piece);
    }
}

/// Headers that are for the next hop only (RFC 9110, section 7.6.1).
fn hop_by_hop(name: &HeaderName) -> bool {
    [
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ]
    .contains(name)
        || name == "keep-alive"
        || name == "proxy-connection"
}

/// The names that `Connection` lists.
fn listed(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect()
}

/// Whether `Connection` lists more than anybody has to list, which takes long to look up.
pub fn lists_too_much(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter();
    values.map(HeaderValue::len).sum::<usize>() > CONNECTION_MOST
}

/// How large a head is on the wire, about: what the limit `request_head` counts.
pub fn size<T>(request: &Request<T>) -> usize {
    let line = request.method().as_str().len() + request.uri().to_string().len() + 12;
    let header = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    line + request.headers().iter().map(header).sum::<usize>()
}

/// The head of a response.
#[derive(Debug)]
pub struct Head {
    /// Its status, from 200 up.
    pub status: StatusCode,
    /// Its headers, without those for the next hop and those of the framing.
    pub headers: HeaderMap,
    /// How the body is framed.
    pub framing: Framing,
}

/// Why bytes are not the head of a response.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// Not HTTP.
    #[error(
        "it does not begin with an HTTP/1.1 response: {0}; behind a gateway of type http a function runs with `http::run`"
    )]
    NotHttp(httparse::Error),
    /// Over [`RESPONSE_HEAD`].
    #[error("its head is longer than {RESPONSE_HEAD} bytes")]
    TooLong,
    /// A status that a function cannot give.
    #[error("status {0} is not a function's to give")]
    Status(u16),
    /// A name or a value that HTTP does not allow.
    #[error("the header `{0}` is not allowed in HTTP")]
    Header(String),
    /// Two lengths, or a length that is none.
    #[error("`Content-Length` must be given once, as a number")]
    Length,
    /// A coding that is not understood.
    #[error("`Transfer-Encoding` must be `chunked` alone, without `Content-Length`")]
    Coding,
}

/// Takes the head off the front of `bytes`, or `None` when it is not all there. Interim
/// responses (1xx) are passed over.
///
/// # Errors
/// See [`BadHead`].
pub fn response(bytes: &mut BytesMut, request_was_head: bool) -> Result<Option<Head>, BadHead> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; RESPONSE_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let length = match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() > RESPONSE_HEAD => {
                return Err(BadHead::TooLong);
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(BadHead::NotHttp(error)),
        };
        if length > RESPONSE_HEAD {
            return Err(BadHead::TooLong);
        }
        let code = parsed.code.unwrap_or_default();
        let head = match code {
            // Switching protocols is the gateway's to offer.
            101 => return Err(BadHead::Status(code)),
            100..200 => None,
            _ => Some(head(code, parsed.headers, request_was_head)?),
        };
        let _ = bytes.split_to(length);
        if head.is_some() {
            return Ok(head);
        }
    }
}

fn head(code: u16, raw: &[httparse::Header<'_>], request_was_head: bool) -> Result<Head, BadHead> {
    let status = StatusCode::from_u16(code)
        .ok()
        .filter(|_| code >= 200)
        .ok_or(BadHead::Status(code))?;
    let mut headers = HeaderMap::with_capacity(raw.len());
    for header in raw {
        let bad = || BadHead::Header(header.name.to_owned());
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| bad())?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| bad())?;
        headers.append(name, value);
    }
    let framing = framing(&headers)?;
    if lists_too_much(&headers) {
        return Err(BadHead::Header(CONNECTION.to_string()));
    }
    for name in listed(&headers) {
        headers.remove(name);
    }
    remove(&mut headers, hop_by_hop);
    // 205 has none either (RFC 9110, section 15.3.6), and not every client reads one.
    let without = [
        StatusCode::NO_CONTENT,
        StatusCode::RESET_CONTENT,
        StatusCode::NOT_MODIFIED,
    ];
    let bodiless = request_was_head || without.contains(&status);
    // hyper writes the framing; only the answer to a HEAD promises a length without a body.
    if !request_was_head || status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(Head {
        status,
        headers,
        framing: if bodiless { Framing::None } else { framing },
    })
}

/// Whether it is the SDK's answer in place of a handler that has failed.
pub fn has_failed(head: &Head) -> bool {
    let said = head.headers.get(HANDLER);
    head.status == StatusCode::INTERNAL_SERVER_ERROR && said.is_some_and(|said| said == FAILED)
}

/// Headers for a client, without Embly's own: what those say no function can say.
pub fn without_own(mut headers: HeaderMap) -> HeaderMap {
    remove(&mut headers, is_own);
    headers
}

fn remove(headers: &mut HeaderMap, is: impl Fn(&HeaderName) -> bool) {
    let names: Vec<_> = headers.keys().filter(|name| is(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn framing(headers: &HeaderMap) -> Result<Framing, BadHead> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (
        lengths.next(),
        lengths.next(),
        codings.next(),
        codings.next(),
    ) {
        (None, _, None, _) => Ok(Framing::UntilEnd),
        (Some(length), None, None, _) => {
            let digits = length
                .to_str()
                .ok()
                .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
            digits
                .and_then(|digits| digits.parse().ok())
                .map(Framing::Length)
                .ok_or(BadHead::Length)
        }
        (Some(_), Some(_), None, _) => Err(BadHead::Length),
        (None, _, Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(Framing::chunked())
        }
        _ => Err(BadHead::Coding),
    }
}
