//! Connections that are kept for the next request. A function rides on none that another one has
//! opened, and on none that was opened under another trust: both are part of what a connection is
//! looked up by.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::{Driver, STREAMS, Sender};
use crate::service::outbound::{HostPort, Trust};
use protos::services::http::Version;

/// How long a connection waits for the next request: shorter than servers wait that close early.
const KEPT: Duration = Duration::from_secs(20);

/// How often those are looked for that have waited for so long.
const SWEEP: Duration = Duration::from_secs(5);

/// What makes two connections interchangeable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Host and port.
    pub target: HostPort,
    /// Which authorities say who it is; `None` without TLS.
    pub tls: Option<u64>,
    /// How far the entry goes that allows it.
    pub trust: Trust,
    /// What was to be spoken.
    pub version: Version,
    /// The most that a head may have, which a connection is made with.
    pub head: u32,
}

/// The connections of all functions.
#[derive(Debug, Default)]
pub struct Pool {
    fleets: Mutex<HashMap<Arc<str>, Fleet>>,
    sweeps: OnceLock<()>,
}

/// The connections of one function.
#[derive(Debug, Default)]
struct Fleet {
    count: Arc<Count>,
    idle: Vec<Idle>,
    shared: Vec<Shared>,
}

/// How many there are.
#[derive(Debug, Default)]
struct Count {
    open: AtomicU32,
    freed: Notify,
}

/// Held as long as a connection is open.
#[derive(Debug)]
pub struct Place(Arc<Count>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

/// A connection that waits.
#[derive(Debug)]
struct Idle {
    key: Key,
    sender: Sender,
    driver: Driver,
    since: Instant,
}

/// A connection for several requests.
#[derive(Debug)]
struct Shared {
    key: Key,
    sender: Sender,
    driver: Arc<Driver>,
    streams: Arc<Streams>,
}

/// Requests on a connection.
#[derive(Debug)]
struct Streams {
    count: AtomicUsize,
    since: Mutex<Instant>,
    freed: Weak<Count>,
}

/// Held as long as a request is on a connection with others.
#[derive(Debug)]
struct Rides(Arc<Streams>);

impl Drop for Rides {
    fn drop(&mut self) {
        let Streams {
            count,
            since,
            freed,
        } = &*self.0;
        *since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        count.fetch_sub(1, Ordering::AcqRel);
        if let Some(freed) = freed.upgrade() {
            freed.freed.notify_one();
        }
    }
}

/// A connection for one request. Dropped, it is closed, or its request is taken back.
#[derive(Debug)]
pub struct Lease {
    /// Sends the request.
    pub sender: Sender,
    /// It has served another one before, so its server may have closed it meanwhile.
    pub used: bool,
    hold: Hold,
}

#[derive(Debug)]
enum Hold {
    Alone(Key, Driver),
    Together(#[expect(dead_code, reason = "held")] Arc<Driver>, Rides),
}

/// What there is for a request.
pub enum Found {
    /// A connection.
    Lease(Lease),
    /// Room for a new one.
    Place(Place),
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Fleet>> {
        self.fleets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of this function, or the place for a new one of at most `most`; waits for one.
    /// With `fresh` none that was used before.
    pub async fn find(
        &self,
        function: &Arc<str>,
        key: &Key,
        most: Option<u32>,
        fresh: bool,
    ) -> Found {
        loop {
            let count = match self.look(function, key, most, fresh) {
                Ok(found) => return found,
                Err(count) => count,
            };
            let freed = count.freed.notified();
            // Between the look and here one may have become free: it leaves a permit.
            freed.await;
        }
    }

    fn look(
        &self,
        function: &Arc<str>,
        key: &Key,
        most: Option<u32>,
        fresh: bool,
    ) -> Result<Found, Arc<Count>> {
        // What is closed is dropped when the lock is free again.
        let mut closed = Vec::new();
        let mut fleets = self.lock();
        let fleet = fleets.entry(Arc::clone(function)).or_default();
        fleet.tidy(&mut closed);
        if !fresh {
            if let Some(lease) = fleet.ride(key) {
                return Ok(Found::Lease(lease));
            }
            if let Some(at) = fleet.idle.iter().rposition(|idle| idle.key == *key) {
                let Idle {
                    key,
                    sender,
                    driver,
                    ..
                } = fleet.idle.remove(at);
                return Ok(Found::Lease(Lease {
                    sender,
                    used: true,
                    hold: Hold::Alone(key, driver),
                }));
            }
        }
        let count = Arc::clone(&fleet.count);
        if most.is_none_or(|most| count.open.load(Ordering::Acquire) < most) {
            count.open.fetch_add(1, Ordering::AcqRel);
            return Ok(Found::Place(Place(count)));
        }
        // Its place is free when its task has ended, which tells who waits.
        fleet.evict(&mut closed);
        drop(fleets);
        drop(closed);
        Err(count)
    }

    /// A connection that was just made.
    pub fn made(
        self: &Arc<Self>,
        function: &Arc<str>,
        key: &Key,
        sender: Sender,
        driver: Driver,
    ) -> Lease {
        self.sweeps.get_or_init(|| {
            let pool = Arc::downgrade(self);
            tokio::spawn(sweep(pool));
        });
        match sender {
            Sender::One(..) => Lease {
                sender,
                used: false,
                hold: Hold::Alone(key.clone(), driver),
            },
            Sender::Many(ref many) => {
                let mut fleets = self.lock();
                let fleet = fleets.entry(Arc::clone(function)).or_default();
                let driver = Arc::new(driver);
                let streams = Arc::new(Streams {
                    count: AtomicUsize::new(1),
                    since: Mutex::new(Instant::now()),
                    freed: Arc::downgrade(&fleet.count),
                });
                fleet.shared.push(Shared {
                    key: key.clone(),
                    sender: Sender::Many(many.clone()),
                    driver: Arc::clone(&driver),
                    streams: Arc::clone(&streams),
                });
                Lease {
                    sender,
                    used: false,
                    hold: Hold::Together(driver, Rides(streams)),
                }
            }
        }
    }

    /// Takes back a connection whose request was answered to the end.
    pub fn put(self: &Arc<Self>, function: &Arc<str>, lease: Lease) {
        let Lease {
            mut sender, hold, ..
        } = lease;
        let Hold::Alone(key, driver) = hold else {
            return;
        };
        if sender.is_ready() {
            return self.keep(function, key, sender, driver);
        }
        // The library is done with the last request in a moment, or never: then it is closed.
        let (pool, function) = (Arc::clone(self), Arc::clone(function));
        tokio::spawn(async move {
            let ready = tokio::time::timeout(Duration::from_secs(1), sender.ready()).await;
            if let Ok(Ok(())) = ready {
                pool.keep(&function, key, sender, driver);
            }
        });
    }

    fn keep(&self, function: &Arc<str>, key: Key, sender: Sender, driver: Driver) {
        let mut fleets = self.lock();
        let fleet = fleets.entry(Arc::clone(function)).or_default();
        fleet.idle.push(Idle {
            key,
            sender,
            driver,
            since: Instant::now(),
        });
        fleet.count.freed.notify_one();
    }

    /// Has a connection with others carry no more requests: this one was not answered.
    pub fn distrust(&self, function: &Arc<str>, lease: &Lease) {
        let Hold::Together(_, Rides(streams)) = &lease.hold else {
            return;
        };
        let mut fleets = self.lock();
        let fleet = fleets.get_mut(function);
        let shared = fleet.map(|fleet| &mut fleet.shared);
        let mut closed = Vec::new();
        if let Some(shared) = shared {
            closed.extend(shared.extract_if(.., |shared| Arc::ptr_eq(&shared.streams, streams)));
        }
        drop(fleets);
    }
}

impl Fleet {
    /// A place on a connection with others.
    fn ride(&mut self, key: &Key) -> Option<Lease> {
        let fits = |shared: &&Shared| {
            shared.key == *key && shared.streams.count.load(Ordering::Acquire) < STREAMS
        };
        let shared = self.shared.iter().find(fits)?;
        let Sender::Many(sender) = &shared.sender else {
            return None;
        };
        shared.streams.count.fetch_add(1, Ordering::AcqRel);
        Some(Lease {
            sender: Sender::Many(sender.clone()),
            used: true,
            hold: Hold::Together(
                Arc::clone(&shared.driver),
                Rides(Arc::clone(&shared.streams)),
            ),
        })
    }

    /// Takes out what is closed, or has waited too long.
    fn tidy(&mut self, closed: &mut Vec<Closed>) {
        let now = Instant::now();
        let late = |since: Instant| now.saturating_duration_since(since) >= KEPT;
        let idle = self
            .idle
            .extract_if(.., |idle| idle.sender.is_closed() || late(idle.since));
        closed.extend(idle.map(Closed::Idle));
        let shared = self.shared.extract_if(.., |shared| {
            shared.sender.is_closed() || shared.waits_since().is_some_and(late)
        });
        closed.extend(shared.map(Closed::Shared));
    }

    /// Takes out the one that has waited longest.
    fn evict(&mut self, closed: &mut Vec<Closed>) {
        if !self.idle.is_empty() {
            closed.push(Closed::Idle(self.idle.remove(0)));
        } else if let Some(at) = self
            .shared
            .iter()
            .position(|shared| shared.waits_since().is_some())
        {
            closed.push(Closed::Shared(self.shared.remove(at)));
        }
    }

    fn is_empty(&self) -> bool {
        self.idle.is_empty()
            && self.shared.is_empty()
            && self.count.open.load(Ordering::Acquire) == 0
    }
}

impl Shared {
    /// Since when nobody rides on it.
    fn waits_since(&self) -> Option<Instant> {
        let free = self.streams.count.load(Ordering::Acquire) == 0;
        free.then(|| {
            *self
                .streams
                .since
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        })
    }
}

/// What is to be dropped outside of the lock.
enum Closed {
    Idle(#[expect(dead_code, reason = "dropped")] Idle),
    Shared(#[expect(dead_code, reason = "dropped")] Shared),
}

/// Closes what nobody asks for any more.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut closed = Vec::new();
        pool.lock().retain(|_, fleet| {
            fleet.tidy(&mut closed);
            !fleet.is_empty()
        });
        drop(closed);
    }
}
