//! The body of a response on its way to the client.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use protos::{Ending, Reason};

use super::access::Access;
use super::decode::Framing;
use super::files::FileBody;
use super::policy::Packed;
use crate::report::describe;
use crate::switchboard::{Source, StreamEvent};

/// What hyper sends.
#[derive(Debug)]
pub enum Body {
    /// The gateway's own words.
    Full(Full<Bytes>),
    /// The function's.
    Answer(Box<Answer>),
    /// A file.
    File(Box<FileBody>),
    /// One of the others, compressed.
    Packed(Box<Packed>),
}

impl Body {
    /// The gateway's own words.
    pub fn full(bytes: Bytes) -> Self {
        Self::Full(Full::new(bytes))
    }

    /// So many bytes were sent for those that were handed out.
    pub fn sent_instead(&mut self, bytes: u64) {
        match self {
            Self::Answer(answer) => answer.access.sent = Some(bytes),
            Self::File(file) => file.sent_instead(bytes),
            // Counted before it is sent, or by the body in it.
            Self::Full(_) | Self::Packed(_) => {}
        }
    }

    /// All of it was handed out, or less, and the client did not take it.
    pub fn not_taken(&mut self) {
        match self {
            Self::Answer(answer) => answer.access.not_taken(),
            Self::File(file) => file.not_taken(),
            Self::Packed(packed) => packed.not_taken(),
            // Its line was written with its head.
            Self::Full(_) => {}
        }
    }
}

/// The response is not complete, so the client must not take it for one: the connection is cut.
#[derive(Debug, thiserror::Error)]
#[error("the response was cut short: {0}")]
pub struct Cut(String);

impl Cut {
    /// For this reason.
    pub fn because(why: &dyn fmt::Display) -> Self {
        Self(why.to_string())
    }
}

/// The limit `response_body` is reached.
pub fn too_large(most: u64) -> Ending {
    let detail = format!("limit `response_body` reached: {most} bytes");
    Ending::new(Reason::TooLarge, detail)
}

/// A function's body: decoded, checked, and counted.
pub struct Answer {
    framing: Framing,
    bytes: BytesMut,
    /// Until the response is complete; then it is drained elsewhere.
    source: Option<Source>,
    access: Access,
    /// The limit `response_body`.
    most: u64,
    /// What ends it early, until all that came before is on its way to the client.
    cut: Option<Cut>,
    /// Ready when the client has reset the connection, which hyper would only see when it writes.
    reset: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// The body that begins with `bytes` and goes on with what `source` brings.
    /// It has at most `most` bytes.
    pub fn new(
        framing: Framing,
        bytes: BytesMut,
        source: Source,
        access: Access,
        most: u64,
    ) -> Self {
        let reset = Box::pin(access.client_reset());
        let mut answer = Self {
            framing,
            bytes,
            source: Some(source),
            access,
            reset,
            most,
            cut: None,
        };
        if answer.framing.is_complete() {
            answer.complete();
        }
        answer
    }

    /// The response is complete: the function may go on for a while.
    fn complete(&mut self) {
        self.access.reason = None;
        if let Some(source) = self.source.take() {
            source.response_complete();
            let extra = self.bytes.len();
            let discarded = matches!(self.framing, Framing::None);
            let warn = self.access.warner();
            tokio::spawn(drain(source, extra, discarded, warn));
        }
    }

    /// Counts what is handed out, and sees whether it was the last, or too much.
    fn count(&mut self, data: Bytes) -> Result<Bytes, Cut> {
        let bytes = self.access.bytes + data.len() as u64;
        if bytes > self.most {
            let ending = too_large(self.most);
            return Err(self.cut_because(ending.reason, &ending.detail));
        }
        self.access.bytes = bytes;
        if self.framing.is_complete() {
            self.complete();
        }
        Ok(data)
    }

    fn cut(&mut self, ending: &Ending) -> Cut {
        self.access.cut(ending.reason);
        self.source = None;
        Cut(describe(ending))
    }

    fn cut_because(&mut self, reason: Reason, detail: &str) -> Cut {
        let ending = Ending::new(reason, detail);
        if let Some(source) = self.source.take() {
            source.condemn(ending.clone());
        }
        self.cut(&ending)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        if let Some(cut) = self.cut.take() {
            return Poll::Ready(Some(Err(cut)));
        }
        match self.poll_data(context) {
            // hyper drops what it has not written when a body fails, the head with it. It
            // writes when a body has nothing yet, so the failure comes one turn later.
            Poll::Ready(Some(Err(cut))) => {
                self.cut = Some(cut);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            other => other,
        }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        loop {
            match self.framing.next(&mut self.bytes) {
                Ok(Some(data)) => return Poll::Ready(Some(self.count(data))),
                Ok(None) if self.framing.is_complete() => {
                    self.complete();
                    return Poll::Ready(None);
                }
                Ok(None) => {}
                Err(error) => {
                    let cut = self.cut_because(Reason::BadResponse, &error.to_string());
                    return Poll::Ready(Some(Err(cut)));
                }
            }
            let Some(source) = &mut self.source else {
                return Poll::Ready(None);
            };
            let event = match source.poll_next(context) {
                Poll::Ready(event) => event,
                Poll::Pending => {
                    std::task::ready!(self.reset.as_mut().poll(context));
                    let cut =
                        self.cut_because(Reason::ClientGone, "the client reset the connection");
                    return Poll::Ready(Some(Err(cut)));
                }
            };
            match event {
                // Nothing to decode: passed on without a copy.
                Some(StreamEvent::Data(data))
                    if self.bytes.is_empty() && self.framing.whole(&data) =>
                {
                    return Poll::Ready(Some(self.count(data)));
                }
                Some(StreamEvent::Data(data)) => self.bytes.extend_from_slice(&data),
                Some(StreamEvent::HalfClose) if self.framing == Framing::UntilEnd => {
                    self.complete();
                    return Poll::Ready(None);
                }
                Some(StreamEvent::HalfClose) => {
                    let cut = self.cut_because(Reason::BadResponse, "its response breaks off");
                    return Poll::Ready(Some(Err(cut)));
                }
                Some(StreamEvent::Ended(mut finished)) => {
                    let whole = self.framing == Framing::UntilEnd;
                    if whole && finished.ending.reason == Reason::Ok {
                        self.access.reason = None;
                        self.source = None;
                        return Poll::Ready(None);
                    }
                    finished.amend(Reason::BadResponse, "its response breaks off");
                    return Poll::Ready(Some(Err(self.cut(&finished.ending))));
                }
                None => {
                    let lost = Ending::new(Reason::Lost, "the exchange broke off");
                    return Poll::Ready(Some(Err(self.cut(&lost))));
                }
            }
        }
    }
}

/// Nothing more is asked of a function, which may go on for a while: what it says is dropped.
pub fn pass_over(source: Source) {
    source.response_complete();
    tokio::spawn(drain(source, 0, true, |_| {}));
}

/// Takes what a function says after its response, and drops it.
async fn drain(mut source: Source, mut extra: usize, discarded: bool, warn: impl Fn(&str)) {
    loop {
        match source.next().await {
            Some(StreamEvent::Data(data)) => extra += data.len(),
            Some(StreamEvent::HalfClose) => {}
            Some(StreamEvent::Ended(_)) | None => break,
        }
    }
    // The body of a HEAD is expected and dropped without a word.
    if extra > 0 && !discarded {
        warn(&format!(
            "{extra} bytes after the end of the response were dropped"
        ));
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Full(full) => Pin::new(full)
                .poll_frame(context)
                .map_err(|never| match never {}),
            Self::Answer(answer) => answer
                .poll(context)
                .map(|data| Some(data?.map(Frame::data))),
            Self::File(file) => file
                .poll_frame(context)
                .map_err(|error| Cut(error.to_string())),
            Self::Packed(packed) => packed.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(full) => full.is_end_stream(),
            Self::Answer(answer) => answer.framing.is_complete(),
            Self::File(file) => file.is_end_stream(),
            Self::Packed(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(full) => full.size_hint(),
            Self::Answer(answer) => match answer.framing {
                Framing::None => SizeHint::with_exact(0),
                Framing::Length(left) => SizeHint::with_exact(left),
                Framing::Chunked { .. } | Framing::UntilEnd => SizeHint::default(),
            },
            Self::File(file) => file.size_hint(),
            Self::Packed(_) => SizeHint::default(),
        }
    }
}
