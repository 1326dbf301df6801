//! The way of a request to its function: head, body as far as it is taken, trailers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;
use protos::{Ending, Reason};
use tokio::time::sleep;

use super::head::{self, RequestBody, Settled};
use super::phases::UnderWay;
use crate::switchboard::Sink;

/// A request on its way to the function.
pub struct Upload {
    /// Bytes that its body may have.
    pub most: u64,
    /// How long the client may send nothing of it.
    pub within: Option<Duration>,
    /// What came of it.
    pub taken: Arc<AtomicU64>,
    /// It was silent for longer.
    pub slow: Arc<AtomicBool>,
    /// The connection waits for it.
    pub _under_way: UnderWay,
}

impl Upload {
    /// Sends head and body, as far as the function takes them. Nothing is read from the client
    /// that the function has no room for.
    pub async fn run<B>(self, request: Request<B>, told: Vec<(String, String)>, mut sink: Sink)
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let (mut parts, mut body) = request.into_parts();
        let settled = parts.extensions.remove::<Settled>().unwrap_or_default();
        let framing = match body.size_hint().exact() {
            Some(0) if !parts.headers.contains_key(CONTENT_LENGTH) => RequestBody::None,
            Some(length) => RequestBody::Length(length),
            None => RequestBody::Chunked,
        };
        let head = head::request(&Request::from_parts(parts, ()), framing, &told);
        if sink.send(head).await.is_err() {
            return;
        }
        let mut left = self.most;
        let mut trailers = None;
        while sink.ready().await.is_ok() {
            let frame = tokio::select! {
                frame = body.frame() => frame,
                () = sink.ended() => return,
                () = after(self.within) => return self.give_up(&sink),
            };
            let data = match frame {
                None => break,
                // A body that breaks off must never look complete.
                Some(Err(_)) => {
                    return sink.stop(Reason::ClientGone, "the request's body broke off");
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(frame) => {
                        trailers = frame.into_trailers().ok();
                        // hyper has taken LF for their end, and passed over what follows.
                        if trailers.as_ref().is_some_and(http::HeaderMap::is_empty) {
                            return sink
                                .stop(Reason::ClientGone, "the request's trailers are broken");
                        }
                        continue;
                    }
                },
            };
            self.taken.fetch_add(data.len() as u64, Ordering::Relaxed);
            let Some(rest) = left.checked_sub(data.len() as u64) else {
                let ending = too_large(self.most);
                return sink.stop(ending.reason, &ending.detail);
            };
            left = rest;
            if data.is_empty() {
                continue;
            }
            let piece = match framing {
                RequestBody::Chunked => chunk(&data),
                RequestBody::None | RequestBody::Length(_) => data,
            };
            if sink.send(piece).await.is_err() {
                return;
            }
        }
        if framing == RequestBody::Chunked {
            let last = head::last_chunk(trailers.as_ref(), &settled);
            if sink.send(last).await.is_err() {
                return;
            }
        }
        sink.finish();
    }

    fn give_up(&self, sink: &Sink) {
        // Before anybody hears of the end.
        self.slow.store(true, Ordering::Relaxed);
        let time = self.within.unwrap_or_default();
        let detail = format!(
            "limit `body`, of the gateway's `timeouts`, reached: \
             {time:?} without a byte of the request's body"
        );
        sink.stop(Reason::ClientGone, &detail);
    }
}

/// Returns after this time, or never.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

fn chunk(data: &[u8]) -> Bytes {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"]
        .concat()
        .into()
}

/// The limit `request_body` is reached.
pub fn too_large(limit: u64) -> Ending {
    Ending::new(
        Reason::TooLarge,
        format!("limit `request_body` reached: {limit} bytes"),
    )
}
