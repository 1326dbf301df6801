//! A fork server that runs: its control socket and the requests on their way to it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use embly_wrapper::control::{MAX_BATCH, Reply};
use embly_wrapper::process::{self, ForkServer, Hello, Spec};
use protos::Slot;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::backoff::seconds;

use super::{Jail, Nursery, Reaper, Slots, Socket, Wrapper};

/// Loading an artefact takes milliseconds; a machine under heavy load gets this much.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The same for a fork.
const HELLO_WITHIN: Duration = Duration::from_secs(10);

/// The end of a fork server shows at its control socket a moment after it shows at the sockets
/// that were under way to it.
const END_SHOWS_WITHIN: Duration = Duration::from_millis(50);

/// Why there is no fork server, or no wrapper.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The process could not be started.
    #[error("cannot start a fork server")]
    Process(#[source] io::Error),
    /// It started and could not load the function.
    #[error("the fork server cannot load the function: {0}")]
    Load(String),
    /// It said nothing in time.
    #[error("the fork server was not ready within {READY_WITHIN:?}")]
    Slow,
    /// No descriptors for a connection.
    #[error("cannot open a connection for a wrapper")]
    Connection(#[source] io::Error),
    /// The kernel refused the fork.
    #[error("cannot fork a wrapper")]
    Fork(#[source] io::Error),
    /// It ended before a wrapper said hello; another attempt may succeed.
    #[error("the fork server or the wrapper ended before the wrapper said hello")]
    Gone,
    /// It has failed too often in a row.
    #[error("the fork server fails at each start, the next attempt is in {} s: {why}", seconds(*left))]
    Backoff {
        /// Until the next attempt.
        left: Duration,
        /// The last failure.
        why: String,
    },
}

/// A running fork server. It ends when the last clone of its `Arc` is dropped.
#[derive(Debug)]
pub struct Server {
    requests: mpsc::UnboundedSender<(Slot, OwnedFd)>,
    /// The errno of the last fork that failed, by slot.
    fork_failures: Arc<Mutex<Vec<(Slot, i32)>>>,
    served: AtomicBool,
    reaper: Arc<Reaper>,
    /// Its process, which leads the group of its wrappers.
    pub pid: i32,
}

impl Server {
    /// Starts a fork server and waits until it has loaded the artefact.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        spec: &Spec,
        jail: &Arc<Jail>,
        nursery: &Nursery,
        reaper: &Arc<Reaper>,
    ) -> Result<Self, StartError> {
        let (what, policy, reaped_by) = (spec.clone(), jail.policy, Arc::clone(reaper));
        let start = move || {
            let server = ForkServer::start(&what, &policy)?;
            // Here, since nobody may wait for it any more.
            reaped_by.add_group(server.pid());
            Ok(server)
        };
        let server = nursery.run(start).await.map_err(StartError::Process)?;
        let end = End {
            pid: server.pid(),
            function: spec.function.clone(),
            reaper: Arc::clone(reaper),
            jail: Arc::clone(jail),
        };
        // It keeps packets apart, which only the calls that read and write need to know.
        let control = std::os::unix::net::UnixStream::from(server.into_control());
        let control = UnixStream::from_std(control).map_err(StartError::Process)?;
        match timeout(READY_WITHIN, receive(&control)).await {
            Ok(Ok(Reply::Ready(missing))) => jail.note(&missing),
            Ok(Ok(Reply::Failed(text))) => return Err(StartError::Load(text)),
            Ok(Ok(Reply::ForkFailed(..)) | Err(_)) => {
                end.tell().await;
                return Err(StartError::Gone);
            }
            Err(_) => {
                // It does not look at its socket, so it would stay.
                end.reaper.kill_leader(end.pid);
                return Err(StartError::Slow);
            }
        }
        let pid = end.pid;
        let (requests, inbox) = mpsc::unbounded_channel();
        let fork_failures = Arc::default();
        tokio::spawn(serve(control, inbox, Arc::clone(&fork_failures), end));
        Ok(Self {
            requests,
            fork_failures,
            served: AtomicBool::new(false),
            reaper: Arc::clone(reaper),
            pid,
        })
    }

    /// Whether its process has gone.
    pub fn is_gone(&self) -> bool {
        self.requests.is_closed()
    }

    /// Whether it has forked a wrapper that said hello.
    pub fn has_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    /// Asks for a wrapper, without waiting for it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn order(self: &Arc<Self>, slots: &Slots) -> Result<Ordered, StartError> {
        let slot = slots.next();
        let (ours, theirs) = process::pair().map_err(StartError::Connection)?;
        self.requests
            .send((slot, theirs))
            .map_err(|_| StartError::Gone)?;
        Ok(Ordered {
            server: Arc::clone(self),
            slot,
            ours,
        })
    }

    async fn fork_failure(&self, slot: Slot) -> StartError {
        // The report of a failed fork is sent before the connection is closed, on another
        // socket: give its reader a turn.
        tokio::task::yield_now().await;
        let failure = self.take_failure(slot);
        if matches!(failure, StartError::Gone) {
            // The next attempt must not meet the same one.
            let _ = timeout(END_SHOWS_WITHIN, self.requests.closed()).await;
        }
        failure
    }

    fn take_failure(&self, slot: Slot) -> StartError {
        let mut failures = self
            .fork_failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match failures.iter().position(|(failed, _)| *failed == slot) {
            Some(at) => {
                let (_, errno) = failures.swap_remove(at);
                StartError::Fork(io::Error::from_raw_os_error(errno))
            }
            None => StartError::Gone,
        }
    }
}

/// A wrapper that was asked for: on its way, or forked and waiting. It ends when this is dropped.
#[derive(Debug)]
pub struct Ordered {
    server: Arc<Server>,
    slot: Slot,
    /// Nobody is woken for its hello: it waits in here until somebody needs the wrapper.
    ours: OwnedFd,
}

impl Ordered {
    /// Waits for its hello.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn ready(self) -> Result<Wrapper, StartError> {
        let Self { server, slot, ours } = self;
        let hello = process::hello(ours.as_fd());
        let socket = Socket::new(ours).map_err(StartError::Connection)?;
        let hello = match hello {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                timeout(HELLO_WITHIN, socket.first(process::hello))
                    .await
                    .ok()
            }
            hello => Some(hello),
        };
        match hello {
            Some(Ok(Hello { slot: named, pid })) if named == slot => {
                server.served.store(true, Ordering::Relaxed);
                Ok(Wrapper::new(socket, pid, &server.reaper))
            }
            _ => Err(server.fork_failure(slot).await),
        }
    }

    /// Whether nothing comes of it any more.
    pub fn has_gone(&self) -> bool {
        process::has_gone(self.ours.as_fd())
    }
}

/// What is to be said when a fork server has ended by itself.
struct End {
    pid: i32,
    function: String,
    reaper: Arc<Reaper>,
    jail: Arc<Jail>,
}

impl End {
    /// An end by the jail is told: a fork server needs a call that it is not allowed, and so will
    /// the next one. Of others the next start tells more.
    async fn tell(self) {
        let reaped = self.reaper.watch(self.pid);
        self.reaper.ends(self.pid);
        let reaped = timeout(END_SHOWS_WITHIN, reaped).await;
        if reaped.is_ok_and(|reaped| reaped.is_ok_and(|reaped| reaped.status.by_the_jail())) {
            self.jail.stopped(&self.function);
        }
    }
}

/// The next thing that a fork server says.
async fn receive(control: &UnixStream) -> io::Result<Reply> {
    control
        .async_io(Interest::READABLE, || process::receive(control.as_fd()))
        .await
}

/// Passes requests on, as many as there are in one message, until either side is done.
async fn serve(
    control: UnixStream,
    mut inbox: mpsc::UnboundedReceiver<(Slot, OwnedFd)>,
    failures: Arc<Mutex<Vec<(Slot, i32)>>>,
    end: End,
) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            reply = receive(&control) => match reply {
                Ok(Reply::ForkFailed(slot, errno)) => {
                    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.push((slot, errno));
                    // Who asked for the oldest has left.
                    if failures.len() > MAX_BATCH {
                        failures.remove(0);
                    }
                }
                // It is gone, or talks nonsense. Requests under way close with their sockets.
                _ => {
                    // Who asks next must not wait for this.
                    drop((control, inbox));
                    return end.tell().await;
                }
            },
            count = inbox.recv_many(&mut batch, MAX_BATCH) => {
                if count == 0 {
                    return;
                }
                let sent = control
                    .async_io(Interest::WRITABLE, || {
                        let fds: Vec<_> = batch.iter().map(|(slot, fd)| (*slot, fd.as_fd())).collect();
                        process::fork(control.as_fd(), &fds)
                    })
                    .await;
                batch.clear();
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}
