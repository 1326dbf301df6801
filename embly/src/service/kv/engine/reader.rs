//! The threads that read a store's file, for what is not known in memory. They wait for no writer.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::clock::Clock;
use super::file;
use super::lanes::{Lanes, Taken};
use super::shared::Shared;
use super::types::{Entry, Error, Listing, Page};

/// A request that waits for a reader.
pub struct Job {
    /// What to read, and where to tell.
    pub ask: Ask,
    /// Its place in the lane, free when it is done.
    pub room: OwnedSemaphorePermit,
}

/// What is read.
pub enum Ask {
    /// The entry of a key, and the token of the cache.
    Get(Bytes, u64, Reply<Option<Entry>>),
    /// A page of a list.
    List(Listing, Reply<Page>),
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What a thread has.
pub struct Reader {
    pub connection: Connection,
    pub lanes: Arc<Lanes<Job>>,
    pub shared: Arc<Shared>,
    pub clock: Clock,
}

/// Where a defect ends the thread, nobody waits for it any longer.
struct AtPanic<'a>(&'a Lanes<Job>);

impl Drop for AtPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.abandon();
        }
    }
}

impl Reader {
    /// Until the store is closed.
    pub fn run(self) {
        let _at_panic = AtPanic(&self.lanes);
        loop {
            // One at a time: another thread may be free for the next.
            match self.lanes.take(1, Duration::MAX) {
                Taken::Jobs(jobs) => jobs.into_iter().for_each(|job| self.serve(job)),
                Taken::Nothing => {}
                Taken::Closed => return,
            }
        }
    }

    fn serve(&self, job: Job) {
        // Whoever asked may have gone.
        match job.ask {
            Ask::Get(key, token, reply) => {
                let read = self.read(|connection| file::get(connection, &key));
                let _ = reply.send(read.and_then(|(entry, sequence)| {
                    let published = self.shared.fill(sequence, &key, token, entry.as_ref());
                    published.then_some(entry).ok_or(Error::Stopped)
                }));
            }
            Ask::List(listing, reply) => {
                let now = self.clock.now();
                let read = self.read(|connection| file::list(connection, &listing, now));
                let _ = reply.send(read.and_then(|(page, sequence)| {
                    let published = self.shared.after(sequence);
                    published.then_some(page).ok_or(Error::Stopped)
                }));
            }
        }
        drop(job.room);
    }

    /// Reads at one moment, and the number of the last change before it.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Error>,
    ) -> Result<(T, u64), Error> {
        let transaction = self.connection.unchecked_transaction()?;
        let sequence = file::head(&transaction)?.sequence;
        let found = read(&transaction)?;
        // Nothing was changed: it only ends.
        transaction.commit()?;
        Ok((found, sequence))
    }
}
