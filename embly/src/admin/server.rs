//! HTTP/1.1 on the admin socket and on the address for metrics: connections with bounds.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::api;
use super::endpoint::Code;
use super::openapi::LINES;
use crate::report::Follower;

/// Connections at a time; others wait to be accepted.
const CONNECTIONS: usize = 64;

/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A client gets so long for the head of its request, and so long with none.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// The longest head, in bytes: hyper takes no less.
const HEAD: usize = 8 * 1024;

/// The body of an answer.
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// Serves each connection that is accepted, as long as the runtime lives.
pub async fn serve<S, F>(
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<S>>,
    each: impl Fn(S) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok(stream) = poll_fn(&mut accept).await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let served = each(stream);
        tokio::spawn(async move {
            served.await;
            drop(place);
        });
    }
}

/// Serves one connection to its end.
pub async fn connection<S, F>(stream: S, answer: impl Fn(Request<Incoming>) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Response<Body>>,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever ends it early is the client's doing.
    let _ = serving.await;
}

/// An answer of this type.
pub fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    // Strings and numbers always have a JSON form.
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    text(status, "application/json", body)
}

/// Why something was not done, and what to do.
pub fn failed(code: &Code, message: impl Into<String>) -> Response<Body> {
    failed_with(code, message, Vec::new())
}

/// The same, with the problems of the project file.
pub fn failed_with(
    code: &Code,
    message: impl Into<String>,
    problems: Vec<serde_json::Value>,
) -> Response<Body> {
    let error = api::Failure {
        code: code.name.to_owned(),
        message: message.into(),
        help: code.help.to_owned(),
        problems,
    };
    json(code.status, &api::Failed { error })
}

/// Says which methods there are.
pub fn allow(mut response: Response<Body>, methods: &[&str]) -> Response<Body> {
    if let Ok(methods) = HeaderValue::try_from(methods.join(", ")) {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// Lines as they come.
pub fn lines(follower: Follower) -> Response<Body> {
    let lines = futures_util::stream::unfold(follower, |mut follower| async {
        let text = follower.next().await?;
        Some((Ok(Frame::data(Bytes::from(text))), follower))
    });
    let mut response = Response::new(StreamBody::new(lines).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(LINES));
    response
}
