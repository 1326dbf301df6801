//! Wrappers of one function version that wait for a request, so that a request does not wait for
//! a fork.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

pub use super::shelf::Next;
use super::shelf::{Shelf, Used, Waits};
use crate::limits::{Isolation, Parked};
use crate::wrapper::{Count, Counted, Ordered, Wrapper};

/// The wrappers of one function version that wait, and those that are in use.
#[derive(Debug)]
pub struct Lot {
    /// Wrappers that serve an invocation.
    in_use: Arc<Count>,
    shelf: Mutex<Shelf<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    who: Who,
    _counted: Counted,
}

/// Who waits.
#[derive(Debug)]
pub enum Who {
    /// One that was asked for: nobody has looked whether it has said hello.
    Ordered(Ordered),
    /// One that has served before.
    Served(Wrapper),
}

impl Waits for Waiting {
    fn has_gone(&self) -> bool {
        match &self.who {
            Who::Ordered(ordered) => ordered.has_gone(),
            Who::Served(wrapper) => wrapper.is_of_no_use(),
        }
    }

    fn used(&self) -> Option<Used> {
        match &self.who {
            Who::Ordered(_) => None,
            Who::Served(Wrapper { served, since, .. }) => Some(Used {
                served: *served,
                since: *since,
            }),
        }
    }
}

impl Lot {
    /// An empty one.
    pub fn new(policy: Parked, isolation: Isolation) -> Self {
        Self {
            in_use: Arc::default(),
            shelf: Mutex::new(Shelf::new(policy, isolation, Instant::now())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelf<Waiting>> {
        // Nothing in here panics between two changes that belong together.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.lock().waiting()
    }

    /// Somebody needs a wrapper.
    pub fn needed(&self) {
        self.lock().needed(Instant::now(), self.in_use.get());
    }

    /// See [`Shelf::take`].
    pub fn take(&self) -> Option<Who> {
        self.lock().take(Instant::now()).map(|waiting| waiting.who)
    }

    /// A wrapper begins to serve an invocation.
    pub fn lend(&self, mut wrapper: Wrapper) -> Wrapper {
        wrapper.in_use = Some(self.in_use.one());
        wrapper
    }

    /// Parks one that has served, if it may serve again.
    pub fn give_back(&self, mut wrapper: Wrapper, count: &Arc<Count>) {
        wrapper.in_use = None;
        wrapper.served += 1;
        self.park(Who::Served(wrapper), count);
    }

    /// See [`Shelf::sweep`].
    pub fn sweep(&self) {
        self.lock().sweep();
    }

    /// See [`Shelf::begin_to_fill`].
    pub fn begin_to_fill(&self, room: usize) -> bool {
        let in_use = self.in_use.get();
        self.lock().begin_to_fill(room, Instant::now(), in_use)
    }

    /// See [`Shelf::missing`].
    pub fn missing(&self, room: usize) -> usize {
        let in_use = self.in_use.get();
        self.lock().missing(room, Instant::now(), in_use)
    }

    /// Parks a wrapper.
    pub fn park(&self, who: Who, count: &Arc<Count>) {
        let _counted = count.one();
        self.lock().park(Waiting { who, _counted }, Instant::now());
    }

    /// See [`Shelf::filled`].
    pub fn filled(&self) {
        self.lock().filled();
    }

    /// See [`Shelf::begin_to_keep`].
    pub fn begin_to_keep(&self) -> bool {
        self.lock().begin_to_keep()
    }

    /// See [`Shelf::look`].
    pub fn look(&self) -> Next {
        let in_use = self.in_use.get();
        self.lock().look(Instant::now(), in_use)
    }

    /// See [`Shelf::clear`].
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// See [`Shelf::close`].
    pub fn close(&self) {
        self.lock().close();
    }
}
