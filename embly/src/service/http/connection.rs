//! One connection to a server: HTTP/1.1 for one request at a time, HTTP/2 for several.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use http::header::{self, HeaderValue};
use http::uri::Authority;
use http::{Request, Response, Uri};
use hyper::body::{Body, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;

use super::body::Upload;
use super::request::HEADERS_MAX;

/// What is read at once beyond a head, by the library and by the system.
const READ_AHEAD: usize = 64 * 1024;

/// Requests at the same time on one connection of HTTP/2.
pub const STREAMS: usize = 16;

/// Bytes under way to us on a stream of HTTP/2: with 50 ms there and back, 5 MB a second.
const STREAM_WINDOW: u32 = 256 * 1024;

/// Bytes under way on a connection: all its streams can fill theirs, so that a reader who waits does
/// not hold up the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;

/// What is written and not sent yet, for each stream of HTTP/2.
const SEND_BUFFER: usize = 64 * 1024;

/// Ends the connection when it is dropped.
#[derive(Debug)]
pub struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends requests on a connection.
#[derive(Debug)]
pub enum Sender {
    /// One after the other.
    One(http1::SendRequest<Upload>, Allowance),
    /// Several at once; clones use the same connection.
    Many(http2::SendRequest<Upload>),
}

/// Why a request was not answered.
#[derive(Debug)]
pub struct Unanswered {
    /// What the library says.
    pub error: hyper::Error,
    /// The request, if nothing of it was sent.
    pub unsent: Option<Request<Upload>>,
    /// More was sent before the head than a head may have.
    pub flooded: bool,
}

impl Sender {
    /// Sends a request and waits for the head of its response.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn send(
        &mut self,
        mut request: Request<Upload>,
    ) -> Result<Response<Incoming>, Box<Unanswered>> {
        let uri = request.uri().clone();
        let sent = match self {
            Self::One(sender, allowance) => {
                // As they stand in the head, which is what the library takes them for.
                let path = uri.path_and_query().cloned();
                *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
                let host = uri.authority().map_or("", Authority::as_str);
                if let Ok(host) = HeaderValue::from_str(host) {
                    request.headers_mut().insert(header::HOST, host);
                }
                // With `GET` it sends no body unless this is said.
                if !request.body().is_end_stream() {
                    let (name, value) = match request.body().size_hint().exact() {
                        Some(length) => (header::CONTENT_LENGTH, length.into()),
                        None => (
                            header::TRANSFER_ENCODING,
                            HeaderValue::from_static("chunked"),
                        ),
                    };
                    request.headers_mut().insert(name, value);
                }
                allowance.begin();
                let sent = sender.try_send_request(request).await;
                if sent.is_ok() {
                    allowance.lift();
                }
                sent
            }
            Self::Many(sender) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut error| {
            let mut unsent = error.take_message();
            if let Some(request) = &mut unsent {
                *request.uri_mut() = uri;
                for name in [
                    header::HOST,
                    header::CONTENT_LENGTH,
                    header::TRANSFER_ENCODING,
                ] {
                    request.headers_mut().remove(name);
                }
            }
            Box::new(Unanswered {
                error: error.into_error(),
                unsent,
                flooded: matches!(self, Self::One(_, allowance) if allowance.is_exhausted()),
            })
        })
    }

    /// Waits until another request can be sent.
    ///
    /// # Errors
    /// When there cannot be another one.
    pub async fn ready(&mut self) -> Result<(), hyper::Error> {
        match self {
            Self::One(sender, _) => sender.ready().await,
            Self::Many(sender) => sender.ready().await,
        }
    }

    /// Whether another request can be sent at once.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::One(sender, _) => sender.is_ready(),
            Self::Many(sender) => sender.is_ready(),
        }
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::One(sender, _) => sender.is_closed(),
            Self::Many(sender) => sender.is_closed(),
        }
    }
}

/// Begins HTTP on a stream; `many` for version 2. `head` is the most that a head may have, `held` is
/// kept as long as the stream is open.
///
/// # Errors
/// When the other side does not begin.
pub async fn begin<S>(
    stream: S,
    many: bool,
    head: u32,
    held: impl Send + 'static,
) -> Result<(Sender, Driver), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if many {
        let io = TokioIo::new(stream);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(head)
            .max_send_buf_size(SEND_BUFFER)
            .initial_max_send_streams(STREAMS);
        let (sender, connection) = builder.handshake(io).await?;
        let driver = tokio::spawn(async move {
            let _held = held;
            // How it ended is told to whoever had a request on it.
            let _ = connection.await;
        });
        return Ok((Sender::Many(sender), Driver(driver.abort_handle())));
    }
    let allowance = Allowance::new(head as usize + READ_AHEAD);
    let io = TokioIo::new(Metered {
        stream,
        allowance: allowance.clone(),
    });
    let mut builder = http1::Builder::new();
    builder
        .max_headers(HEADERS_MAX)
        .max_header_size(head as usize)
        .max_buf_size((head as usize).max(READ_AHEAD));
    let (sender, connection) = builder.handshake(io).await?;
    let driver = tokio::spawn(async move {
        let _held = held;
        let _ = connection.await;
    });
    Ok((
        Sender::One(sender, allowance),
        Driver(driver.abort_handle()),
    ))
}

/// Bytes that may still be read: a server may send any number of interim responses before the one
/// that counts, and all of them together are as long as a head may be.
#[derive(Debug, Clone)]
pub struct Allowance {
    left: Arc<AtomicUsize>,
    most: usize,
}

impl Allowance {
    fn new(most: usize) -> Self {
        Self {
            left: Arc::new(AtomicUsize::new(most)),
            most,
        }
    }

    fn begin(&self) {
        self.left.store(self.most, Ordering::Relaxed);
    }

    /// Bodies have limits of their own.
    fn lift(&self) {
        self.left.store(usize::MAX, Ordering::Relaxed);
    }

    fn is_exhausted(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    fn take(&self, bytes: usize) {
        let left = self.left.load(Ordering::Relaxed);
        if left != usize::MAX {
            self.left
                .store(left.saturating_sub(bytes), Ordering::Relaxed);
        }
    }
}

/// A stream of which only so much is read.
struct Metered<S> {
    stream: S,
    allowance: Allowance,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.allowance.is_exhausted() {
            return Poll::Ready(Err(io::Error::other("it sends more than a head may have")));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.allowance.take(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
