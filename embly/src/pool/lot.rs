//! Wrappers of one function version that wait for a request, so that a request does not wait for
//! a fork.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::demand::{self, Demand};
use crate::limits::Parked;
use crate::wrapper::Ordered;

/// New ones are forked when so many of those to keep are missing, one in this many: together,
/// since each time costs the fork server and the master a turn.
const TOGETHER: usize = 4;

/// How often those that are too many are looked for, as long as there are any.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The wrappers of one function version that wait, and how many should.
#[derive(Debug)]
pub struct Lot {
    policy: Parked,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    waiting: VecDeque<Waiting>,
    demand: Demand,
    last_taken: Instant,
    /// Somebody is forking more.
    filling: bool,
    /// Somebody looks after it when it gets quiet.
    kept: bool,
    /// Another version has taken over.
    closed: bool,
}

#[derive(Debug)]
struct Waiting {
    ordered: Ordered,
    _counted: Counted,
}

/// Parked wrappers of all functions together.
#[derive(Debug, Default)]
pub struct Count(AtomicUsize);

#[derive(Debug)]
struct Counted(Arc<Count>);

impl Count {
    /// So many.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counted {
    fn new(count: &Arc<Count>) -> Self {
        count.0.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is to be done about a lot that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again then.
    Look(Duration),
    /// Nobody has come for long: put the fork server away as well.
    PutAway,
    /// Nothing, until somebody comes.
    Nothing,
}

impl Lot {
    /// An empty one.
    pub fn new(policy: Parked) -> Self {
        let now = Instant::now();
        Self {
            policy,
            inner: Mutex::new(Inner {
                waiting: VecDeque::new(),
                demand: Demand::new(now),
                last_taken: now,
                filling: false,
                kept: false,
                closed: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two changes that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody needs a wrapper.
    pub fn needed(&self) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.last_taken = now;
        inner.demand.take(now);
    }

    /// The one that waits longest.
    pub fn take(&self) -> Option<Ordered> {
        let waiting = self.lock().waiting.pop_front()?;
        Some(waiting.ordered)
    }

    /// One has ended while it waited: whoever has ended it may have met others.
    pub fn sweep(&self) {
        self.lock()
            .waiting
            .retain(|waiting| !waiting.ordered.has_gone());
    }

    /// Whether to fork more, and to say so with [`Lot::filled`]; only one does at a time. `room` is
    /// how many the machine has room for.
    pub fn begin_to_fill(&self, room: usize) -> bool {
        let mut inner = self.lock();
        let due = !inner.filling && inner.missing(&self.policy, room) > 0;
        inner.filling |= due;
        due
    }

    /// How many to fork now.
    pub fn missing(&self, room: usize) -> usize {
        self.lock().missing(&self.policy, room)
    }

    /// Parks a wrapper.
    pub fn park(&self, ordered: Ordered, count: &Arc<Count>) {
        let mut inner = self.lock();
        if !inner.closed {
            inner.waiting.push_back(Waiting {
                ordered,
                _counted: Counted::new(count),
            });
        }
    }

    /// Enough were forked, or none can be.
    pub fn filled(&self) {
        self.lock().filling = false;
    }

    /// Whether somebody has to look after it from now on; only one does.
    pub fn begin_to_keep(&self) -> bool {
        let mut inner = self.lock();
        !inner.closed && !std::mem::replace(&mut inner.kept, true)
    }

    /// Ends those that are too many by now.
    pub fn look(&self) -> Next {
        let mut inner = self.lock();
        if inner.closed {
            return Next::Nothing;
        }
        let now = Instant::now();
        let idle = now.duration_since(inner.last_taken);
        let largest = inner.demand.largest(now);
        let Some(keep) = demand::keep(largest, idle, &self.policy) else {
            inner.waiting.clear();
            inner.kept = false;
            return Next::PutAway;
        };
        inner.waiting.truncate(keep);
        if inner.waiting.len() > self.policy.min as usize {
            return Next::Look(LOOK_EVERY);
        }
        match self.policy.after {
            Some(after) => Next::Look(after.saturating_sub(idle).max(LOOK_EVERY)),
            None => {
                inner.kept = false;
                Next::Nothing
            }
        }
    }

    /// Ends those that wait, for the memory or the processes that they take.
    pub fn clear(&self) {
        self.lock().waiting.clear();
    }

    /// Ends those that wait, for good.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.clear();
    }
}

impl Inner {
    fn missing(&mut self, policy: &Parked, room: usize) -> usize {
        let now = Instant::now();
        let idle = now.duration_since(self.last_taken);
        let keep = match demand::keep(self.demand.largest(now), idle, policy) {
            Some(keep) if !self.closed => keep,
            _ => return 0,
        };
        let missing = keep.saturating_sub(self.waiting.len());
        if missing * TOGETHER < keep {
            0
        } else {
            missing.min(room)
        }
    }
}
