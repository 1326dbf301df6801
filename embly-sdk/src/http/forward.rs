//! The rest of a request, handed to another function, and its response to the client.

use super::{
    body::Body,
    chunked,
    head::{self, Framing},
    response::ResponseWriter,
};
use crate::{
    error::Error,
    options::SpawnOptions,
    spawn::spawn_with,
    stream::{Conn, Found},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Has another function of the project answer: it gets the request, with what is left of the body as
/// it comes, and its response goes to the client as it is written. So a function can choose who
/// answers, check or change the request first, and lower the other's limits.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::{
///     Error, SpawnOptions,
///     http::{Body, Request, ResponseWriter, forward, run_catch_error},
///     prelude::*,
/// };
/// use std::time::Duration;
///
/// async fn route(req: Request<Body>, mut w: ResponseWriter) -> Result<(), Error> {
///     let name = match req.uri().path() {
///         path if path.starts_with("/users/") => "users",
///         "/report" => "report",
///         _ => {
///             w.status(404)?;
///             return Ok(w.write_all(b"no such page\n")?);
///         }
///     };
///     let function = SpawnOptions::new(name).cpu(Duration::from_secs(1));
///     forward(&function, req, w).await
/// }
///
/// fn main() -> Result<(), Error> {
///     run_catch_error(route)
/// }
/// ```
///
/// Nothing may have been sent of a response of our own; status and headers that were set are dropped.
/// The other function gets the headers that the request has now, with those of the gateway
/// (`embly-client`, `x-request-id` and so on). In a plain function: `block_on(forward(…))`.
///
/// # Errors
/// When the other function cannot be started, or ends before the first byte of a response: the writer
/// can still answer then. When it ends badly after that: the response is cut short, and so is what the
/// client sees. When our own response has begun, or the request's body broke off.
pub async fn forward(
    function: &SpawnOptions,
    request: Request<Body>,
    writer: ResponseWriter,
) -> Result<(), Error> {
    if writer.is_started() {
        return Err(Error::msg(
            "the response has begun, nobody else can answer: forward before the first flush",
        ));
    }
    let child = spawn_with(function)?;
    let mut upload = pin!(upload(child, request));
    let mut download = pin!(download(child, &writer));
    let mut uploads = true;
    poll_fn(|cx| {
        // First what came back: a response that is whole needs no more of the request.
        if let Poll::Ready(result) = download.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if uploads && let Poll::Ready(result) = upload.as_mut().poll(cx) {
            uploads = false;
            if let Err(error) = result {
                return Poll::Ready(Err(error));
            }
        }
        Poll::Pending
    })
    .await
}

/// Passes the response on; the writer is done with at its first byte.
async fn download(child: Conn, writer: &ResponseWriter) -> Result<(), Error> {
    loop {
        match poll_fn(|cx| child.poll_news(cx)).await? {
            Found::News => {
                let bytes = child.now();
                let client = writer.hand_over();
                client.send(&bytes).await?;
            }
            Found::End if writer.is_started() => return Ok(()),
            Found::End => return Err(Error::msg("the function has ended without a response")),
        }
    }
}

/// Passes the request on. An error is one of the request itself; what the other function does not take
/// shows in its response.
async fn upload(child: Conn, request: Request<Body>) -> Result<(), Error> {
    let (parts, mut body) = request.into_parts();
    let framing = body.framing();
    let mut head = format!("{} {} HTTP/1.1\r\n", parts.method, parts.uri).into_bytes();
    head::write(without_framing(&parts.headers), &mut head);
    match framing {
        Framing::None => {}
        Framing::Length(length) => {
            head.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        Framing::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    head.extend_from_slice(b"\r\n");
    if child.send(&head).await.is_err() {
        return Ok(());
    }
    let mut chunks = body.chunks();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk?;
        let mut piece = Vec::new();
        match framing {
            Framing::Chunked => chunked::encode(&chunk, &mut piece),
            Framing::None | Framing::Length(_) => piece = chunk,
        }
        if child.send(&piece).await.is_err() {
            return Ok(());
        }
    }
    if framing == Framing::Chunked {
        let mut last = b"0\r\n".to_vec();
        let trailers = body.trailers().into_iter();
        head::write(trailers.flat_map(without_framing), &mut last);
        last.extend_from_slice(b"\r\n");
        if child.send(&last).await.is_err() {
            return Ok(());
        }
    }
    // One that has ended needs no end of ours.
    let _ = child.close();
    Ok(())
}

/// Headers, without those that say how the body is marked out.
fn without_framing(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    headers
        .iter()
        .filter(move |(name, _)| !framing.contains(name))
}
