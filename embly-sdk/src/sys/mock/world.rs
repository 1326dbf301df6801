//! Who is there, whose turn it is, what time it is.

use super::pipe::End;
use crate::reason::{Exit, Reason};
#[cfg(feature = "http-client")]
use std::{
    any::{Any, TypeId},
    collections::HashMap,
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What starts a function: runs it to its end, gives its exit code.
pub(crate) type Start = Arc<dyn Fn() -> i32 + Send + Sync>;

/// The guest that is the test itself. It has no parent.
pub(crate) const TEST: usize = 0;

/// How often each host call was made, by everybody in this test together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// Calls of `_read`.
    pub read: u64,
    /// Calls of `_write`.
    pub write: u64,
    /// Calls of `_spawn`.
    pub spawn: u64,
    /// Calls of `_events`.
    pub events: u64,
    /// Calls of `_close`.
    pub close: u64,
    /// Calls of `_status`.
    pub status: u64,
}

/// One invocation.
pub(super) struct Guest {
    pub name: String,
    pub ends: BTreeMap<i32, End>,
    pub next_id: i32,
    /// Streams on which something changed, oldest first, each once.
    pub events: VecDeque<i32>,
    /// Limits that are near, oldest first.
    pub warnings: VecDeque<&'static str>,
    pub phase: Phase,
    /// Its ending, when it must end.
    pub doom: Option<Exit>,
    /// It outlives its parent.
    pub detached: bool,
    /// Wakes its thread when it has the turn.
    pub bell: Arc<Condvar>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Has the turn, or waits for it.
    Runs,
    /// In `events`, until this time if there is one.
    Waits(Option<Duration>),
    /// Must end at its next host call: it was killed, its parent has ended, or the test.
    Doomed,
    /// Over.
    Ended,
}

impl Guest {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ends: BTreeMap::new(),
            next_id: 2,
            events: VecDeque::new(),
            warnings: VecDeque::new(),
            phase: Phase::Runs,
            doom: None,
            detached: false,
            bell: Arc::default(),
        }
    }
}

/// All that one test has.
#[derive(Default)]
pub(crate) struct World {
    state: Mutex<State>,
    /// What the stand-ins for key-value stores keep.
    pub kv: Mutex<crate::mock::kv::Stores>,
}

#[derive(Default)]
pub(super) struct State {
    pub guests: Vec<Guest>,
    pub functions: BTreeMap<String, Start>,
    /// What functions get that list it.
    pub secrets: BTreeMap<String, String>,
    /// Who has which name.
    pub names: BTreeMap<String, usize>,
    pub calls: Calls,
    pub now: Duration,
    pub turn: usize,
    /// Who goes on next.
    pub queue: VecDeque<usize>,
    /// The test is over.
    pub over: bool,
    /// What stand-ins keep, one value of each type.
    #[cfg(feature = "http-client")]
    kept: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl World {
    pub fn new() -> Arc<Self> {
        let world = Self::default();
        world.lock().guests.push(Guest::new("the test"));
        for (name, start) in crate::mock::services() {
            world.register(name, start);
        }
        Arc::new(world)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was locked is a bug here, and is seen where it happened.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn register(&self, name: &str, start: Start) {
        self.lock().functions.insert(name.to_owned(), start);
    }

    /// What starts the function of this name, if there is one.
    #[cfg(feature = "tcp")]
    pub(crate) fn registered(&self, name: &str) -> Option<Start> {
        self.lock().functions.get(name).cloned()
    }

    /// The value of this type that stand-ins and the test share.
    #[cfg(feature = "http-client")]
    pub(crate) fn kept<T: Any + Default + Send + Sync>(&self) -> Arc<T> {
        let mut state = self.lock();
        let kept = state.kept.entry(TypeId::of::<T>());
        let kept = Arc::clone(kept.or_insert_with(|| Arc::new(T::default())));
        kept.downcast().expect("it is kept by its type")
    }

    pub(crate) fn set_secret(&self, name: &str, value: &str) {
        let mut state = self.lock();
        state.secrets.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn secret(&self, name: &str) -> Option<String> {
        self.lock().secrets.get(name).cloned()
    }

    pub(crate) fn calls(&self) -> Calls {
        self.lock().calls
    }

    pub(crate) fn now(&self) -> Duration {
        self.lock().now
    }

    /// Has a guest look at the stream of its parent, as if something had changed there.
    pub(crate) fn poke(&self, guest: usize) {
        let mut state = self.lock();
        if state.guests[guest].phase != Phase::Ended {
            state.notify(guest, 1);
        }
    }

    /// Ends everybody, because the test is over.
    pub(crate) fn shut_down(&self) {
        let mut state = self.lock();
        state.over = true;
        for guest in &mut state.guests {
            guest.bell.notify_all();
        }
    }
}

impl State {
    /// Something changed for a guest on one of its streams.
    pub fn notify(&mut self, guest: usize, id: i32) {
        let it = &mut self.guests[guest];
        if !it.events.contains(&id) {
            it.events.push_back(id);
        }
        self.rouse(guest);
    }

    /// Lets a guest go on that waits in `events`.
    fn rouse(&mut self, guest: usize) {
        if let Phase::Waits(_) = self.guests[guest].phase {
            self.guests[guest].phase = Phase::Runs;
            self.queue.push_back(guest);
        }
    }

    /// Gives the turn to who is next. When all wait, time passes; when they wait without
    /// limit, the test gets the turn, and finds itself still waiting.
    pub fn pass(&mut self) {
        if self.queue.is_empty()
            && let Some((at, guest)) = self.next_timeout()
        {
            self.now = self.now.max(at);
            self.rouse(guest);
        }
        self.turn = self.queue.pop_front().unwrap_or(TEST);
        self.guests[self.turn].bell.notify_all();
    }

    fn next_timeout(&self) -> Option<(Duration, usize)> {
        let timeout = |(guest, it): (usize, &Guest)| match it.phase {
            Phase::Waits(Some(at)) => Some((at, guest)),
            _ => None,
        };
        self.guests.iter().enumerate().filter_map(timeout).min()
    }

    /// The names of all that wait.
    pub fn who_waits(&self) -> String {
        let waits = |it: &&Guest| matches!(it.phase, Phase::Waits(_));
        let names: Vec<_> = self
            .guests
            .iter()
            .filter(waits)
            .map(|it| &*it.name)
            .collect();
        names.join(", ")
    }

    /// Ends a guest: tells who it talked to, ends its children.
    pub fn end(&mut self, guest: usize, exit: &Exit) {
        self.guests[guest].phase = Phase::Ended;
        self.queue.retain(|it| *it != guest);
        self.names.retain(|_, holder| *holder != guest);
        let ends = std::mem::take(&mut self.guests[guest].ends);
        for (id, end) in &ends {
            let Some(peer) = end.peer else { continue };
            if let Some(theirs) = self.guests[peer.guest].ends.get_mut(&peer.id)
                && theirs.exit.is_none()
            {
                theirs.exit = Some(exit.clone());
                self.notify(peer.guest, peer.id);
            }
            if *id != 1 && !end.by_name && !self.guests[peer.guest].detached {
                self.doom(peer.guest, Reason::ParentEnded, "");
            }
        }
        // Those who have looked it up, and not spoken to it.
        let waits = |(other, it): (usize, &Guest)| {
            let ids = it.ends.iter().filter(|(_, end)| end.host == Some(guest));
            ids.map(|(id, _)| (other, *id)).collect::<Vec<_>>()
        };
        let waiting: Vec<_> = self.guests.iter().enumerate().flat_map(waits).collect();
        for (other, id) in waiting {
            if let Some(end) = self.guests[other].ends.get_mut(&id) {
                end.host = None;
                end.exit = Some(exit.clone());
                self.notify(other, id);
            }
        }
    }

    /// Has a guest end at its next host call, unless it has ended.
    pub fn doom(&mut self, guest: usize, reason: Reason, detail: &str) {
        let it = &mut self.guests[guest];
        if matches!(it.phase, Phase::Doomed | Phase::Ended) {
            return;
        }
        it.doom = Some(Exit {
            reason,
            code: 0,
            detail: detail.to_owned(),
        });
        if let Phase::Waits(_) = it.phase {
            self.queue.push_back(guest);
        }
        self.guests[guest].phase = Phase::Doomed;
    }
}
