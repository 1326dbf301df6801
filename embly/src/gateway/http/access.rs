//! The access line of one request: written when its answer is complete, or lost, and its invocation
//! has ended.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use http::header::{REFERER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Version};
use protos::{Address, Reason};

use super::super::Gateway;
use super::connection::Client;
use super::phases::UnderWay;
use crate::report::{self, Event, Used, Visit};
use crate::switchboard::{Requested, Told};
use crate::wrapper::Counted;

/// The status that is logged where the client left before there was one, as nginx does.
const CLIENT_GONE: u16 = 499;

/// Collects what is known of a request; when it is dropped, the answer is over.
#[derive(Debug)]
pub struct Access {
    gateway: Arc<Gateway>,
    client: Client,
    method: Method,
    path: Option<PathAndQuery>,
    /// Its function; `-` for an answer that is the gateway's own.
    pub function: Arc<str>,
    request_id: HeaderValue,
    since: Instant,
    version: Version,
    /// What only files of access lines have.
    visit: Option<Box<Visitor>>,
    _under_way: UnderWay,
    /// The build that was served as the request came, where somebody works on the project.
    pub build: Option<String>,
    /// The invocation.
    pub address: Option<Address>,
    invocation: Option<Arc<Both>>,
    /// The status that was sent.
    status: Option<u16>,
    /// The request as traces have it, once an invocation was started for it.
    requested: Option<Arc<Requested>>,
    /// Bytes of body that were handed out.
    pub bytes: u64,
    /// Bytes that were sent, where the body is compressed on its way.
    pub sent: Option<u64>,
    /// Bytes of the request's body, as they are taken.
    pub taken: Arc<AtomicU64>,
    /// Why it is not the function's own complete answer. Client gone, until it is complete.
    pub reason: Option<Reason>,
}

#[derive(Debug)]
struct Visitor {
    time: SystemTime,
    user: Option<String>,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
}

impl Access {
    /// A request that has just come.
    pub fn new<T>(
        gateway: &Arc<Gateway>,
        client: &Client,
        request: &http::Request<T>,
        request_id: HeaderValue,
    ) -> Self {
        let logs = gateway.behind().access_log.is_some();
        let header = |name| request.headers().get(name).cloned();
        Self {
            gateway: Arc::clone(gateway),
            client: client.clone(),
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
            function: nobody(),
            request_id,
            since: Instant::now(),
            version: request.version(),
            visit: logs.then(|| {
                Box::new(Visitor {
                    time: SystemTime::now(),
                    user: None,
                    referer: header(REFERER),
                    user_agent: header(USER_AGENT),
                })
            }),
            _under_way: client.request(),
            build: gateway.dev.as_ref().map(|bench| bench.build()),
            address: None,
            invocation: None,
            status: None,
            requested: None,
            bytes: 0,
            sent: None,
            taken: Arc::default(),
            reason: Some(Reason::ClientGone),
        }
    }

    /// The answer has this status.
    pub fn answers(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
        if let Some(requested) = &self.requested {
            requested.answered(status.as_u16());
        }
    }

    /// The answer stands in place of a handler that has returned an error.
    pub fn handler_failed(&self) {
        if let Some(requested) = &self.requested {
            requested.failed();
        }
    }

    /// The request, for the trace of an invocation that is started for it.
    pub fn requested(&mut self) -> Arc<Requested> {
        let requested = self.requested.get_or_insert_with(|| {
            let path = self.path.as_ref().map_or("/", PathAndQuery::as_str);
            let masks = self.gateway.switchboard.reporter().masks();
            Requested::new(self.method.as_str(), &masks.mask(path))
        });
        Arc::clone(requested)
    }

    /// Method and target.
    pub fn asked(&self) -> String {
        let path = self.path.as_ref().map_or("/", PathAndQuery::as_str);
        format!("{} {path}", self.method)
    }

    /// The path, without a query.
    pub fn path(&self) -> &str {
        self.path.as_ref().map_or("/", PathAndQuery::path)
    }

    /// Whether the request may be made again without a word.
    pub fn is_get(&self) -> bool {
        self.method == Method::GET
    }

    /// Notes who asks, of what the function is told of that.
    pub fn user(&mut self, told: &[(String, String)]) {
        let user = told.iter().find(|(name, _)| name == "embly-user");
        if let (Some(visit), Some((_, user))) = (&mut self.visit, user) {
            visit.user = Some(user.clone());
        }
    }

    /// The function in front has let the request pass: the line is about what answers it.
    pub fn passed(&mut self) {
        self.function = nobody();
        self.address = None;
        self.invocation = None;
    }

    /// The line waits for an invocation, which tells what it has used.
    pub fn waits(&mut self) -> Told {
        let both = Arc::new(Both::default());
        self.invocation = Some(Arc::clone(&both));
        let ending = Ending(both);
        Told(Box::new(move |used| ending.0.ended(Some(used))))
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let status = self.status.unwrap_or(CLIENT_GONE);
        if let Some(requested) = &self.requested {
            requested.answered(status);
        }
        let line = Line {
            gateway: Arc::clone(&self.gateway),
            client: self.client.shown(),
            host: self.client.host(),
            method: std::mem::take(&mut self.method),
            path: self.path.take(),
            version: version(self.version),
            status,
            bytes: self.sent.unwrap_or(self.bytes),
            taken: Arc::clone(&self.taken),
            total_us: u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX),
            function: Arc::clone(&self.function),
            address: self.address,
            request_id: self.request_id.clone(),
            reason: self.reason,
            visit: self.visit.take(),
        };
        match self.invocation.take() {
            Some(both) => both.answered(line),
            None => line.write(None),
        }
    }
}

/// An answer and its invocation: whichever is over last writes the line.
#[derive(Debug, Default)]
struct Both(Mutex<Half>);

#[derive(Debug, Default)]
enum Half {
    /// Both go on.
    #[default]
    None,
    Answer(Box<Line>),
    Invocation(Option<Used>),
}

impl Both {
    fn answered(&self, line: Line) {
        let used = {
            let mut half = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match &*half {
                Half::Invocation(used) => *used,
                Half::None | Half::Answer(_) => {
                    *half = Half::Answer(Box::new(line));
                    return;
                }
            }
        };
        line.write(used);
    }

    fn ended(&self, used: Option<Used>) {
        let line = {
            let mut half = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Half::Invocation(_) = &*half {
                return;
            }
            std::mem::replace(&mut *half, Half::Invocation(used))
        };
        if let Half::Answer(line) = line {
            line.write(used);
        }
    }
}

/// What is told of an invocation. One that never began tells nothing, and nobody waits for it.
struct Ending(Arc<Both>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended(None);
    }
}

/// All that is known of a request when its answer is over.
#[derive(Debug)]
struct Line {
    gateway: Arc<Gateway>,
    client: String,
    host: String,
    method: Method,
    path: Option<PathAndQuery>,
    version: &'static str,
    status: u16,
    bytes: u64,
    taken: Arc<AtomicU64>,
    total_us: u64,
    function: Arc<str>,
    address: Option<Address>,
    request_id: HeaderValue,
    reason: Option<Reason>,
    visit: Option<Box<Visitor>>,
}

impl Line {
    fn write(self, used: Option<Used>) {
        let access = report::Access {
            gateway: &self.gateway.name,
            client: self.client,
            method: self.method.as_str(),
            path: self.path.as_ref().map_or("/", PathAndQuery::as_str),
            version: self.version,
            status: self.status,
            bytes: self.bytes,
            bytes_in: self.taken.load(Ordering::Relaxed),
            total_us: self.total_us,
            function: &self.function,
            address: self.address,
            request_id: self.request_id.to_str().unwrap_or_default(),
            reason: self.reason,
            used,
        };
        let reporter = self.gateway.switchboard.reporter();
        if let (Some(visit), Some(log)) = (&self.visit, &self.gateway.behind().access_log) {
            let visit = Visit {
                time: visit.time,
                host: &self.host,
                user: visit.user.as_deref(),
                referer: visit.referer.as_ref().map(HeaderValue::as_bytes),
                user_agent: visit.user_agent.as_ref().map(HeaderValue::as_bytes),
            };
            log.write(&access, &visit, reporter.masks());
        }
        reporter.event(&Event::Access(access));
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

    /// The client did not take the whole answer, whoever gave it.
    pub fn not_taken(&mut self) {
        self.reason.get_or_insert(Reason::ClientGone);
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

/// The function of an answer that is the gateway's own.
fn nobody() -> Arc<str> {
    Arc::from("-")
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
