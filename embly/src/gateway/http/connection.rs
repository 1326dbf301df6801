//! One client connection, with its requests one after the other.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::super::{Site, closed};
use super::exchange;
use crate::limits::{IDLE, Limits};

/// A client gets this long for the head of a request, and as long between two requests.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// A client that has not sent a whole head yet when the gateway closes gets this long.
const HEAD_WHEN_CLOSING: Duration = Duration::from_secs(1);

/// Requests of one HTTP/2 connection at the same time; browsers ask for about as many.
const STREAMS: u32 = 128;

/// An HTTP/2 client that is silent is asked so often whether it is there …
const PING_EVERY: Duration = Duration::from_secs(30);

/// … and answers within this time.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// hyper's own limits come first.
const A_LITTLE: Duration = Duration::from_secs(1);

/// The least buffer that hyper takes, in bytes.
const LEAST_BUFFER: usize = 8 * 1024;

/// The client of a connection: who it is, and whether it has reset the connection.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its address and port.
    pub at: SocketAddr,
    stream: Arc<TcpStream>,
    requests: Arc<Requests>,
    /// What the connection has become, where it is not HTTP any more.
    pub upgraded: TaskTracker,
    /// True when the gateway closes.
    pub closing: watch::Receiver<bool>,
}

/// Who asks, as far as one request is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The address that limits and rules count.
    pub ip: IpAddr,
    /// `http`, or `https`.
    pub scheme: &'static str,
}

impl Client {
    /// Who asks.
    pub fn asker(&self) -> Asker {
        Asker {
            ip: self.at.ip(),
            scheme: "http",
        }
    }

    /// Returns when the client has reset the connection. One that only ended its own side is
    /// still answered, and shows at the next write if it has gone.
    pub async fn reset(&self) {
        // An error of the poll itself means that the connection is of no more use.
        let _ = self.stream.ready(Interest::ERROR).await;
    }

    /// Counts a request as long as the result lives: until its answer is complete, or lost.
    pub fn request(&self) -> UnderWay {
        self.requests.one()
    }

    /// When the connection is closed, the client gets a reset.
    pub fn close_with_reset(&self) {
        // Fails for a connection that is gone, which is what is wanted.
        let _ = self.stream.set_zero_linger();
    }
}

/// Serves one connection until it ends, or until `closing` and its last answer.
pub async fn serve(
    site: Arc<Site>,
    stream: TcpStream,
    at: SocketAddr,
    closing: watch::Receiver<bool>,
) {
    let stream = Arc::new(stream);
    let client = Client {
        at,
        stream,
        requests: Arc::default(),
        upgraded: TaskTracker::new(),
        closing: closing.clone(),
    };
    let upgraded = client.upgraded.clone();
    http(site, client, closing).await;
    upgraded.close();
    upgraded.wait().await;
}

/// Serves its requests.
async fn http(site: Arc<Site>, client: Client, mut closing: watch::Receiver<bool>) {
    let stream = Arc::clone(&client.stream);
    let Limits {
        request_head: head_limit,
        idle,
        ..
    } = site.limits();
    let requests = Arc::clone(&client.requests);
    let service = service_fn(move |request| {
        let (site, client) = (Arc::clone(&site), client.clone());
        async move { exchange::handle(&site, &client, request).await }
    });
    // A head that is a little too long gets an answer that says so; hyper's own has no body.
    let head_most = LEAST_BUFFER.max(2 * head_limit as usize);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .half_close(true)
        .max_buf_size(head_most);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(head_most).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN);
    let mut connection = pin!(builder.serve_connection_with_upgrades(
        TokioIo::new(Shared::new(stream, idle.or(Some(IDLE)))),
        service
    ));
    // Whatever ends a connection early is the client's doing, and its request says so.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = closed(&mut closing) => connection.as_mut().graceful_shutdown(),
        // HTTP/1.1 has a time of its own for this; what has not said yet what it speaks has none, and
        // neither has HTTP/2 between two requests.
        () = requests.none_for(HEAD_WITHIN + A_LITTLE) => connection.as_mut().graceful_shutdown(),
    }
    let soon = timeout(HEAD_WHEN_CLOSING, connection.as_mut()).await;
    if soon.is_err() && requests.have_begun() {
        let _ = connection.await;
    }
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub struct Requests {
    /// Whose answers are not complete.
    under_way: AtomicUsize,
    /// In all.
    begun: AtomicUsize,
}

impl Requests {
    /// Counts one as long as the result lives.
    fn one(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    fn have_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// Returns when there was none, old or new, for so long.
    async fn none_for(&self, time: Duration) {
        let mut seen = self.begun.load(Ordering::Relaxed);
        loop {
            sleep(time).await;
            let begun = self.begun.load(Ordering::Relaxed);
            if std::mem::replace(&mut seen, begun) == begun
                && self.under_way.load(Ordering::Relaxed) == 0
            {
                return;
            }
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct UnderWay(Arc<Requests>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that hyper reads and writes while we watch it for errors. A client that takes nothing
/// for the time of `idle` is given up.
struct Shared {
    stream: Arc<TcpStream>,
    idle: Option<Duration>,
    /// Since a write has had to wait.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl AsyncRead for Shared {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(context))?;
            match self.stream.try_read(buffer.initialize_unfilled()) {
                Ok(bytes) => {
                    buffer.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Shared {
    fn new(stream: Arc<TcpStream>, idle: Option<Duration>) -> Self {
        Self {
            stream,
            idle,
            stalled: None,
        }
    }

    fn poll_with(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        while let Poll::Ready(ready) = self.stream.poll_write_ready(context) {
            ready?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    self.stalled = None;
                    return Poll::Ready(result);
                }
            }
        }
        let Some(idle) = self.idle else {
            return Poll::Pending;
        };
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(idle)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Shared {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(rustix::net::shutdown(
            &*self.stream,
            rustix::net::Shutdown::Write,
        )?))
    }
}
