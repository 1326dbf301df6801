//! From a function version to a wrapper that is ready to run it.
//!
//! Each invocation gets a process that nobody has used, most often one that waits for it (`lot`);
//! where the project says so, one that has served others of its version. The fork server of a
//! version is started when it is first needed and again when it has died; requests that were under
//! way to it are repeated, since their guests had not begun.

pub mod demand;
mod health;
mod lot;
mod offences;
mod queue;
#[cfg(test)]
mod schedules;
mod shelf;
#[cfg(test)]
mod swap;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use embly_wrapper::process::Spec;
use protos::Ending;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

use crate::allow::Allow;
use crate::limits::{Isolation, Limits, Parked};
use crate::telemetry::Function as Figures;
use crate::wrapper::{
    Count, Door, Jail, Nursery, Processors, Reaper, Server, Slots, StartError, Wrapper,
};
use health::WORTH_WAITING;
pub use health::backoff;
pub use health::{Health, Turn};
use lot::{Lot, Next, Who};
use offences::Offences;
pub use queue::Place;
use queue::Queue;

/// How often a wrapper is asked for before the request is given up. Between two attempts the
/// fork server is started anew, after a pause where it dies each time ([`health`]).
const ATTEMPTS: usize = 10;

/// Wrappers are forked so long after one was taken: the request that has taken it is served by then,
/// or has at least begun. A fork beside it takes a processor, and locks that its own process needs.
const REFILL_AFTER: Duration = Duration::from_millis(1);

/// How wrappers are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Forked from a fork server that has loaded the function.
    #[default]
    Fork,
    /// As a program each, which connects to the master's socket: slow, for systems without the
    /// fork server and to look for mistakes.
    Exec,
}

/// What all pools share.
#[derive(Debug)]
pub struct Processes {
    /// How wrappers are started.
    pub start: Start,
    /// What they are kept in.
    pub jail: Arc<Jail>,
    /// Where those connect that were not forked.
    pub door: Arc<Door>,
    /// Starts fork servers.
    pub nursery: Nursery,
    /// Ends and reaps.
    pub reaper: Arc<Reaper>,
    /// Numbers connections.
    pub slots: Slots,
    /// Wrappers that wait for a request.
    pub parked: Arc<Count>,
    /// Who may use which.
    pub processors: Processors,
}

/// One version of a function: what to run, and its fork server.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: Arc<str>,
    /// What its processes load.
    spec: Spec,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Names of the secrets that are added to it. Their values may change: whoever starts an
    /// invocation looks them up.
    pub secrets: BTreeSet<String>,
    /// Its limits.
    pub limits: Limits,
    /// What it may do to others.
    pub allow: Arc<Allow>,
    /// One permit per invocation that may run at once.
    permits: Arc<Semaphore>,
    /// Requests that wait for one.
    queue: Queue,
    server: Arc<Mutex<Option<Arc<Server>>>>,
    lot: Lot,
    parked: Parked,
    isolation: Isolation,
    /// How it fares.
    pub health: Arc<Health>,
    offences: Offences,
    /// What was counted of it, all versions together.
    pub figures: Arc<Figures>,
}

impl Function {
    /// A version that nobody has called yet.
    #[expect(clippy::too_many_arguments, reason = "all that makes a version")]
    pub fn new(
        name: &str,
        artefact: PathBuf,
        entry: String,
        (env, secrets): (BTreeMap<String, String>, BTreeSet<String>),
        limits: Limits,
        (isolation, parked): (Isolation, Parked),
        allow: Allow,
        figures: Arc<Figures>,
    ) -> Self {
        let concurrency = limits
            .concurrency
            .and_then(|count| usize::try_from(count).ok())
            .map_or(Semaphore::MAX_PERMITS, |count| {
                count.min(Semaphore::MAX_PERMITS)
            });
        Self {
            name: name.into(),
            spec: Spec {
                function: name.to_owned(),
                artefact,
                entry,
                memory: limits.memory,
                reuse: matches!(isolation, Isolation::Function(_)),
            },
            env,
            secrets,
            limits,
            allow: Arc::new(allow),
            permits: Arc::new(Semaphore::new(concurrency)),
            queue: Queue::default(),
            server: Arc::default(),
            lot: Lot::new(parked, isolation),
            parked,
            isolation,
            health: Arc::default(),
            offences: Offences::default(),
            figures,
        }
    }

    /// How many requests wait for room.
    pub fn waiting(&self) -> u32 {
        self.queue.waiting()
    }

    /// How many wrappers wait for a request.
    pub fn parked(&self) -> usize {
        self.lot.waiting()
    }

    /// Whether another version differs in nothing that an invocation could see.
    pub fn same_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.spec == other.spec
            && self.env == other.env
            && self.secrets == other.secrets
            && self.limits == other.limits
            && self.parked == other.parked
            && self.isolation == other.isolation
            && self.allow == other.allow
    }

    /// Room for one more invocation, or `None` at the limit `concurrency`.
    pub fn try_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// A place among those that wait for room, free again when it is dropped; `None` where the
    /// limit `queue` is reached.
    pub fn queue_up(&self) -> Option<Place<'_>> {
        self.queue.enter(self.limits.queue.length)
    }

    /// Waits for room, first in, first out.
    pub async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// A wrapper that has said hello: one that waits, or a new one.
    ///
    /// # Errors
    /// The last one, when every attempt failed.
    pub async fn wrapper(self: &Arc<Self>, processes: &Processes) -> Result<Wrapper, StartError> {
        let spec = &self.spec;
        if processes.start == Start::Exec {
            let Processes {
                nursery,
                reaper,
                slots,
                door,
                jail,
                ..
            } = processes;
            return door.start(spec, slots.next(), jail, nursery, reaper).await;
        }
        self.lot.needed();
        self.keep_looking();
        let wrapper = self.attempts(processes).await?;
        Ok(self.lot.lend(wrapper))
    }

    async fn attempts(&self, processes: &Processes) -> Result<Wrapper, StartError> {
        for _ in 1..ATTEMPTS {
            match self.attempt(processes).await {
                // Its guest had not begun.
                Err(StartError::Gone) => {}
                Err(StartError::Backoff { left, .. }) if left <= WORTH_WAITING => {
                    sleep(left).await;
                }
                result => return result,
            }
        }
        self.attempt(processes).await
    }

    async fn attempt(&self, processes: &Processes) -> Result<Wrapper, StartError> {
        while let Some(parked) = self.lot.take() {
            match parked {
                Who::Served(wrapper) if !wrapper.is_of_no_use() => return Ok(wrapper),
                Who::Served(_) => {}
                Who::Ordered(ordered) if ordered.has_gone() => {}
                Who::Ordered(ordered) => {
                    if let Ok(wrapper) = ordered.ready().await {
                        processes.processors.place(wrapper.pid);
                        self.health.server_lives();
                        return Ok(wrapper);
                    }
                }
            }
            // One that has ended while it waited is no loss.
            self.lot.sweep();
        }
        self.health.admit_server()?;
        let server = self.server(processes).await?;
        let wrapper = match server.order(&processes.slots) {
            Ok(ordered) => ordered.ready().await,
            Err(error) => Err(error),
        };
        match &wrapper {
            Ok(_) => {
                self.figures.forks.add(1);
                self.health.server_lives();
            }
            // One that has gone is counted once, when it is replaced.
            Err(error @ StartError::Gone) if !server.is_gone() => {
                self.health.server_failed(&error.to_string());
            }
            Err(_) => {}
        }
        wrapper
    }

    /// Has wrappers forked in place of those that were taken, off the path of the request that
    /// has taken one. `room` is how many more the machine has room for.
    pub fn refill(self: &Arc<Self>, processes: &Arc<Processes>, room: usize) {
        if processes.start == Start::Exec {
            return;
        }
        if self.lot.begin_to_fill(room) {
            let (function, processes) = (Arc::clone(self), Arc::clone(processes));
            tokio::spawn(async move {
                sleep(REFILL_AFTER).await;
                // Whoever needs one and finds none learns why there is none.
                let _ = function.fill(&processes, room).await;
                function.lot.filled();
            });
        }
    }

    /// Has somebody look whether what waits is too much, as long as there is anything.
    fn keep_looking(self: &Arc<Self>) {
        if self.lot.begin_to_keep() {
            let function = Arc::downgrade(self);
            tokio::spawn(async move {
                while let Some(pause) = function.upgrade().and_then(|it| it.look()) {
                    sleep(pause).await;
                }
            });
        }
    }

    async fn fill(&self, processes: &Processes, room: usize) -> Result<(), StartError> {
        self.health.admit_server()?;
        let server = self.server(processes).await?;
        for _ in 0..self.lot.missing(room) {
            let ordered = server.order(&processes.slots)?;
            self.figures.forks.add(1);
            self.lot.park(Who::Ordered(ordered), &processes.parked);
        }
        Ok(())
    }

    /// Ends wrappers that nobody needs any more, and the fork server where nobody has come for
    /// long; when to look again.
    fn look(&self) -> Option<Duration> {
        match self.lot.look() {
            Next::Look(pause) => Some(pause),
            Next::PutAway => {
                // One that is being started has somebody who waits for it.
                if let Ok(mut server) = self.server.try_lock() {
                    server.take();
                }
                None
            }
            Next::Nothing => None,
        }
    }

    /// An invocation has ended after this time and had used so much CPU time. `Some` where it was one
    /// too many: from now on the function is confined to a part of the processors, until it has
    /// behaved for 10 s; or that cannot be done.
    pub fn ended(
        self: &Arc<Self>,
        ending: &Ending,
        (cpu, after): (Duration, Duration),
        processes: &Arc<Processes>,
    ) -> Option<bool> {
        let now = Instant::now();
        if processes.start == Start::Exec || !self.offences.ended(ending, cpu, after, now) {
            return None;
        }
        // One that is being started is confined when it is there.
        let server = self.server.try_lock();
        let server = server.ok().and_then(|it| Some(it.as_ref()?.pid));
        let number = self.number();
        let confined = processes.processors.confine(number, server);
        let (function, processes) = (Arc::downgrade(self), Arc::clone(processes));
        let forgiven = move || function.upgrade()?.offences.forgiven(Instant::now());
        tokio::spawn(async move {
            while let Some(pause) = forgiven() {
                sleep(pause).await;
            }
            processes.processors.release(number);
        });
        Some(confined)
    }

    /// One that no other version has that is there.
    fn number(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Whether a process may serve another invocation after the first.
    pub fn serves_again(&self, processes: &Processes) -> bool {
        let wanted = matches!(self.isolation, Isolation::Function(_)) && self.parked.max > 0;
        wanted && processes.start == Start::Fork
    }

    /// One has served its invocation, and may serve another.
    pub fn give_back(self: &Arc<Self>, wrapper: Wrapper, processes: &Processes) {
        self.lot.give_back(wrapper, &processes.parked);
        self.keep_looking();
    }

    /// Ends the wrappers that wait: their memory or their numbers are needed.
    pub fn shed(&self) {
        self.lot.clear();
    }

    /// Another version has taken over: what waits is ended, and nothing waits any more.
    fn retire(&self) {
        self.lot.close();
    }

    /// The fork server, confined where it is to be.
    async fn server(&self, processes: &Processes) -> Result<Arc<Server>, StartError> {
        let server = self.started(processes).await?;
        if self.offences.is_confined() {
            let Processes { processors, .. } = processes;
            processors.confine(self.number(), Some(server.pid));
        }
        Ok(server)
    }

    /// The fork server, started if need be. Whoever comes meanwhile waits for the same one, and
    /// the start goes on when the one who asked for it has left.
    async fn started(&self, processes: &Processes) -> Result<Arc<Server>, StartError> {
        let mut server = Arc::clone(&self.server).lock_owned().await;
        if let Some(server) = server.as_ref().filter(|server| !server.is_gone()) {
            return Ok(Arc::clone(server));
        }
        if let Some(gone) = server.take()
            && !gone.has_served()
        {
            self.health.server_failed("it ended before it had forked");
            self.health.admit_server()?;
        }
        let health = Arc::clone(&self.health);
        let spec = self.spec.clone();
        let (nursery, reaper) = (processes.nursery.clone(), Arc::clone(&processes.reaper));
        let jail = Arc::clone(&processes.jail);
        let start = async move {
            let started = Server::start(&spec, &jail, &nursery, &reaper).await;
            if let Err(error @ (StartError::Load(_) | StartError::Slow | StartError::Gone)) =
                &started
            {
                health.server_failed(&error.to_string());
            }
            let started = Arc::new(started?);
            *server = Some(Arc::clone(&started));
            Ok(started)
        };
        // A panic was printed; what it started is ended as it unwinds.
        tokio::spawn(start).await.unwrap_or(Err(StartError::Gone))
    }
}

/// The functions of the project by name.
#[derive(Debug, Default)]
pub struct Functions {
    by_name: RwLock<HashMap<Arc<str>, Arc<Function>>>,
    /// Those that the project has and that were never built.
    unbuilt: RwLock<Vec<Arc<str>>>,
    replaced: watch::Sender<()>,
    /// Those of a project that may come next.
    trial: std::sync::Mutex<Option<Arc<Functions>>>,
}

impl Functions {
    /// The current version of a function.
    pub fn get(&self, name: &str) -> Option<Arc<Function>> {
        self.by_name
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// The functions of a project that is looked at before it is served. Whoever looks for one there
    /// finds what would be served then; what stays the same is one version in both. Until the next
    /// [`Functions::add`], which takes over those that it is given again and ends the others.
    pub fn trial(&self, functions: impl IntoIterator<Item = Function>) -> Arc<Self> {
        let by_name = functions.into_iter().map(|new| {
            let served = self.get(&new.name).filter(|served| served.same_as(&new));
            let function = served.unwrap_or_else(|| Arc::new(new));
            (Arc::clone(&function.name), function)
        });
        let trial = Arc::new(Self {
            by_name: RwLock::new(by_name.collect()),
            unbuilt: RwLock::default(),
            replaced: self.replaced.clone(),
            trial: std::sync::Mutex::default(),
        });
        let before = self.tried().replace(Arc::clone(&trial));
        self.end_all_of(before.as_deref());
        trial
    }

    fn tried(&self) -> std::sync::MutexGuard<'_, Option<Arc<Self>>> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was tried and is not served waits for nobody any more.
    fn end_all_of(&self, trial: Option<&Self>) {
        let Some(trial) = trial else { return };
        let tried = trial.by_name.read().unwrap_or_else(PoisonError::into_inner);
        for function in tried.values() {
            let served = self.get(&function.name);
            if served.is_none_or(|served| !Arc::ptr_eq(&served, function)) {
                function.retire();
            }
        }
    }

    /// Adds functions, or replaces those of the same names. A version that stays the same keeps
    /// its fork server, also where it was only [tried](Functions::trial); the others live on until
    /// their last invocation has ended.
    pub fn add(&self, functions: impl IntoIterator<Item = Function>) {
        let trial = self.tried().take();
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        for new in functions {
            match by_name.get(&new.name) {
                // Somebody has looked after the project: it need not wait any longer.
                Some(old) if old.same_as(&new) => old.health.forgive(),
                _ => {
                    let tried = trial.as_ref().and_then(|trial| trial.get(&new.name));
                    let tried = tried.filter(|tried| tried.same_as(&new));
                    let new = tried.unwrap_or_else(|| Arc::new(new));
                    if let Some(old) = by_name.insert(Arc::clone(&new.name), new) {
                        old.retire();
                    }
                }
            }
        }
        drop(by_name);
        self.end_all_of(trial.as_deref());
    }

    /// Forgets all but these. Gateways are told of their new functions between the two, so that
    /// none ever names one that is not there.
    pub fn keep_only(&self, names: &HashSet<&str>) {
        let mut by_name = self.by_name.write().unwrap_or_else(PoisonError::into_inner);
        by_name.retain(|name, function| {
            let kept = names.contains(&**name);
            if !kept {
                function.retire();
            }
            kept
        });
    }

    /// The project has these as well, and they cannot be started: they were never built.
    pub fn lack<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let unbuilt = names.into_iter().map(Arc::from).collect();
        *self.unbuilt.write().unwrap_or_else(PoisonError::into_inner) = unbuilt;
    }

    /// Why there is no function of this name, for people.
    pub fn why_not(&self, name: &str) -> String {
        let unbuilt = self.unbuilt.read().unwrap_or_else(PoisonError::into_inner);
        if unbuilt.iter().any(|other| **other == *name) {
            return format!("`{name}` was not built: `embly build` says why");
        }
        let mut names = self.names();
        names.extend(unbuilt.iter().cloned());
        names.sort();
        let known: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        format!(
            "there is no function `{name}`; the project has {}",
            known.join(", ")
        )
    }

    /// Ends all wrappers that wait.
    pub fn shed(&self) {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        by_name.values().for_each(|function| function.shed());
    }

    /// Tells those who have subscribed that there are other functions now, or other gateways.
    pub fn announce(&self) {
        self.replaced.send_replace(());
    }

    /// Changes with each [`Functions::announce`].
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }

    /// The names, sorted.
    pub fn names(&self) -> Vec<Arc<str>> {
        let by_name = self.by_name.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = by_name.keys().cloned().collect();
        names.sort();
        names
    }
}
