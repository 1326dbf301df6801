//! One client connection, with its requests one after the other.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Uri};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::super::{Patience, Peer, Site, Socket, Stream, Transport, closed};
use super::exchange::NoAnswer;
use super::phases::{Late, Requests, UnderWay, Watched};
use super::taken::{Streams, watched};
use super::{exchange, forwarded};
use crate::limits::{IDLE, Limits};

/// A client that has not sent a whole head yet when the gateway closes gets this long.
const HEAD_WHEN_CLOSING: Duration = Duration::from_secs(1);

/// Requests of one HTTP/2 connection at the same time; browsers ask for about as many.
const STREAMS: u32 = 128;

/// An HTTP/2 client that is silent is asked so often whether it is there …
const PING_EVERY: Duration = Duration::from_secs(30);

/// … and answers within this time.
const PONG_WITHIN: Duration = Duration::from_secs(20);

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
    patience: Patience,
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

    /// Its address, or what stands for one.
    pub fn host(&self) -> String {
        match self.peer {
            Peer::Unix => self.peer.to_string(),
            Peer::Ip(_) => self.asker.ip.to_string(),
        }
    }

    /// Returns when the client has reset the connection. One that only ended its own side is
    /// still answered, and shows at the next write if it has gone.
    pub async fn reset(&self) {
        self.socket.reset().await;
    }

    /// Counts a request as long as the result lives: until its answer is complete, or lost, and
    /// its body is there.
    pub fn request(&self) -> UnderWay {
        self.requests.one()
    }

    /// When the connection is closed, the client gets a reset.
    pub fn close_with_reset(&self) {
        self.socket.close_with_reset();
    }
}

/// Serves one connection until it ends, or until `closing` and its last answer. Clients are met as this
/// transport says.
pub async fn serve(
    site: Arc<Site>,
    transport: Arc<Transport>,
    socket: Socket,
    peer: Peer,
    mut closing: watch::Receiver<bool>,
) {
    let Limits {
        request_head: head_limit,
        idle,
        ..
    } = site.limits();
    let idle = idle.or(Some(IDLE));
    let patience = Patience::of(idle);
    let meeting = transport.meet(socket.clone(), peer, patience.clone());
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
        patience,
        upgraded: TaskTracker::new(),
        closing: closing.clone(),
    };
    let upgraded = client.upgraded.clone();
    let head_limit = head_limit as usize;
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
    let timeouts = client.transport.timeouts;
    let stream = Watched::new(stream, Arc::clone(&requests));
    let service = service_fn(move |request| {
        let (site, client) = (Arc::clone(&site), client.clone());
        async move {
            let answer = exchange::handle(&site, &client, request).await?;
            Ok::<_, NoAnswer>(watched(answer, &client.patience, idle))
        }
    });
    // A head that is a little too long gets an answer that says so; hyper's own has no body.
    let head_most = LEAST_BUFFER.max(2 * head_limit);
    let mut builder = auto::Builder::new(Streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        // It does not tell a head from a wait for one.
        .header_read_timeout(None)
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
    let late = tokio::select! {
        _ = connection.as_mut() => return,
        () = closed(&mut closing) => Late::Quiet,
        late = requests.late(&timeouts) => late,
    };
    match late {
        Late::Head => return,
        Late::Quiet => connection.as_mut().graceful_shutdown(),
    }
    let soon = timeout(HEAD_WHEN_CLOSING, connection.as_mut()).await;
    if soon.is_err() && requests.have_begun() {
        tokio::select! {
            _ = connection => {}
            () = requests.over(idle) => {}
        }
    }
}
