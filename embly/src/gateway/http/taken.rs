//! Whether clients take what they are answered.
//!
//! In HTTP/1.1 a client that takes nothing shows where bytes are written. In HTTP/2 it may take
//! nothing of one answer and all of others, and what it does not take is not written: then the library
//! does not ask for more of the answer, and the answer alone is reset. It takes the last piece of an
//! answer whole where there is room for a byte of it, and is done: so its last byte is a piece of its own.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use hyper::body::{Body as _, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::super::Patience;
use super::answer::{Body, Cut};

/// The limits of a function come first.
const A_LITTLE: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// The answer of the stream that this task is for.
    static STREAM: Arc<Taken>;
}

/// How long a client may take nothing of this answer; an extension of it.
#[derive(Debug, Clone, Copy)]
pub struct Within(pub Option<Duration>);

/// One answer of an HTTP/2 connection.
#[derive(Debug, Default)]
struct Taken {
    state: Mutex<State>,
    begun: Notify,
}

#[derive(Debug, Default)]
struct State {
    within: Option<Duration>,
    /// Since when a piece of it waits to be taken.
    waits: Option<Instant>,
    /// It has waited for too long.
    late: bool,
}

impl Taken {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        // Nothing panics in here.
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when the client takes nothing of it.
    async fn stands_still(&self) {
        self.begun.notified().await;
        loop {
            let now = Instant::now();
            let (within, waits) = self.with(|state| (state.within, state.waits));
            let Some(within) = within else {
                return std::future::pending().await;
            };
            // Whatever waits from now on waits at least as long, so nobody has to wake this.
            let end = waits.unwrap_or(now) + within + A_LITTLE;
            if end <= now {
                self.with(|state| state.late = true);
                return;
            }
            sleep_until(end).await;
        }
    }
}

/// Runs the answers of HTTP/2 connections, each to its end or until its client takes nothing of it.
#[derive(Debug, Clone, Copy)]
pub struct Streams;

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, answering: F) {
        let taken = Arc::new(Taken::default());
        let answering = STREAM.scope(Arc::clone(&taken), answering);
        tokio::spawn(async move {
            // What is dropped before its end is reset.
            tokio::select! {
                () = answering => {}
                () = taken.stands_still() => {}
            }
        });
    }
}

/// The answer, which is watched from now on. It is taken within `usual` where it does not say.
pub fn watched(
    mut answer: Response<Body>,
    patience: &Patience,
    usual: Option<Duration>,
) -> Response<Watched> {
    let Within(within) = answer.extensions_mut().remove().unwrap_or(Within(usual));
    let taken = STREAM.try_with(Arc::clone).ok();
    match &taken {
        Some(taken) => {
            taken.with(|state| state.within = within);
            taken.begun.notify_one();
        }
        None => patience.set(within),
    }
    answer.map(|body| Watched {
        body,
        rest: Bytes::new(),
        taken,
    })
}

/// An answer's body on its way.
#[derive(Debug)]
pub struct Watched {
    body: Body,
    /// Of what it handed out, the end that was not handed on yet.
    rest: Bytes,
    taken: Option<Arc<Taken>>,
}

impl Watched {
    /// All, but for the last byte of what may be the last piece: the library keeps it until all before
    /// it has gone, and is not done before.
    fn hand_on(&mut self, mut data: Bytes) -> Frame<Bytes> {
        let more = self.body.size_hint().lower() > 0;
        if !more && data.len() > 1 {
            self.rest = data.split_off(data.len() - 1);
        }
        Frame::data(data)
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let watched = &mut *self;
        let frame = match std::mem::take(&mut watched.rest) {
            rest if rest.is_empty() => Pin::new(&mut watched.body).poll_frame(context),
            rest => Poll::Ready(Some(Ok(Frame::data(rest)))),
        };
        let Some(taken) = &watched.taken else {
            return frame;
        };
        // Who asks has got rid of what was handed out before.
        let handed = matches!(frame, Poll::Ready(Some(Ok(_))));
        let waits = handed.then(Instant::now);
        taken.with(|state| state.waits = waits);
        frame.map_ok(|frame| match frame.into_data() {
            Ok(data) => watched.hand_on(data),
            Err(other) => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let late = self.taken.as_ref();
        if late.is_some_and(|taken| taken.with(|state| state.late)) {
            self.body.not_taken();
        }
    }
}
