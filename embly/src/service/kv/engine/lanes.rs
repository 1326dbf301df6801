//! Jobs that wait for a thread: a lane for each function, which take turns. One that asks for much
//! waits behind itself, not in front of the others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The lanes. How much may wait in each is for those to see who add to them.
#[derive(Debug)]
pub struct Lanes<J> {
    state: Mutex<State<J>>,
    bell: Condvar,
}

#[derive(Debug)]
struct State<J> {
    /// Those that are not empty.
    lanes: HashMap<Arc<str>, VecDeque<J>>,
    /// Their names, next first.
    turns: VecDeque<Arc<str>>,
    waits: usize,
    poked: bool,
    closed: bool,
}

/// What there is to do.
#[derive(Debug)]
pub enum Taken<J> {
    /// These.
    Jobs(Vec<J>),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    Closed,
}

impl<J> Lanes<J> {
    /// All empty.
    pub fn new() -> Self {
        let state = State {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            waits: 0,
            poked: false,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            bell: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // Each change under the lock is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job to a lane; gives it back where nobody takes any more.
    pub fn push(&self, lane: &Arc<str>, job: J) -> Result<(), J> {
        let mut state = self.lock();
        if state.closed {
            return Err(job);
        }
        let it = &mut *state;
        match it.lanes.get_mut(lane) {
            Some(jobs) => jobs.push_back(job),
            None => {
                it.lanes.insert(Arc::clone(lane), VecDeque::from([job]));
                it.turns.push_back(Arc::clone(lane));
            }
        }
        let waits = state.waits > 0;
        drop(state);
        if waits {
            self.bell.notify_one();
        }
        Ok(())
    }

    /// Takes up to `most` jobs, one of each lane in turn; waits for the first one.
    pub fn take(&self, most: usize, timeout: Duration) -> Taken<J> {
        let mut state = self.lock();
        if state.turns.is_empty() && !state.closed && !state.poked {
            state.waits += 1;
            let waited = self.bell.wait_timeout_while(state, timeout, |state| {
                state.turns.is_empty() && !state.closed && !state.poked
            });
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.waits -= 1;
        }
        state.poked = false;
        let mut jobs = Vec::new();
        let it = &mut *state;
        while jobs.len() < most {
            let Some(lane) = it.turns.pop_front() else {
                break;
            };
            let Some(waiting) = it.lanes.get_mut(&lane) else {
                continue;
            };
            jobs.extend(waiting.pop_front());
            if waiting.is_empty() {
                it.lanes.remove(&lane);
            } else {
                it.turns.push_back(lane);
            }
        }
        match jobs.is_empty() {
            false => Taken::Jobs(jobs),
            true if state.closed => Taken::Closed,
            true => Taken::Nothing,
        }
    }

    /// Has whoever waits look around.
    #[cfg(test)]
    pub fn poke(&self) {
        self.lock().poked = true;
        self.bell.notify_all();
    }

    /// Takes no more; those that wait are still done.
    pub fn close(&self) {
        self.lock().closed = true;
        self.bell.notify_all();
    }

    /// As [`close`](Self::close), and forgets those that wait.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.turns.clear();
        // Dropping a job tells whoever waits for it; not under the lock.
        let lanes = std::mem::take(&mut state.lanes);
        drop(state);
        drop(lanes);
        self.bell.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_in_one_lane_does_not_hold_up_the_others() {
        let lanes = Lanes::new();
        let (flood, other) = (Arc::from("flood"), Arc::from("other"));
        for n in 0..1000 {
            lanes.push(&flood, n).unwrap();
        }
        lanes.push(&other, -1).unwrap();
        lanes.push(&other, -2).unwrap();
        let Taken::Jobs(jobs) = lanes.take(5, Duration::ZERO) else {
            panic!()
        };
        assert_eq!(jobs, [0, -1, 1, -2, 2]);
    }

    #[test]
    fn what_waits_is_done_after_closing_and_nothing_is_added() {
        let lanes = Lanes::new();
        let lane = Arc::from("a");
        lanes.push(&lane, 1).unwrap();
        lanes.close();
        assert_eq!(lanes.push(&lane, 2), Err(2));
        let Taken::Jobs(jobs) = lanes.take(5, Duration::ZERO) else {
            panic!()
        };
        assert_eq!(jobs, [1]);
        assert!(matches!(lanes.take(5, Duration::ZERO), Taken::Closed));
    }
}
