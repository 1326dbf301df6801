//! Functions that are kept running: started with the project, and again when they end.
//!
//! One task for each. It stands where a gateway does for a request: it is the parent of the
//! invocation, and says nothing. What the function writes to it is dropped.

mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use protos::{Address, Ending, Reason};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::config::Restart;
use crate::pool::Function;
use crate::report::describe;
use crate::switchboard::{Exchange, Origin, Source, StreamEvent, Switchboard, Times};
use policy::{Next, RESTARTS, STEADY, next};

/// Keeps functions running.
#[derive(Debug)]
pub struct Supervisor {
    switchboard: Arc<Switchboard>,
    kept: Mutex<BTreeMap<String, Kept>>,
    /// Tasks of functions that are not kept any more.
    leaving: Mutex<Vec<JoinHandle<()>>>,
}

/// A function that is kept running, or was until it had ended for good.
#[derive(Debug)]
struct Kept {
    function: Arc<Function>,
    restart: Restart,
    /// The invocation that runs now.
    runs: Runs,
    /// Why it is to end.
    stop: watch::Sender<Option<Ending>>,
    task: JoinHandle<()>,
}

type Runs = Arc<Mutex<Option<Address>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics between two changes that belong together.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Supervisor {
    /// Keeps nothing yet.
    pub fn new(switchboard: Arc<Switchboard>) -> Self {
        Self {
            switchboard,
            kept: Mutex::default(),
            leaving: Mutex::default(),
        }
    }

    /// Keeps these running from now on, and no others. One that has not changed goes on; one that
    /// has is ended, and its new version begins when it is gone, so that its names are free.
    pub fn keep(&self, wanted: impl IntoIterator<Item = (String, Restart)>) {
        let mut before = std::mem::take(&mut *lock(&self.kept));
        let mut now = BTreeMap::new();
        for (name, restart) in wanted {
            // One that was never built has said so.
            let Some(function) = self.switchboard.functions().get(&name) else {
                continue;
            };
            let kept = match before.remove(&name) {
                Some(kept) if Arc::ptr_eq(&kept.function, &function) && kept.restart == restart => {
                    kept
                }
                old => {
                    let old = old.map(|old| old.leave("a newer version takes its place"));
                    self.start(function, restart, old)
                }
            };
            now.insert(name, kept);
        }
        let gone = before.into_values();
        let gone = gone.map(|old| old.leave("the project does not start it any more"));
        let mut leaving = lock(&self.leaving);
        leaving.retain(|task| !task.is_finished());
        leaving.extend(gone);
        *lock(&self.kept) = now;
    }

    fn start(
        &self,
        function: Arc<Function>,
        restart: Restart,
        after: Option<JoinHandle<()>>,
    ) -> Kept {
        let (stop, stopped) = watch::channel(None);
        let runs = Runs::default();
        let keeper = Keeper {
            switchboard: Arc::clone(&self.switchboard),
            function: Arc::clone(&function),
            restart,
            runs: Arc::clone(&runs),
            stopped,
            hinted: false,
        };
        let task = tokio::spawn(async move {
            if let Some(after) = after {
                // A task that panicked has said so, and its invocation has ended with it.
                let _ = after.await;
            }
            keeper.run().await;
        });
        Kept {
            function,
            restart,
            runs,
            stop,
            task,
        }
    }

    /// The invocations that are kept running.
    pub fn running(&self) -> BTreeSet<Address> {
        let kept = lock(&self.kept);
        kept.values().filter_map(|kept| *lock(&kept.runs)).collect()
    }

    /// Ends them all, and waits until they are gone.
    pub async fn stop(&self, reason: Reason, detail: &str) {
        let kept = std::mem::take(&mut *lock(&self.kept)).into_values();
        let mut tasks: Vec<_> = kept
            .map(|kept| {
                kept.stop.send_replace(Some(Ending::new(reason, detail)));
                kept.task
            })
            .collect();
        tasks.append(&mut lock(&self.leaving));
        for task in tasks {
            // As above.
            let _ = task.await;
        }
    }
}

impl Kept {
    fn leave(self, why: &str) -> JoinHandle<()> {
        self.stop
            .send_replace(Some(Ending::new(Reason::Replaced, why)));
        self.task
    }
}

/// The task of one function.
struct Keeper {
    switchboard: Arc<Switchboard>,
    function: Arc<Function>,
    restart: Restart,
    runs: Runs,
    stopped: watch::Receiver<Option<Ending>>,
    /// The log has said that nobody reads what it writes.
    hinted: bool,
}

impl Keeper {
    async fn run(mut self) {
        let mut restarts = Backoff::new(RESTARTS);
        loop {
            let since = Instant::now();
            let Some(ending) = self.once().await else {
                return;
            };
            *lock(&self.runs) = None;
            if since.elapsed() >= STEADY {
                restarts.well();
            }
            let (name, reporter) = (&self.function.name, self.switchboard.reporter());
            let (how, policy) = (describe(&ending), self.restart.name());
            match next(self.restart, &ending) {
                Next::Nothing => return,
                Next::Leave => {
                    let text = format!("`{name}` has ended ({how}); `restart: {policy}` leaves it");
                    return reporter.info(text);
                }
                Next::Again => {
                    let pause = restarts.failed(Instant::now()).unwrap_or(RESTARTS.most);
                    let text = format!("`{name}` has ended ({how}); started again in {pause:?}");
                    if ending.reason == Reason::Ok {
                        reporter.info(text);
                    } else {
                        reporter.warn(text);
                    }
                    tokio::select! {
                        () = sleep(pause) => {}
                        _ = stop(&mut self.stopped) => return,
                    }
                }
            }
        }
    }

    /// Runs it once; `None` when it was to be stopped before it began.
    async fn once(&mut self) -> Option<Ending> {
        let permit = tokio::select! {
            // The semaphore is never closed.
            permit = self.function.permit() => permit?,
            _ = stop(&mut self.stopped) => return None,
        };
        let limits = &self.function.limits;
        let times = Times {
            wall: limits.wall.or(None),
            idle: limits.idle.or(None),
            response: None,
            head: false,
            total: limits.total,
            background: None,
        };
        let function = Arc::clone(&self.function);
        let origin = Origin::default();
        match self.switchboard.start(function, permit, origin, times) {
            Ok(exchange) => {
                *lock(&self.runs) = Some(exchange.source.address());
                Some(self.attend(exchange).await)
            }
            Err(ending) => Some(ending),
        }
    }

    /// Takes what it writes, until it has ended.
    async fn attend(&mut self, exchange: Exchange) -> Ending {
        let Exchange {
            mut sink,
            mut source,
        } = exchange;
        // Nobody writes to it.
        sink.finish();
        let mut told = false;
        loop {
            let event = tokio::select! {
                event = source.next() => event,
                ending = stop(&mut self.stopped), if !told => {
                    told = true;
                    source.stop(ending.reason, &ending.detail);
                    continue;
                }
            };
            match event {
                Some(StreamEvent::Data(_)) => self.hint(&source),
                Some(StreamEvent::HalfClose) => {}
                Some(StreamEvent::Ended(finished)) => return finished.ending.clone(),
                None => return Ending::new(Reason::Lost, "the exchange broke off"),
            }
        }
    }

    fn hint(&mut self, source: &Source) {
        if !std::mem::replace(&mut self.hinted, true) {
            self.switchboard.reporter().info(format!(
                "`{}` {} writes to its parent, which reads nothing: it was started with the \
                 project; what it prints is its log",
                self.function.name,
                source.address()
            ));
        }
    }
}

/// Waits until it is to end, and says why.
async fn stop(stopped: &mut watch::Receiver<Option<Ending>>) -> Ending {
    match stopped.wait_for(Option::is_some).await {
        Ok(ending) => ending.clone(),
        // Whoever could say so has gone.
        Err(_) => None,
    }
    .unwrap_or_else(|| Ending::new(Reason::Shutdown, "the master is stopping"))
}
