//! The admin API of a running master: what it does, and what it can be asked to do, for the user who
//! runs it. HTTP/1.1 and JSON on a Unix socket in its folder of sockets. Metrics and health, and nothing
//! else, on an address where somebody wants them.

pub mod api;
mod deploy;
mod endpoint;
mod listener;
mod metrics;
mod openapi;
mod schema;
mod server;
mod traces;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Context;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use protos::Address;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use crate::report::Wanted;
use crate::switchboard::{Running, Switchboard};
use crate::versions::Arrived;
pub use deploy::{Deploys, kept};
pub use endpoint::{BAD_BUNDLE, BUILD_FAILED, Code, NOT_KEPT, NOT_SERVED, PROJECT_FILE, UNHEALTHY};
use endpoint::{Endpoint, Operation, Segment};
pub use openapi::document;
use server::{Body, failed, failed_with, json};
use traces::NotFound;

/// The socket in a master's folder of sockets.
pub const SOCKET: &str = "admin.sock";

/// Reloads and deployments that are waited for: one is under way, and another may begin after the last
/// change.
const CHANGES: usize = 8;

/// What has come of a reload: what is to be said of the project all the same, or why it is served as
/// it was.
pub type Reloaded = Result<Vec<serde_json::Value>, Unchanged>;

/// Why a project is served as it was.
#[derive(Debug, Clone)]
pub struct Unchanged {
    /// What kind of failure it is.
    pub code: &'static Code,
    /// What happened.
    pub message: String,
    /// The problems of the project file.
    pub problems: Vec<serde_json::Value>,
}

/// Somebody wants the project read again, and to hear what has come of it.
pub type Reload = oneshot::Sender<Reloaded>;

/// Somebody wants another version served.
#[derive(Debug)]
pub struct Activate {
    /// Which one.
    pub version: Wants,
    /// What has come of it.
    pub done: oneshot::Sender<Result<api::Deployed, Unchanged>>,
}

/// The version that somebody wants.
#[derive(Debug)]
pub enum Wants {
    /// A new one.
    Arrived(Arrived),
    /// One that was served before.
    Kept(u64),
}

/// What is done one after the other.
#[derive(Debug)]
pub enum Change {
    /// Read the project again.
    Reload(Reload),
    /// Serve another version.
    Activate(Activate),
}

/// What a master is asked to do by way of the admin API: the side that asks.
#[derive(Debug, Clone)]
pub struct Asks {
    changes: mpsc::Sender<Change>,
    stops: mpsc::UnboundedSender<()>,
}

impl Asks {
    /// Asks for the end, as a signal does.
    pub fn stop(&self) {
        // Whoever is asked may have gone.
        let _ = self.stops.send(());
    }
}

/// The side that is asked: whoever started the master.
#[derive(Debug)]
pub struct Asked {
    /// Serve something else, and say what has come of it.
    pub changes: mpsc::Receiver<Change>,
    /// Stop, as at a signal.
    pub stops: mpsc::UnboundedReceiver<()>,
}

/// Both sides.
pub fn asks() -> (Asks, Asked) {
    let (changes, changes_asked) = mpsc::channel(CHANGES);
    let (stops, stops_asked) = mpsc::unbounded_channel();
    let asked = Asked {
        changes: changes_asked,
        stops: stops_asked,
    };
    (Asks { changes, stops }, asked)
}

/// What the master serves now.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// It has served a project at least once.
    pub ready: bool,
    /// Its gateways.
    pub gateways: Vec<api::Gateway>,
}

/// Answers for one master.
#[derive(Debug)]
pub struct Admin {
    identity: Identity,
    since: Timestamp,
    switchboard: Arc<Switchboard>,
    asks: Asks,
    /// Where versions are kept, if they can be deployed.
    deploys: Option<Deploys>,
    served: Mutex<Served>,
    /// Where metrics are, if anywhere.
    listens: OnceLock<String>,
}

/// Who a master is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name of its folder of sockets.
    pub id: String,
    /// The project file.
    pub project: String,
    /// `run` or `dev`.
    pub command: &'static str,
    /// The environment that is served, if one was named.
    pub environment: Option<String>,
}

impl Admin {
    /// Answers for this master.
    pub fn new(
        identity: Identity,
        switchboard: Arc<Switchboard>,
        asks: Asks,
        deploys: Option<Deploys>,
    ) -> Arc<Self> {
        Arc::new(Self {
            identity,
            since: Timestamp::now(),
            switchboard,
            asks,
            deploys,
            served: Mutex::default(),
            listens: OnceLock::new(),
        })
    }

    /// What is served from now on.
    pub fn serves(&self, served: Served) {
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = served;
    }

    /// What is served now.
    pub fn served(&self) -> Served {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.clone()
    }

    /// Answers on this socket from now on.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(self: &Arc<Self>, socket: &Path) -> io::Result<()> {
        let listener = UnixListener::bind(socket)?;
        let admin = Arc::clone(self);
        let accept =
            move |context: &mut Context<'_>| listener.poll_accept(context).map_ok(|it| it.0);
        tokio::spawn(server::serve(accept, move |stream| {
            let admin = Arc::clone(&admin);
            async move {
                let stranger = stranger(&stream);
                let answer = |request| admin.answer(request, stranger);
                server::connection(stream, answer).await;
            }
        }));
        Ok(())
    }

    async fn answer(&self, request: Request<Incoming>, stranger: Option<u32>) -> Response<Body> {
        if let Some(uid) = stranger {
            let message = format!("this master belongs to another user than you, uid {uid}");
            return failed(&endpoint::OTHER_USER, message);
        }
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let mut methods = Vec::new();
        for (endpoint, segment) in endpoint::at(path) {
            if endpoint.method == parts.method {
                let query = parts.uri.query().unwrap_or_default();
                return match self.do_it(endpoint, segment, query, body).await {
                    Ok(response) | Err(response) => response,
                };
            }
            methods.push(endpoint.method.as_str());
        }
        if methods.is_empty() {
            return failed(&endpoint::UNKNOWN_PATH, format!("there is no `{path}`"));
        }
        let message = format!("`{path}` is for {} only", methods.join(" and "));
        server::allow(failed(&endpoint::WRONG_METHOD, message), &methods)
    }

    async fn do_it(
        &self,
        endpoint: &'static Endpoint,
        segment: Segment<'_>,
        query: &str,
        body: Incoming,
    ) -> Result<Response<Body>, Response<Body>> {
        let asked = self.query(endpoint, query)?;
        let status = endpoint.status;
        Ok(match endpoint.operation {
            Operation::Master => json(status, &self.master()),
            Operation::Invocations => json(status, &self.invocations().await),
            Operation::Functions => json(status, &self.functions()),
            Operation::OpenApi => json(status, &openapi::document()),
            Operation::Events | Operation::Logs => {
                let logs = endpoint.operation == Operation::Logs;
                if !logs && !asked.follow {
                    let message = "events are not kept: add `?follow` to get those that come";
                    return Err(failed(&endpoint::BAD_PARAMETER, message));
                }
                let Query { wanted, follow, .. } = asked;
                let wanted = Wanted { logs, ..wanted };
                server::lines(self.switchboard.reporter().follow(wanted, follow))
            }
            Operation::Traces => json(status, &self.traces(asked.wanted.function).await),
            Operation::Trace => self.trace(status, segment.unwrap_or_default()).await,
            Operation::Kill => self.kill(status, segment.unwrap_or_default()),
            Operation::Reload => self.reload(status).await,
            Operation::Versions => self.versions(status).await?,
            Operation::Deploy => self.deploy(status, body).await?,
            Operation::Rollback => self.rollback(status, asked.version).await?,
            Operation::Stop => {
                let running = self.switchboard.running() as u64;
                // Whoever takes it lives as long as the master.
                let _ = self.asks.stops.send(());
                json(status, &api::Stopping { running })
            }
        })
    }

    /// What the query asks for.
    #[expect(clippy::result_large_err, reason = "made once for each request")]
    fn query(&self, endpoint: &Endpoint, query: &str) -> Result<Query, Response<Body>> {
        let wrong = |message: String| failed(&endpoint::BAD_PARAMETER, message);
        let mut asked = Query::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let known = endpoint.query.iter().any(|known| known.name == name);
            match &*name {
                _ if !known => {
                    return Err(wrong(format!("`{}` takes no `{name}`", endpoint.path)));
                }
                "follow" if value.is_empty() => asked.follow = true,
                "function" => asked.wanted.function = Some(self.function(&value)?),
                "address" => {
                    let address: Address = value.parse().map_err(bad_address)?;
                    asked.wanted.address = Some(address);
                }
                "since" => {
                    let since: Timestamp = value.parse().map_err(|error: jiff::Error| {
                        wrong(format!("`since` is no time: {error}"))
                    })?;
                    asked.wanted.since = Some(since);
                }
                "version" => {
                    let number = value.parse().map_err(|_| {
                        wrong("`version` is no number, as `embly versions` shows them".to_owned())
                    })?;
                    asked.version = Some(number);
                }
                _ => return Err(wrong(format!("`{name}` takes no value"))),
            }
        }
        Ok(asked)
    }

    #[expect(clippy::result_large_err, reason = "made once for each request")]
    fn function(&self, name: &str) -> Result<String, Response<Body>> {
        if self.switchboard.functions().get(name).is_some() {
            return Ok(name.to_owned());
        }
        let message = self.switchboard.functions().why_not(name);
        Err(failed(&endpoint::UNKNOWN_FUNCTION, message))
    }

    fn state(&self) -> &'static str {
        match (self.switchboard.is_stopping(), self.served().ready) {
            (true, _) => "stopping",
            (false, true) => "serving",
            (false, false) => "starting",
        }
    }

    fn master(&self) -> api::Master {
        let Identity {
            id,
            project,
            environment,
            command,
        } = self.identity.clone();
        api::Master {
            id,
            pid: u64::from(std::process::id()),
            project,
            environment,
            command: command.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: format!("{:.6}", self.since),
            state: self.state().to_owned(),
            gateways: self.served().gateways,
            admin_listen: self.listens.get().cloned(),
        }
    }

    /// What runs now.
    pub async fn invocations(&self) -> api::Invocations {
        let switchboard = Arc::clone(&self.switchboard);
        // Each is looked up in `/proc`, and there may be many.
        let work = move || {
            let running = switchboard.list();
            let shown = running.iter().map(|one| shown(one, &switchboard));
            shown.collect()
        };
        // A panic was printed.
        let invocations = tokio::task::spawn_blocking(work).await.unwrap_or_default();
        api::Invocations { invocations }
    }

    async fn traces(&self, function: Option<String>) -> api::Traces {
        let switchboard = Arc::clone(&self.switchboard);
        // There may be many.
        let work = move || traces::list(&switchboard, function.as_deref());
        // A panic was printed.
        let traces = tokio::task::spawn_blocking(work).await;
        traces.unwrap_or_else(|_| api::Traces { traces: Vec::new() })
    }

    async fn trace(&self, status: StatusCode, id: &str) -> Response<Body> {
        let id = percent_decode_str(id).decode_utf8_lossy().into_owned();
        let message = format!("nothing is kept of an invocation or a request `{id}`");
        let begin = id.clone();
        let switchboard = Arc::clone(&self.switchboard);
        let work = move || traces::find(&switchboard, &id);
        // A panic was printed.
        let found = tokio::task::spawn_blocking(work).await;
        match found.unwrap_or(Err(NotFound::Unknown)) {
            Ok(traced) => json(status, &traced),
            Err(NotFound::Unknown) => failed(&endpoint::UNKNOWN_TRACE, message),
            Err(NotFound::Several(which)) => {
                let message = format!("several begin with `{begin}`: {which}");
                failed(&endpoint::SEVERAL_TRACES, message)
            }
        }
    }

    fn functions(&self) -> api::Functions {
        let functions = self.switchboard.functions();
        let live = self.switchboard.live();
        let names = functions.names().into_iter();
        let shown = names.filter_map(|name| {
            let function = functions.get(&name)?;
            let figures = &function.figures;
            Some(api::Function {
                name: name.to_string(),
                live: live.get(&name).copied().unwrap_or_default() as u64,
                parked: function.parked() as u64,
                waiting: u64::from(function.waiting()),
                refused: figures.refusals(),
                ended: figures.ended.iter().map(|(_, count)| count).sum(),
            })
        });
        api::Functions {
            functions: shown.collect(),
        }
    }

    fn kill(&self, status: StatusCode, address: &str) -> Response<Body> {
        let address: Address = match address.parse() {
            Ok(address) => address,
            Err(error) => return bad_address(error),
        };
        match self.switchboard.kill(address) {
            Some(function) => {
                let killed = api::Killed {
                    address: address.to_string(),
                    function: function.to_string(),
                };
                json(status, &killed)
            }
            None => {
                let message = format!("no invocation with the address {address} runs");
                failed(&endpoint::UNKNOWN_ADDRESS, message)
            }
        }
    }

    async fn reload(&self, status: StatusCode) -> Response<Body> {
        let (reload, reloaded) = oneshot::channel();
        match self.change(Change::Reload(reload), reloaded).await {
            Ok(problems) => json(status, &api::Reloaded { problems }),
            Err(response) => response,
        }
    }

    /// Has something else served, and waits for what comes of it.
    async fn change<T>(
        &self,
        change: Change,
        done: oneshot::Receiver<Result<T, Unchanged>>,
    ) -> Result<T, Response<Body>> {
        let stopping = || failed(&endpoint::STOPPING, "the master is stopping");
        if self.switchboard.is_stopping() {
            return Err(stopping());
        }
        match self.asks.changes.try_send(change) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                let message = format!("{CHANGES} changes wait for their turn");
                return Err(failed(&endpoint::BUSY, message));
            }
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(stopping()),
        }
        match done.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(unchanged)) => {
                let Unchanged {
                    code,
                    message,
                    problems,
                } = unchanged;
                Err(failed_with(code, message, problems))
            }
            Err(_) => Err(stopping()),
        }
    }
}

/// What a query asks for.
#[derive(Debug, Default)]
struct Query {
    wanted: Wanted,
    follow: bool,
    version: Option<u64>,
}

fn bad_address(error: protos::NotAnAddress) -> Response<Body> {
    failed(&endpoint::BAD_ADDRESS, error.to_string())
}

/// The user at the other end, where that is not the one who runs this process.
fn stranger(stream: &UnixStream) -> Option<u32> {
    // One that the kernel does not tell of is nobody we know.
    let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
    (uid != rustix::process::geteuid().as_raw()).then_some(uid)
}

fn shown(one: &Running, switchboard: &Switchboard) -> api::Invocation {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let usage = switchboard.usage(one);
    let (bytes_in, bytes_out) = one.bytes();
    api::Invocation {
        address: one.address.to_string(),
        function: one.function.to_string(),
        parent: one.parent().to_string(),
        gateway: one.gateway().map(str::to_owned),
        request_id: one.request_id.as_deref().map(str::to_owned),
        state: one.state.to_string(),
        age_us: micros(one.age()),
        pid: usage.and_then(|usage| u64::try_from(usage.pid).ok()),
        cpu_us: usage.map(|usage| micros(usage.cpu)),
        memory_bytes: usage.and_then(|usage| usage.memory),
        bytes_in,
        bytes_out,
    }
}
