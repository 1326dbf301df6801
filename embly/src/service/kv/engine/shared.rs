//! What the writer has committed, as readers see it without asking another thread.
//!
//! The order: the writer commits to the file, then publishes here, then acknowledges. A reader of
//! the file may see a commit before it is published; it waits for that before it tells anybody, so
//! that nobody who reads later sees less.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::cache::{Cache, Look};
use super::feed::{Change, Feed, News, Of, Place, What};
use super::types::Entry;

/// Watches of one store, of all functions: each is compared with every key that is changed.
const WATCHES: usize = 16_384;

/// Watches that one function may have of one store, in all its invocations: the others' are not used
/// up by it.
const WATCHES_OF_ONE: usize = 4096;

/// Changes that are published without letting readers in between, unless one request has more.
const AT_ONCE: usize = 64;

/// Between the writer and all readers.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    published: Condvar,
    watchers: Mutex<Watchers>,
}

#[derive(Debug)]
struct State {
    cache: Cache,
    feed: Feed,
    /// All up to this number is published.
    sequence: u64,
    stopped: bool,
}

#[derive(Debug, Default)]
struct Watchers {
    /// Copied when it changes: the writer looks through it without keeping anybody waiting.
    list: Arc<Vec<Watcher>>,
    next: u64,
}

#[derive(Debug, Clone)]
struct Watcher {
    id: u64,
    lane: Arc<str>,
    of: Of,
    bell: Arc<Notify>,
}

/// A place among those who are told of changes, as long as it lives.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    id: u64,
    of: Of,
    place: Place,
    /// What it was to begin with is not known any more: all up to this number.
    missed: Option<u64>,
}

/// No more watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// Of one function.
    #[error("a function has at most {WATCHES_OF_ONE} watches of a store, in all its invocations")]
    OfOne,
    /// In all.
    #[error("a store has at most {WATCHES} watches")]
    InAll,
}

impl Shared {
    /// A store whose last change had this number.
    pub fn new(sequence: u64) -> Self {
        let state = State {
            cache: Cache::default(),
            feed: Feed::new(sequence),
            sequence,
            stopped: false,
        };
        Self {
            state: Mutex::new(state),
            published: Condvar::new(),
            watchers: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a key.
    pub fn look(&self, key: &[u8]) -> Look {
        self.lock().cache.look(key)
    }

    /// Waits until all is published that a reader of the file has seen; whether it ever is.
    pub fn after(&self, sequence: u64) -> bool {
        self.catch_up(sequence).sequence >= sequence
    }

    /// The same, and keeps what was read.
    pub fn fill(&self, sequence: u64, key: &[u8], token: u64, entry: Option<&Entry>) -> bool {
        let mut state = self.catch_up(sequence);
        let published = state.sequence >= sequence;
        if published {
            state.cache.fill(key, token, entry);
        }
        published
    }

    fn catch_up(&self, sequence: u64) -> MutexGuard<'_, State> {
        let waited = self.published.wait_while(self.lock(), |state| {
            state.sequence < sequence && !state.stopped
        });
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what was committed, up to this number: the changes of each request together.
    pub fn publish(&self, requests: Vec<Vec<Change>>, sequence: u64) {
        let touched: Vec<Bytes> = requests.iter().flatten().map(|it| it.key.clone()).collect();
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let mut state = self.lock();
            let mut count = 0;
            while count < AT_ONCE
                && let Some(changes) = requests.next()
            {
                count += changes.len();
                for change in changes {
                    let entry = match &change.what {
                        What::Set(entry) => Some(entry.clone()),
                        What::Deleted | What::Expired => None,
                    };
                    state.cache.set(change.key.clone(), entry);
                    state.feed.push(change);
                }
            }
        }
        self.lock().sequence = sequence;
        self.published.notify_all();
        let watchers = Arc::clone(&self.watchers().list);
        for watcher in watchers.iter() {
            if touched.iter().any(|key| watcher.of.has(key)) {
                watcher.bell.notify_one();
            }
        }
    }

    /// Whether nothing is published any more.
    pub fn has_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Nothing is published any more.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.published.notify_all();
    }

    /// Tells somebody of changes, by ringing a bell; with the number of the last one before them.
    pub fn watch(
        self: &Arc<Self>,
        lane: &Arc<str>,
        of: Of,
        after: Option<u64>,
        bell: &Arc<Notify>,
    ) -> Result<(Watch, u64), TooMany> {
        let mut watchers = self.watchers();
        let own = watchers.list.iter().filter(|it| it.lane == *lane);
        if own.count() >= WATCHES_OF_ONE {
            return Err(TooMany::OfOne);
        }
        if watchers.list.len() >= WATCHES {
            return Err(TooMany::InAll);
        }
        watchers.next += 1;
        let id = watchers.next;
        Arc::make_mut(&mut watchers.list).push(Watcher {
            id,
            lane: Arc::clone(lane),
            of: of.clone(),
            bell: Arc::clone(bell),
        });
        drop(watchers);
        let state = self.lock();
        let (place, known) = state.feed.begin(after);
        let last = state.feed.last();
        drop(state);
        let watch = Watch {
            shared: Arc::clone(self),
            id,
            of,
            place,
            missed: (!known).then_some(last),
        };
        Ok((watch, after.filter(|_| known).unwrap_or(last)))
    }
}

impl Watch {
    /// What has changed since the last call, or a part of it of so many bytes.
    pub fn news(&mut self, most: usize) -> News {
        let state = self.shared.lock();
        let mut news = state.feed.read(&mut self.place, &self.of, most);
        drop(state);
        let missed = self.missed.take();
        news.fell_behind = news.fell_behind.or(missed);
        news
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watchers = self.shared.watchers();
        Arc::make_mut(&mut watchers.list).retain(|watcher| watcher.id != self.id);
    }
}
