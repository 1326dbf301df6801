//! Sends a request and takes the whole answer, over HTTP/1.1 without TLS.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// An answer is there within this time; what never ends is no test.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The longest body that is looked at: it is held in memory.
const LONGEST_BODY: usize = 64 * 1024 * 1024;

/// What is sent.
#[derive(Debug)]
pub(super) struct Asks {
    pub method: String,
    pub url: Url,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub version: &'static str,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub took: Duration,
    pub url: String,
}

/// Sends it.
pub(super) async fn send(asks: Asks) -> Result<Answer, String> {
    let within = timeout(ANSWER_WITHIN, exchange(asks)).await;
    within.unwrap_or_else(|_| {
        Err(format!(
            "no whole answer within {} s",
            ANSWER_WITHIN.as_secs()
        ))
    })
}

async fn exchange(asks: Asks) -> Result<Answer, String> {
    let Asks {
        method,
        url,
        headers,
        body,
    } = asks;
    if url.scheme() != "http" {
        return Err(format!(
            "`{}` URLs are not supported: only http",
            url.scheme()
        ));
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(format!("`{url}` has no host"));
    };
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::builder()
        .method(method.as_str())
        .uri(target)
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let own = request.headers_mut();
    for (name, value) in headers {
        let name: HeaderName = name
            .parse()
            .map_err(|_| format!("`{name}` is no name of a header"))?;
        let value = HeaderValue::from_str(&value)
            .map_err(|_| format!("not a value of the header `{name}`"))?;
        own.append(name, value);
    }
    let usual = |headers: &mut HeaderMap, name: HeaderName, value: &str| {
        if !headers.contains_key(&name)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    };
    usual(
        own,
        HOST,
        &url[url::Position::BeforeHost..url::Position::AfterPort],
    );
    usual(
        own,
        USER_AGENT,
        concat!("embly/", env!("CARGO_PKG_VERSION")),
    );
    usual(own, ACCEPT, "*/*");

    let began = Instant::now();
    let host = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| format!("cannot connect to {host}:{port}: {error}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // It ends with the answer.
    tokio::spawn(connection);
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| format!("no answer: {error}"))?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, LONGEST_BODY).collect().await;
    let body = body.map_err(|error| format!("the answer is not whole: {error}"))?;
    Ok(Answer {
        status: head.status.as_u16(),
        version: match head.version {
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        headers: head.headers,
        body: body.to_bytes(),
        took: began.elapsed(),
        url: url.into(),
    })
}
