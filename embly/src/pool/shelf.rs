//! The wrappers of one function version that wait, and how many should. Pure: whoever asks brings the time,
//! and says how many are in use.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::demand::{self, Demand};
use crate::limits::{Isolation, Parked};

/// New ones are forked when so many of those to keep are missing, one in this many: together,
/// since each time costs the fork server and the master a turn.
const TOGETHER: usize = 4;

/// How often those that are too many are looked for, as long as there are any.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is to be known of one that waits.
pub trait Waits {
    /// Whether it has ended meanwhile.
    fn has_gone(&self) -> bool;

    /// What it has done; `None` for one that nobody has used.
    fn used(&self) -> Option<Used>;
}

/// What one that waits has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Invocations that it has served.
    pub served: u32,
    /// When it said hello.
    pub since: Instant,
}

/// What is to be done about a shelf that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again then.
    Look(Duration),
    /// Nobody has come for long: put the fork server away as well.
    PutAway,
    /// Nothing, until somebody comes.
    Nothing,
}

/// Those that wait, in the order in which they came.
#[derive(Debug)]
pub struct Shelf<W> {
    policy: Parked,
    isolation: Isolation,
    waiting: VecDeque<W>,
    demand: Demand,
    last_taken: Instant,
    /// Somebody is forking more.
    filling: bool,
    /// Somebody looks after it when it gets quiet.
    kept: bool,
    /// Another version has taken over.
    closed: bool,
}

impl<W: Waits> Shelf<W> {
    /// An empty one.
    pub const fn new(policy: Parked, isolation: Isolation, now: Instant) -> Self {
        Self {
            policy,
            isolation,
            waiting: VecDeque::new(),
            demand: Demand::new(now),
            last_taken: now,
            filling: false,
            kept: false,
            closed: false,
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Somebody needs one.
    pub fn needed(&mut self, now: Instant, in_use: usize) {
        self.last_taken = now;
        match self.isolation {
            Isolation::Invocation => self.demand.take(now),
            Isolation::Function(_) => {
                let in_use = u32::try_from(in_use + 1).unwrap_or(u32::MAX);
                self.demand.see(now, in_use);
            }
        }
    }

    /// The one that has served last, whose memory the processors still know; otherwise the one
    /// that waits longest.
    pub fn take(&mut self, now: Instant) -> Option<W> {
        loop {
            let served = self.waiting.back()?.used().is_some();
            let taken = if served {
                self.waiting.pop_back()
            } else {
                self.waiting.pop_front()
            };
            let taken = taken?;
            if !is_worn(self.isolation, &taken, now) {
                return Some(taken);
            }
        }
    }

    /// One has ended while it waited: whoever has ended it may have met others.
    pub fn sweep(&mut self) {
        self.waiting.retain(|waiting| !waiting.has_gone());
    }

    /// Whether to fork more, and to say so with [`Shelf::filled`]; only one does at a time. The machine
    /// has `room` for so many more.
    pub fn begin_to_fill(&mut self, room: usize, now: Instant, in_use: usize) -> bool {
        let due = self.missing(room, now, in_use) > 0 && !self.filling;
        self.filling |= due;
        due
    }

    /// How many to fork now.
    pub fn missing(&mut self, room: usize, now: Instant, in_use: usize) -> usize {
        // Those that are in use come back, or do not.
        let coming = match self.isolation {
            Isolation::Invocation => 0,
            Isolation::Function(_) => in_use,
        };
        let keep = match self.keep(now) {
            Some(keep) if !self.closed => keep,
            _ => return 0,
        };
        let missing = keep.saturating_sub(self.waiting.len() + coming);
        if missing * TOGETHER < keep {
            0
        } else {
            missing.min(room)
        }
    }

    /// Lets one wait, if it may, and if there is room; else it is dropped.
    pub fn park(&mut self, one: W, now: Instant) {
        let room = self.waiting.len() < self.policy.max as usize;
        if !self.closed && room && !is_worn(self.isolation, &one, now) {
            self.waiting.push_back(one);
        }
    }

    /// Enough were forked, or none can be.
    pub fn filled(&mut self) {
        self.filling = false;
    }

    /// Whether somebody has to look after it from now on; only one does.
    pub fn begin_to_keep(&mut self) -> bool {
        !self.closed && !std::mem::replace(&mut self.kept, true)
    }

    /// Ends those that are too many by now, and lets go of those that have ended: each holds a descriptor
    /// until somebody meets it.
    pub fn look(&mut self, now: Instant, in_use: usize) -> Next {
        if self.closed {
            return Next::Nothing;
        }
        let Some(keep) = self.keep(now) else {
            self.waiting.clear();
            self.kept = false;
            return Next::PutAway;
        };
        let isolation = self.isolation;
        self.waiting
            .retain(|one| !one.has_gone() && !is_worn(isolation, one, now));
        let surplus = self.waiting.len().saturating_sub(keep);
        // The oldest; whoever has served last is the one to keep.
        self.waiting.drain(..surplus);
        // More may come, or come back, and are then too many.
        let min = self.policy.min as usize;
        if self.waiting.len() > min || keep > min || self.filling || in_use > 0 {
            return Next::Look(LOOK_EVERY);
        }
        match self.policy.after {
            Some(after) => {
                let idle = now.duration_since(self.last_taken);
                Next::Look(after.saturating_sub(idle).max(LOOK_EVERY))
            }
            None => {
                self.kept = false;
                Next::Nothing
            }
        }
    }

    /// Ends those that wait, for the memory or the processors that they take.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Ends those that wait, for good.
    pub fn close(&mut self) {
        self.closed = true;
        self.waiting.clear();
    }

    /// How many there should be now; `None` when nobody has come for long.
    fn keep(&mut self, now: Instant) -> Option<usize> {
        let idle = now.duration_since(self.last_taken);
        demand::keep(self.demand.largest(now), idle, &self.policy)
    }
}

/// Whether it has served as often, or lived as long, as one may.
fn is_worn(isolation: Isolation, one: &impl Waits, now: Instant) -> bool {
    match (one.used(), isolation) {
        (None, _) => false,
        (Some(_), Isolation::Invocation) => true,
        (Some(Used { served, since }), Isolation::Function(reuse)) => {
            let old = |most| now.duration_since(since) >= most;
            reuse.invocations.is_some_and(|most| served >= most) || reuse.age.is_some_and(old)
        }
    }
}

#[cfg(test)]
mod tests;
