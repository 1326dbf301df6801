//! The body of a request on its way from the caller to the server.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use protos::services::http::Kind;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::failure::Failure;
use crate::service::frames::Reader;

/// A body over the limit.
pub fn too_long(most: u64) -> Failure {
    Failure::new(
        Kind::TooLarge,
        format!(
            "the body of the request is longer than {most} bytes; raise `limits: {{http: \
             {{request_body: …}}}}`"
        ),
    )
}

/// How a body fares that is on its way.
#[derive(Debug)]
pub struct Progress {
    state: Mutex<State>,
    done: Notify,
}

#[derive(Debug)]
struct State {
    /// When something of it was sent last.
    at: Instant,
    done: bool,
    failure: Option<Failure>,
}

impl Progress {
    fn new(done: bool) -> Arc<Self> {
        let at = Instant::now();
        let state = State {
            at,
            done,
            failure: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            done: Notify::new(),
        })
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When something of it was sent last, and whether that was the last of it.
    pub fn last(&self) -> (Instant, bool) {
        self.with(|state| (state.at, state.done))
    }

    /// Waits until all of it was sent.
    pub async fn finished(&self) {
        // A permit is kept for who comes later.
        self.done.notified().await;
    }

    /// What is wrong with it, if that is why a request failed.
    pub fn failure(&self) -> Option<Failure> {
        self.with(|state| state.failure.clone())
    }

    /// There is a connection that it can be sent on: the time before that is no time of the server's.
    pub fn begins(&self) {
        self.moved();
    }

    fn moved(&self) {
        self.with(|state| state.at = Instant::now());
    }

    fn finish(&self) {
        self.with(|state| {
            state.at = Instant::now();
            state.done = true;
        });
        self.done.notify_one();
    }

    fn fail(&self, failure: Failure) -> Aborted {
        self.with(|state| state.failure.get_or_insert(failure).clone());
        Aborted
    }
}

/// The body was not sent to its end; why is in the [`Progress`].
#[derive(Debug, thiserror::Error)]
#[error("the body of the request was broken off")]
pub struct Aborted;

/// The body of a request.
#[derive(Debug)]
pub struct Upload {
    source: Source,
    progress: Arc<Progress>,
}

#[derive(Debug)]
enum Source {
    Whole(Option<Bytes>),
    Caller(Box<Stream>),
}

#[derive(Debug)]
struct Stream {
    reader: Reader,
    /// Bytes that are still to come, if the caller has said how many.
    promised: Option<u64>,
    /// The limit, and how much of it is left.
    limit: Option<(u64, u64)>,
    /// Closed when the call is over: the connection does not keep the caller's stream.
    call: oneshot::Receiver<Infallible>,
}

/// The call that a body belongs to. The body is broken off when this is dropped.
pub type Call = oneshot::Sender<Infallible>;

impl Upload {
    /// All of a body.
    pub fn whole(bytes: Bytes) -> (Self, Arc<Progress>) {
        let progress = Progress::new(true);
        let source = Source::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()));
        let upload = Self {
            source,
            progress: Arc::clone(&progress),
        };
        (upload, progress)
    }

    /// What the caller still writes: of this length if it has said so, of at most `limit` bytes.
    pub fn of_caller(
        reader: Reader,
        promised: Option<u64>,
        limit: Option<u64>,
    ) -> (Self, Arc<Progress>, Call) {
        let (sender, call) = oneshot::channel();
        let progress = Progress::new(promised == Some(0));
        let upload = Self {
            source: Source::Caller(Box::new(Stream {
                reader,
                promised,
                limit: limit.map(|limit| (limit, limit)),
                call,
            })),
            progress: Arc::clone(&progress),
        };
        (upload, progress, sender)
    }
}

impl Stream {
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        progress: &Progress,
    ) -> Poll<Option<Result<Bytes, Aborted>>> {
        if Pin::new(&mut self.call).poll(context).is_ready() {
            return Poll::Ready(Some(Err(Aborted)));
        }
        let Poll::Ready(piece) = self.reader.poll_bytes(context) else {
            return Poll::Pending;
        };
        let Some(piece) = piece else {
            let left = self.promised.unwrap_or(0);
            if left == 0 {
                progress.finish();
                return Poll::Ready(None);
            }
            let text = format!("the body is {left} bytes shorter than its `content-length`");
            return Poll::Ready(Some(Err(progress.fail(Failure::invalid(text)))));
        };
        let length = piece.len() as u64;
        if let Some(promised) = &mut self.promised {
            let Some(left) = promised.checked_sub(length) else {
                let text = "the body is longer than its `content-length`";
                return Poll::Ready(Some(Err(progress.fail(Failure::invalid(text)))));
            };
            *promised = left;
        }
        if let Some((most, left)) = &mut self.limit {
            let Some(now) = left.checked_sub(length) else {
                return Poll::Ready(Some(Err(progress.fail(too_long(*most)))));
            };
            *left = now;
        }
        match self.promised {
            // Nobody asks for more of a body whose length is known.
            Some(0) => progress.finish(),
            _ => progress.moved(),
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        let Self { source, progress } = self.get_mut();
        match source {
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Caller(stream) => stream
                .poll(context, progress)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_none(),
            Source::Caller(stream) => stream.promised == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Source::Caller(stream) => stream
                .promised
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
