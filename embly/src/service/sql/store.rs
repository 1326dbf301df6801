//! One store: whose turn it is to write, and the processes that have it open.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use embly_wrapper::sql::{Access, Options};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::turns::Turns;
use super::worker::{Held, Starter, Worker};
use crate::config::Durability;
use crate::limits;

/// Processes of all stores together; those that nobody uses give way.
const PROCESSES: usize = 256;

/// How long a process waits for something to do: requests come again within seconds, or not.
const IDLE: Duration = Duration::from_secs(10);

/// Requests of a function that are longer than a window, at the same time: each is held in memory.
const LARGE: usize = 4;

/// What all stores share.
#[derive(Debug)]
pub struct Shared {
    starter: Starter,
    places: Arc<Semaphore>,
}

impl Shared {
    /// Starts the threads.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            starter: Starter::new()?,
            places: Arc::new(Semaphore::new(PROCESSES)),
        })
    }
}

/// What the project file says about a store, beside its name and its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// When a commit is acknowledged.
    pub durability: Durability,
    /// The most bytes.
    pub size: u64,
}

/// A store. It lives as long as its file is one of the project's, or somebody uses it.
pub struct Store {
    /// Its name, for messages.
    pub name: String,
    /// Its file; absolute.
    pub path: PathBuf,
    /// Whose turn it is.
    pub turns: Arc<Turns>,
    kind: RwLock<Kind>,
    shared: Arc<Shared>,
    idle: Mutex<Idle>,
    functions: Mutex<HashMap<Arc<str>, PerFunction>>,
}

#[derive(Default)]
struct Idle {
    /// The one that was used last comes last.
    workers: Vec<Waiting>,
    /// Somebody will look for those that have been here for long.
    watched: bool,
}

/// A process with nothing to do. It serves only the function that it was started for: whatever a
/// statement might have done to it is between that function and itself.
struct Waiting {
    function: Arc<str>,
    options: Options,
    worker: Worker,
    since: Instant,
}

/// What a function may take of a store.
#[derive(Clone)]
struct PerFunction {
    count: u32,
    connections: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("name", &self.name)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// A store that nobody uses yet.
    pub fn new(name: &str, path: PathBuf, kind: Kind, shared: &Arc<Shared>) -> Self {
        Self {
            name: name.to_owned(),
            path,
            turns: Arc::default(),
            kind: RwLock::new(kind),
            shared: Arc::clone(shared),
            idle: Mutex::default(),
            functions: Mutex::default(),
        }
    }

    /// Takes over what a project file says now.
    pub fn set_kind(&self, kind: Kind) {
        *self.kind.write().unwrap_or_else(PoisonError::into_inner) = kind;
    }

    /// A process of this function that has the store open: one that is idle, or a new one. The second
    /// value is its place among those of the function.
    ///
    /// # Errors
    /// In words.
    pub async fn worker(
        self: &Arc<Self>,
        function: &Arc<str>,
        limits: &limits::Sql,
        access: Access,
    ) -> Result<Leased, String> {
        let connections = self.function(function, limits).connections;
        // It is never closed.
        let place = connections
            .acquire_owned()
            .await
            .map_err(|e| e.to_string())?;
        let kind = *self.kind.read().unwrap_or_else(PoisonError::into_inner);
        let options = Options {
            database: self.path.clone(),
            access,
            full: kind.durability == Durability::Full,
            size: kind.size,
            memory: limits.memory.into(),
            time: limits.time,
            rows: limits.rows.map(u64::from),
        };
        let leased = |worker: Worker, options: Options| Leased {
            worker,
            function: Arc::clone(function),
            options,
            place,
        };
        while let Some(worker) = self.idle(function, &options) {
            if worker.is_of_use() {
                return Ok(leased(worker, options));
            }
        }
        let process = self.process().await;
        let started = self.shared.starter.start(options.clone(), process).await;
        let worker =
            started.map_err(|error| format!("cannot open the store `{}`: {error}", self.name))?;
        Ok(leased(worker, options))
    }

    /// A place among all processes.
    async fn process(&self) -> Held {
        let places = &self.shared.places;
        let place = match Arc::clone(places).try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) => {
                // The one that was used least recently gives way.
                drop(self.oldest());
                Arc::clone(places).acquire_owned().await.ok()
            }
        };
        Box::new(place)
    }

    fn oldest(&self) -> Option<Waiting> {
        let mut idle = lock(&self.idle);
        (!idle.workers.is_empty()).then(|| idle.workers.remove(0))
    }

    fn idle(&self, function: &Arc<str>, options: &Options) -> Option<Worker> {
        let mut idle = lock(&self.idle);
        let fits = |one: &Waiting| one.function == *function && one.options == *options;
        let at = idle.workers.iter().rposition(fits)?;
        Some(idle.workers.remove(at).worker)
    }

    /// Takes a process back that has nothing to do.
    pub fn give_back(self: &Arc<Self>, leased: Leased) {
        let Leased {
            worker,
            function,
            options,
            place,
        } = leased;
        if !worker.is_of_use() {
            // The place is free when it has ended.
            return worker.end([Box::new(place) as Held]);
        }
        let mut idle = lock(&self.idle);
        idle.workers.push(Waiting {
            function,
            options,
            worker,
            since: Instant::now(),
        });
        let watch = !std::mem::replace(&mut idle.watched, true);
        drop(idle);
        // Whoever gets the place finds the process.
        drop(place);
        if watch && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let store = Arc::downgrade(self);
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(IDLE).await;
                    let Some(store) = store.upgrade() else { return };
                    let mut idle = lock(&store.idle);
                    idle.workers.retain(|one| one.since.elapsed() < IDLE);
                    idle.watched = !idle.workers.is_empty();
                    if !idle.watched {
                        return;
                    }
                }
            });
        }
    }

    /// A place for a request that is longer than a window.
    pub fn large(&self, function: &Arc<str>, limits: &limits::Sql) -> Arc<Semaphore> {
        self.function(function, limits).large
    }

    fn function(&self, name: &Arc<str>, limits: &limits::Sql) -> PerFunction {
        let mut functions = lock(&self.functions);
        let count = limits.connections;
        let new = || PerFunction {
            count,
            connections: Arc::new(Semaphore::new(count as usize)),
            large: Arc::new(Semaphore::new(LARGE)),
        };
        let function = functions.entry(Arc::clone(name)).or_insert_with(new);
        if function.count != count {
            // Another version of it; those of the one before keep their places.
            *function = new();
        }
        function.clone()
    }
}

/// A process that somebody uses, and its place.
pub struct Leased {
    /// The process.
    pub worker: Worker,
    function: Arc<str>,
    options: Options,
    /// Among those of the function.
    pub place: OwnedSemaphorePermit,
}
