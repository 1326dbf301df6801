//! One client connection, with its requests one after the other.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Request, Uri};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use super::super::{Peer, Site, Socket, Stream, Transport, closed};
use super::{exchange, forwarded};
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

/// The client of a connection, or of a request on it: who it is, and whether it has reset the
/// connection.
#[derive(Debug, Clone)]
pub struct Client {
    peer: Peer,
    asker: Asker,
    /// The id that a proxy has given the request.
    pub request_id: Option<HeaderValue>,
    transport: Arc<Transport>,
    socket: Socket,
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
    /// Its port, where that is known.
    pub port: Option<u16>,
    /// `http`, or `https`.
    pub scheme: &'static str,
}

impl Client {
    /// Who asks.
    pub fn asker(&self) -> Asker {
        self.asker
    }

    /// The client as far as this request is concerned, which a proxy may pass on for somebody else;
    /// the request has nothing of what proxies say but what is believed.
    pub fn of<T>(&self, request: &mut Request<T>) -> Self {
        let proxies = &self.transport.proxies;
        let believed = forwarded::settle(request.headers_mut(), self.peer, proxies);
        let mut client = self.clone();
        if let Some((ip, port)) = believed.client {
            (client.asker.ip, client.asker.port) = (ip, port);
            client.peer = Peer::Ip((ip, port.unwrap_or_default()).into());
        }
        client.asker.scheme = believed.scheme.unwrap_or(client.asker.scheme);
        client.request_id = believed.id;
        // A target that names its host counts more than the header.
        if let Some(host) = believed.host
            && request.uri().authority().is_some()
        {
            let mut parts = request.uri().clone().into_parts();
            parts.authority = host.parse().ok();
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
        client
    }

    /// Who asks, for people.
    pub fn shown(&self) -> String {
        match (self.peer, self.asker.port) {
            (Peer::Unix, _) => self.peer.to_string(),
            (_, Some(port)) => SocketAddr::new(self.asker.ip, port).to_string(),
            (_, None) => self.asker.ip.to_string(),
        }
    }

    /// Returns when the client has reset the connection. One that only ended its own side is
    /// still answered, and shows at the next write if it has gone.
    pub async fn reset(&self) {
        self.socket.reset().await;
    }

    /// Counts a request as long as the result lives: until its answer is complete, or lost.
    pub fn request(&self) -> UnderWay {
        self.requests.one()
    }

    /// Notes that a request is answered with a file, as long as the result lives.
    pub fn file(&self) -> FileUnderWay {
        self.requests.file()
    }

    /// When the connection is closed, the client gets a reset.
    pub fn close_with_reset(&self) {
        self.socket.close_with_reset();
    }
}

/// Serves one connection until it ends, or until `closing` and its last answer.
pub async fn serve(
    site: Arc<Site>,
    socket: Socket,
    peer: Peer,
    mut closing: watch::Receiver<bool>,
) {
    let Limits {
        request_head: head_limit,
        idle,
        ..
    } = site.limits();
    let transport = site.transport();
    let meeting = transport.meet(socket.clone(), peer, idle.or(Some(IDLE)));
    let met = tokio::select! {
        met = meeting => met,
        () = async {
            closed(&mut closing).await;
            sleep(HEAD_WHEN_CLOSING).await;
        } => return,
    };
    let met = match met {
        Ok(met) => met,
        Err(error) => return site.first().not_met(peer, &error),
    };
    let client = Client {
        peer: met.peer,
        asker: Asker {
            ip: met.peer.ip(),
            port: met.peer.port(),
            scheme: if met.stream.is_secure() {
                "https"
            } else {
                "http"
            },
        },
        request_id: None,
        transport,
        socket,
        requests: Arc::default(),
        upgraded: TaskTracker::new(),
        closing: closing.clone(),
    };
    let upgraded = client.upgraded.clone();
    let head_limit = head_limit as usize;
    let idle = idle.or(Some(IDLE));
    serve_stream(site, met.stream, client, head_limit, idle, closing).await;
    upgraded.close();
    upgraded.wait().await;
}

async fn serve_stream(
    site: Arc<Site>,
    stream: Stream,
    client: Client,
    head_limit: usize,
    idle: Option<Duration>,
    mut closing: watch::Receiver<bool>,
) {
    let requests = Arc::clone(&client.requests);
    let service = service_fn(move |request| {
        let (site, client) = (Arc::clone(&site), client.clone());
        async move { exchange::handle(&site, &client, request).await }
    });
    // A head that is a little too long gets an answer that says so; hyper's own has no body.
    let head_most = LEAST_BUFFER.max(2 * head_limit);
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
    let mut connection =
        pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    // Whatever ends a connection early is the client's doing, and its request says so.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = closed(&mut closing) => connection.as_mut().graceful_shutdown(),
        // HTTP/1.1 has a time of its own for this; what has not said yet what it speaks has none, and
        // neither has HTTP/2 between two requests.
        () = requests.none_for(HEAD_WITHIN + A_LITTLE) => connection.as_mut().graceful_shutdown(),
        () = requests.files_stand_still(idle) => return,
    }
    let soon = timeout(HEAD_WHEN_CLOSING, connection.as_mut()).await;
    if soon.is_err() && requests.have_begun() {
        tokio::select! {
            _ = connection => {}
            () = requests.files_stand_still(idle) => {}
        }
    }
}

/// The requests of one connection.
#[derive(Debug, Default)]
pub struct Requests {
    /// Whose answers are not complete.
    under_way: AtomicUsize,
    /// In all.
    begun: AtomicUsize,
    files: Mutex<Files>,
}

/// Answers that are files.
#[derive(Debug)]
struct Files {
    /// Not complete.
    under_way: usize,
    /// When a piece of one was taken last, or the first of them began.
    moved: Instant,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            under_way: 0,
            moved: Instant::now(),
        }
    }
}

impl Requests {
    /// Counts one as long as the result lives.
    fn one(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    fn file(self: &Arc<Self>) -> FileUnderWay {
        self.with_files(|files| {
            if files.under_way == 0 {
                files.moved = Instant::now();
            }
            files.under_way += 1;
        });
        FileUnderWay(Arc::clone(self))
    }

    fn with_files<T>(&self, look: impl FnOnce(&mut Files) -> T) -> T {
        look(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when the client has taken nothing of any file for so long, and waits for nothing else.
    async fn files_stand_still(&self, time: Option<Duration>) {
        let Some(time) = time else {
            return std::future::pending().await;
        };
        loop {
            let (files, moved) = self.with_files(|files| (files.under_way, files.moved));
            let left = (moved + time).saturating_duration_since(Instant::now());
            if files == 0 {
                sleep(time).await;
            } else if !left.is_zero() {
                sleep(left).await;
            } else if files == self.under_way.load(Ordering::Relaxed) {
                return;
            } else {
                sleep(time).await;
            }
        }
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

/// A request that is being answered with a file.
#[derive(Debug)]
pub struct FileUnderWay(Arc<Requests>);

impl FileUnderWay {
    /// The client takes a piece of it.
    pub fn moves(&self) {
        self.0.with_files(|files| files.moved = Instant::now());
    }
}

impl Drop for FileUnderWay {
    fn drop(&mut self) {
        self.0.with_files(|files| files.under_way -= 1);
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
