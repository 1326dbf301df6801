//! One store: an SQLite file, one thread that changes it, a few that read it, and in front of them
//! the values that were used last.
//!
//! Changes that wait together are committed together, and each is acknowledged when it is durable.
//! The master is the only one who writes the file, so what it knows in memory is true.
//!
//! - [`types`]: what is asked and answered;
//! - [`file`]: the schema, backup; [`apply`]: what a request does to it;
//! - [`writer`], [`reader`]: the threads; [`lanes`]: how requests wait for them;
//! - [`shared`]: what was committed, in memory: [`cache`] for those who read, [`feed`] for those who
//!   watch;
//! - [`clock`]: when entries expire.

mod apply;
mod cache;
pub mod clock;
mod feed;
pub mod file;
mod lanes;
mod reader;
mod settings;
mod shared;
#[cfg(test)]
mod tests;
pub mod types;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::config::Durability;
use cache::Look;
use clock::Clock;
pub use feed::{Change, Of, What};
use lanes::Lanes;
use reader::{Ask, Reader};
use settings::Settings;
use shared::Shared;
pub use shared::{TooMany, Watch};
use types::{Entry, Error, Listing, Outcome, Page, Write};
pub use writer::Say;
use writer::{Done, Writer};

/// Threads that read. Two, so that a long list does not hold up short reads.
const READERS: usize = 2;

/// Bytes of changes that one function may have waiting for the writer, in all its invocations, and of
/// what they were answered with, until the callers have been told.
const ROOM_TO_WRITE: usize = 4 * 1024 * 1024;

/// What a change costs of that at least.
const LEAST: usize = 1024;

/// Reads of the file that one function may have waiting.
const ROOM_TO_READ: usize = 64;

/// A store that is open. Dropping it waits until what was asked for is done.
pub struct Engine {
    writes: Arc<Lanes<writer::Job>>,
    reads: Arc<Lanes<reader::Job>>,
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    clock: Clock,
    rooms: Mutex<HashMap<Arc<str>, Arc<Room>>>,
    threads: Vec<JoinHandle<()>>,
}

/// What one function may have waiting.
#[derive(Debug)]
struct Room {
    write: Arc<Semaphore>,
    read: Arc<Semaphore>,
}

/// One function's access to a store.
#[derive(Debug, Clone)]
pub struct Client {
    engine: Arc<Engine>,
    lane: Arc<str>,
    room: Arc<Room>,
}

/// A change that was asked for, and then what became of it.
#[derive(Debug)]
pub struct Waits {
    reply: oneshot::Receiver<Result<Done, Error>>,
    /// What the outcome takes of the room, as long as this is there.
    room: Option<OwnedSemaphorePermit>,
}

impl Future for Waits {
    type Output = Result<Result<Outcome, Error>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = ready!(Pin::new(&mut self.reply).poll(context));
        Poll::Ready(reply.map(|done| {
            done.map(|Done { outcome, room }| {
                self.room = room;
                outcome
            })
        }))
    }
}

/// The answer, once it is there.
pub async fn answer<T>(
    pending: impl Future<Output = Result<Result<T, Error>, RecvError>>,
) -> Result<T, Error> {
    pending.await.map_err(|_| Error::Stopped)?
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the file, or makes it. Blocks. `say` is told of what goes wrong later.
    ///
    /// # Errors
    /// What SQLite says; when the file is no store.
    pub fn open(
        path: &Path,
        durability: Durability,
        size: u64,
        clock: Clock,
        say: Say,
    ) -> Result<Self, Error> {
        let (connection, head) = file::open(path, durability)?;
        let (writes, reads) = (Arc::new(Lanes::new()), Arc::new(Lanes::new()));
        let shared = Arc::new(Shared::new(head.sequence));
        let settings = Arc::new(Settings::new(durability, size));
        let mut engine = Self {
            writes: Arc::clone(&writes),
            reads: Arc::clone(&reads),
            shared: Arc::clone(&shared),
            settings: Arc::clone(&settings),
            clock: clock.clone(),
            rooms: Mutex::default(),
            threads: Vec::new(),
        };
        let writer = Writer {
            connection,
            head,
            lanes: writes,
            shared: Arc::clone(&shared),
            settings,
            clock: clock.clone(),
            say,
            durability,
        };
        engine.start("kv writer", move || writer.run())?;
        for _ in 0..READERS {
            let reader = Reader {
                connection: file::open_to_read(path)?,
                lanes: Arc::clone(&reads),
                shared: Arc::clone(&shared),
                clock: clock.clone(),
            };
            engine.start("kv reader", move || reader.run())?;
        }
        Ok(engine)
    }

    fn start(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::Failed(error.to_string()))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Changes what the project file says of it, from the next commit on.
    pub fn set(&self, durability: Durability, size: u64) {
        self.settings.set(durability, size);
    }

    /// Whether it serves nobody any more: its file has failed in a way that nothing can be said about.
    pub fn has_stopped(&self) -> bool {
        self.shared.has_stopped()
    }

    /// The time by which entries expire.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }

    /// A function's access.
    pub fn client(self: &Arc<Self>, function: &Arc<str>) -> Client {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if !rooms.contains_key(function) {
            // Functions that are not there any more.
            rooms.retain(|_, room| Arc::strong_count(room) > 1);
        }
        let room = rooms.entry(Arc::clone(function)).or_insert_with(|| {
            Arc::new(Room {
                write: Arc::new(Semaphore::new(ROOM_TO_WRITE)),
                read: Arc::new(Semaphore::new(ROOM_TO_READ)),
            })
        });
        Client {
            engine: Arc::clone(self),
            lane: Arc::clone(function),
            room: Arc::clone(room),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.reads.close();
        // The writer is the first of them, and ends last: whoever is the last to let the file go
        // tidies it up, and readers may not.
        while let Some(thread) = self.threads.pop() {
            if self.threads.is_empty() {
                self.writes.close();
            }
            // One that has panicked has told so.
            let _ = thread.join();
        }
    }
}

impl Client {
    /// The store.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The entry of a key, if its time has not passed. Ready at once where it is known in memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn get(&self, key: &Bytes) -> Result<Option<Entry>, Error> {
        let entry = match self.engine.shared.look(key) {
            Look::Known(entry) => entry,
            Look::Missing(token) => {
                let ask = |reply| Ask::Get(key.clone(), token, reply);
                answer(self.read(ask).await?).await?
            }
        };
        Ok(entry.filter(|entry| !entry.is_over(self.engine.now())))
    }

    /// A page of a list.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn list(&self, listing: Listing) -> Result<Page, Error> {
        answer(self.read(|reply| Ask::List(listing, reply)).await?).await
    }

    async fn read<T>(
        &self,
        ask: impl FnOnce(oneshot::Sender<T>) -> Ask,
    ) -> Result<oneshot::Receiver<T>, Error> {
        let room = room(&self.room.read, 1).await?;
        let (reply, pending) = oneshot::channel();
        let job = reader::Job {
            ask: ask(reply),
            room,
        };
        let pushed = self.engine.reads.push(&self.lane, job);
        pushed.map(|()| pending).map_err(|_| Error::Stopped)
    }

    /// Asks for a change; waits until there is room for it. It is made in the order in which this
    /// function's changes are asked for, and answered when it is durable.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn write(&self, write: Write) -> Result<Waits, Error> {
        let room = self.room_for(&write).await?;
        self.write_in(room, write)
    }

    /// Waits until there is room for a change. Whoever has outcomes that nobody has taken gives them
    /// away meanwhile: they take room as well.
    ///
    /// # Errors
    /// When the store has stopped.
    pub async fn room_for(&self, write: &Write) -> Result<OwnedSemaphorePermit, Error> {
        room(&self.room.write, size(write)).await
    }

    /// As [`write`](Self::write), where there is room.
    ///
    /// # Errors
    /// When the store has stopped.
    pub fn write_in(&self, room: OwnedSemaphorePermit, write: Write) -> Result<Waits, Error> {
        let (sender, reply) = oneshot::channel();
        let job = writer::Job {
            write,
            reply: sender,
            room,
        };
        let pushed = self.engine.writes.push(&self.lane, job);
        let room = None;
        pushed
            .map(|()| Waits { reply, room })
            .map_err(|_| Error::Stopped)
    }

    /// Watches keys; `bell` rings when something of it was changed.
    ///
    /// # Errors
    /// When there are too many who do.
    pub fn watch(
        &self,
        of: Of,
        after: Option<u64>,
        bell: &Arc<Notify>,
    ) -> Result<(Watch, u64), TooMany> {
        self.engine.shared.watch(&self.lane, of, after, bell)
    }
}

async fn room(semaphore: &Arc<Semaphore>, size: usize) -> Result<OwnedSemaphorePermit, Error> {
    let size = u32::try_from(size.min(ROOM_TO_WRITE)).unwrap_or(u32::MAX);
    let room = Arc::clone(semaphore).acquire_many_owned(size).await;
    room.map_err(|_| Error::Stopped)
}

/// What a change holds in memory while it waits, and at most afterwards.
fn size(write: &Write) -> usize {
    let bytes = match write {
        Write::Set { key, value, .. } => key.len() + value.len(),
        Write::Swap {
            key, expected, new, ..
        } => {
            let expected = match expected {
                types::Expected::Value(value) => value.len(),
                types::Expected::Absent | types::Expected::Version(_) => 0,
            };
            // It may be answered with what is there.
            key.len() + expected + new.as_ref().map_or(0, Bytes::len) + super::MAX_VALUE
        }
        Write::Delete { key } | Write::Increment { key, .. } | Write::Expire { key, .. } => {
            key.len()
        }
        Write::Batch { checks, writes } => {
            let checks = checks.iter().map(|(key, _)| key.len() + 64);
            let value = |new: &Option<(Bytes, Option<u64>)>| {
                new.as_ref().map_or(0, |(value, _)| value.len())
            };
            let writes = writes.iter().map(|(key, new)| key.len() + value(new) + 128);
            checks.chain(writes).sum()
        }
    };
    bytes.max(LEAST)
}
