//! The access line of one request: written when its answer is complete, or lost.

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderValue, Version};
use protos::{Address, Reason};

use super::super::Gateway;
use super::connection::Client;
use super::phases::UnderWay;
use crate::report::{self, Event};
use crate::wrapper::Counted;

/// The status that is logged where the client left before there was one, as nginx does.
const CLIENT_GONE: u16 = 499;

/// Collects what is known of a request, and reports it when dropped.
#[derive(Debug)]
pub struct Access {
    gateway: Arc<Gateway>,
    client: Client,
    method: String,
    path: String,
    /// Its function; `-` for an answer that is the gateway's own.
    pub function: Arc<str>,
    request_id: HeaderValue,
    since: Instant,
    version: Version,
    _under_way: UnderWay,
    /// The invocation.
    pub address: Option<Address>,
    /// The status that was sent.
    pub status: Option<u16>,
    /// Bytes of body that were handed out.
    pub bytes: u64,
    /// Bytes that were sent, where the body is compressed on its way.
    pub sent: Option<u64>,
    /// Why it is not the function's own complete answer. Client gone, until it is complete.
    pub reason: Option<Reason>,
}

impl Access {
    /// A request that has just come.
    pub fn new<T>(
        gateway: &Arc<Gateway>,
        client: &Client,
        request: &http::Request<T>,
        request_id: HeaderValue,
    ) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            client: client.clone(),
            method: request.method().to_string(),
            path: request
                .uri()
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            function: Arc::from("-"),
            request_id,
            since: Instant::now(),
            version: request.version(),
            _under_way: client.request(),
            address: None,
            status: None,
            bytes: 0,
            sent: None,
            reason: Some(Reason::ClientGone),
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let access = report::Access {
            gateway: &self.gateway.name,
            client: self.client.shown(),
            method: &self.method,
            path: &self.path,
            version: version(self.version),
            status: self.status.unwrap_or(CLIENT_GONE),
            bytes: self.sent.unwrap_or(self.bytes),
            total_us: u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX),
            function: &self.function,
            address: self.address,
            request_id: self.request_id.to_str().unwrap_or_default(),
            reason: self.reason,
        };
        self.gateway
            .switchboard
            .reporter()
            .event(&Event::Access(access));
    }
}

impl Access {
    /// Counts the descriptor of a file that is the answer, as long as the result lives.
    pub fn file(&self) -> Counted {
        self.gateway.switchboard.file()
    }

    /// Returns when the client has reset the connection.
    pub fn client_reset(&self) -> impl Future<Output = ()> + Send + 'static {
        let client = self.client.clone();
        async move { client.reset().await }
    }

    /// The answer is not complete and never will be; the connection is about to be closed.
    pub fn cut(&mut self, reason: Reason) {
        self.reason = Some(reason);
        // To HTTP/1.0 an answer ends where the connection does: only a reset looks different.
        if self.version == Version::HTTP_10 {
            self.client.close_with_reset();
        }
    }

    /// Warns about this request's function, later and from elsewhere.
    pub fn warner(&self) -> impl Fn(&str) + Send + 'static {
        let reporter = self.gateway.switchboard.reporter().clone();
        let (function, address) = (Arc::clone(&self.function), self.address);
        move |text| {
            let address = address
                .map(|address| address.to_string())
                .unwrap_or_default();
            reporter.info(format!("{function} {address}: {text}"));
        }
    }
}

/// As it stands in a request line.
fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        // hyper speaks no other.
        _ => "HTTP/1.1",
    }
}
