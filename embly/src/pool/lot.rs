//! Wrappers of one function version that wait for a request, so that a request does not wait for
//! a fork.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::demand::{self, Demand};
use crate::limits::{Isolation, Parked};
use crate::wrapper::{Count, Counted, Ordered, Wrapper};

/// New ones are forked when so many of those to keep are missing, one in this many: together,
/// since each time costs the fork server and the master a turn.
const TOGETHER: usize = 4;

/// How often those that are too many are looked for, as long as there are any.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The wrappers of one function version that wait, and how many should.
#[derive(Debug)]
pub struct Lot {
    policy: Parked,
    isolation: Isolation,
    /// Wrappers that serve an invocation.
    in_use: Arc<Count>,
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

impl Who {
    fn has_gone(&self) -> bool {
        match self {
            Self::Ordered(ordered) => ordered.has_gone(),
            Self::Served(wrapper) => wrapper.is_of_no_use(),
        }
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
    pub fn new(policy: Parked, isolation: Isolation) -> Self {
        let now = Instant::now();
        Self {
            policy,
            isolation,
            in_use: Arc::default(),
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

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Somebody needs a wrapper.
    pub fn needed(&self) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.last_taken = now;
        match self.isolation {
            Isolation::Invocation => inner.demand.take(now),
            Isolation::Function(_) => {
                let in_use = u32::try_from(self.in_use.get() + 1).unwrap_or(u32::MAX);
                inner.demand.see(now, in_use);
            }
        }
    }

    /// The one that has served last, whose memory the processors still know; otherwise the one
    /// that waits longest.
    pub fn take(&self) -> Option<Who> {
        let waiting = &mut self.lock().waiting;
        loop {
            let served = matches!(waiting.back()?.who, Who::Served(_));
            let taken = if served {
                waiting.pop_back()
            } else {
                waiting.pop_front()
            };
            let who = taken?.who;
            if !self.is_worn(&who) {
                return Some(who);
            }
        }
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
        let who = Who::Served(wrapper);
        if !self.is_worn(&who) {
            self.park(who, count);
        }
    }

    /// Whether it has served as often, or lived as long, as one may.
    fn is_worn(&self, who: &Who) -> bool {
        match (who, self.isolation) {
            (Who::Ordered(_), _) => false,
            (Who::Served(_), Isolation::Invocation) => true,
            (Who::Served(wrapper), Isolation::Function(reuse)) => {
                let old = |most| wrapper.since.elapsed() >= most;
                reuse.invocations.is_some_and(|most| wrapper.served >= most)
                    || reuse.age.is_some_and(old)
            }
        }
    }

    /// One has ended while it waited: whoever has ended it may have met others.
    pub fn sweep(&self) {
        self.lock()
            .waiting
            .retain(|waiting| !waiting.who.has_gone());
    }

    /// Whether to fork more, and to say so with [`Lot::filled`]; only one does at a time. The machine
    /// has `room` for so many more.
    pub fn begin_to_fill(&self, room: usize) -> bool {
        let due = self.missing(room) > 0;
        let mut inner = self.lock();
        let due = due && !inner.filling;
        inner.filling |= due;
        due
    }

    /// How many to fork now.
    pub fn missing(&self, room: usize) -> usize {
        // Those that are in use come back, or do not.
        let coming = match self.isolation {
            Isolation::Invocation => 0,
            Isolation::Function(_) => self.in_use.get(),
        };
        let mut inner = self.lock();
        let keep = match inner.keep(&self.policy) {
            Some(keep) if !inner.closed => keep,
            _ => return 0,
        };
        let missing = keep.saturating_sub(inner.waiting.len() + coming);
        if missing * TOGETHER < keep {
            0
        } else {
            missing.min(room)
        }
    }

    /// Parks a wrapper.
    pub fn park(&self, who: Who, count: &Arc<Count>) {
        let mut inner = self.lock();
        if !inner.closed && inner.waiting.len() < self.policy.max as usize {
            inner.waiting.push_back(Waiting {
                who,
                _counted: count.one(),
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
        let Some(keep) = inner.keep(&self.policy) else {
            inner.waiting.clear();
            inner.kept = false;
            return Next::PutAway;
        };
        inner.waiting.retain(|waiting| !self.is_worn(&waiting.who));
        let surplus = inner.waiting.len().saturating_sub(keep);
        // The oldest; whoever has served last is the one to keep.
        inner.waiting.drain(..surplus);
        // More may come, or come back, and are then too many.
        let min = self.policy.min as usize;
        if inner.waiting.len() > min || keep > min || inner.filling || self.in_use.get() > 0 {
            return Next::Look(LOOK_EVERY);
        }
        match self.policy.after {
            Some(after) => Next::Look(
                after
                    .saturating_sub(inner.last_taken.elapsed())
                    .max(LOOK_EVERY),
            ),
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
    /// How many there should be now; `None` when nobody has come for long.
    fn keep(&mut self, policy: &Parked) -> Option<usize> {
        let now = Instant::now();
        let idle = now.duration_since(self.last_taken);
        demand::keep(self.demand.largest(now), idle, policy)
    }
}
