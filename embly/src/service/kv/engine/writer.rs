//! The one thread that changes a store. What waits together is committed together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::apply::Group;
use super::clock::Clock;
use super::feed::Change;
use super::file::{self, Head};
use super::lanes::{Lanes, Taken};
use super::settings::Settings;
use super::shared::Shared;
use super::types::{Error, Outcome, Write};
use crate::config::Durability;

/// Requests that one commit takes: more would make the first of them wait longer than the disk does.
const GROUP: usize = 512;

/// Entries that one commit clears away; requests come in between.
const SWEEP: u32 = 512;

/// Clearing away is not done more often than this. Nobody sees the difference, but those who watch.
const SWEEP_PAUSE: Duration = Duration::from_millis(250);

/// Pages that are given back to the file system at a time, when nobody waits.
const VACUUM: u32 = 256;

/// Free pages that are left: they are used again soon.
const FREE: u32 = 1024;

/// A file that is read cannot be cut; it is tried again after this.
const CUT_PAUSE: Duration = Duration::from_secs(1);

/// How long the writer waits for other programs that have the file, but where it can come again.
const BUSY: Duration = Duration::from_secs(5);

/// Longest sleep; whatever was missed is seen then.
const SLEEP: Duration = Duration::from_secs(60);

/// A request that waits for the writer.
pub struct Job {
    /// What to do.
    pub write: Write,
    /// Where to tell.
    pub reply: oneshot::Sender<Result<Done, Error>>,
    /// Its place in the lane, free when it is done but for what its outcome takes.
    pub room: OwnedSemaphorePermit,
}

/// What became of a request.
#[derive(Debug)]
pub struct Done {
    pub outcome: Outcome,
    /// The part of its place that the outcome takes in memory.
    pub room: Option<OwnedSemaphorePermit>,
}

impl Done {
    fn new(outcome: Outcome, mut room: OwnedSemaphorePermit) -> Self {
        let room = match &outcome {
            Outcome::Other(Some(entry)) => {
                let part = room.split(entry.value.len());
                Some(part.unwrap_or(room))
            }
            // These are small.
            _ => None,
        };
        Self { outcome, room }
    }
}

/// Says something to the operator.
pub type Say = Box<dyn Fn(&str) + Send>;

/// What the thread has.
pub struct Writer {
    pub connection: Connection,
    pub head: Head,
    pub lanes: Arc<Lanes<Job>>,
    pub shared: Arc<Shared>,
    pub settings: Arc<Settings>,
    pub clock: Clock,
    pub say: Say,
    /// What the connection is set to.
    pub durability: Durability,
}

/// What is left to give back to the file system, when nobody waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    /// Free pages, perhaps.
    pages: bool,
    /// The end of the file, from then on.
    end: Option<Instant>,
}

/// Whatever ends the thread, nobody waits for it any longer.
struct AtEnd<'a>(&'a Lanes<Job>, &'a Shared);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.abandon();
        self.1.stop();
    }
}

impl Writer {
    /// Until the store is closed.
    pub fn run(mut self) {
        let (lanes, shared) = (Arc::clone(&self.lanes), Arc::clone(&self.shared));
        let _at_end = AtEnd(&lanes, &shared);
        // What expired while nobody looked.
        let (mut next, mut swept) = (Some(0_u64), None::<Instant>);
        let mut left = Left {
            pages: true,
            end: None,
        };
        loop {
            let rest = swept.map_or(Duration::ZERO, |at| {
                SWEEP_PAUSE.saturating_sub(at.elapsed())
            });
            let sleep = match next {
                Some(at) => Duration::from_millis(at.saturating_sub(self.clock.now())).max(rest),
                None => SLEEP,
            };
            let sleep = match left.end {
                _ if left.pages => Duration::ZERO,
                Some(at) => sleep.min(at.saturating_duration_since(Instant::now())),
                None => sleep,
            };
            let done = match lanes.take(GROUP, sleep.min(SLEEP)) {
                Taken::Jobs(jobs) => {
                    let sooner = jobs.iter().filter_map(|job| self.soonest(&job.write)).min();
                    next = next.into_iter().chain(sooner).min();
                    let before = self.head.bytes;
                    let served = self.serve(jobs);
                    // Something has gone or become smaller: there may be free pages.
                    left.pages |= self.head.bytes < before;
                    served
                }
                Taken::Nothing => {
                    left = self.tidy(left);
                    Ok(())
                }
                Taken::Closed => return,
            };
            let due = next.is_some_and(|at| at <= self.clock.now());
            let done = done.and_then(|()| {
                if due && swept.is_none_or(|at| at.elapsed() >= SWEEP_PAUSE) {
                    let (more, then) = self.sweep()?;
                    next = then;
                    left.pages = true;
                    swept = (!more).then(Instant::now);
                }
                Ok(())
            });
            if let Err(error) = done {
                (self.say)(&error.to_string());
                return;
            }
        }
    }

    /// When something expires that is set with this request.
    fn soonest(&self, write: &Write) -> Option<u64> {
        let ttl = match write {
            Write::Set { ttl, .. }
            | Write::Swap { ttl, .. }
            | Write::Increment { ttl, .. }
            | Write::Expire { ttl, .. } => *ttl,
            Write::Delete { .. } => None,
            Write::Batch { writes, .. } => {
                let ttls = writes.iter().filter_map(|(_, new)| new.as_ref()?.1);
                ttls.min()
            }
        };
        ttl.map(|ttl| self.clock.now().saturating_add(ttl))
    }

    /// Carries out requests in one commit; where that fails, each in one of its own, so that what
    /// one of them runs into is not the others' failure.
    ///
    /// # Errors
    /// When it is not known any more what the file has.
    fn serve(&mut self, jobs: Vec<Job>) -> Result<(), Error> {
        let writes: Vec<&Write> = jobs.iter().map(|job| &job.write).collect();
        let outcomes = match self.commit(&writes)? {
            Ok(outcomes) => outcomes,
            Err(failure) if jobs.len() == 1 => vec![Err(failure)],
            Err(_) => {
                let mut outcomes = Vec::new();
                for write in writes {
                    outcomes.push(match self.commit(&[write])? {
                        Ok(mut one) => one.pop().unwrap_or(Err(Error::Stopped)),
                        Err(failure) => Err(failure),
                    });
                }
                outcomes
            }
        };
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            if let Err(failure @ Error::Failed(_)) = &outcome {
                (self.say)(&failure.to_string());
            }
            let Job { reply, room, .. } = job;
            let done = outcome.map(|outcome| Done::new(outcome, room));
            // Whoever asked may have gone.
            let _ = reply.send(done);
        }
        Ok(())
    }

    /// One commit. The inner error: nothing was changed.
    fn commit(
        &mut self,
        writes: &[&Write],
    ) -> Result<Result<Vec<Result<Outcome, Error>>, Error>, Error> {
        self.transact(|group| {
            let (mut outcomes, mut published) = (Vec::new(), Vec::new());
            for write in writes {
                match group.apply(write) {
                    Ok((outcome, changes)) => {
                        outcomes.push(Ok(outcome));
                        published.push(changes);
                    }
                    Err(failed @ Error::Failed(_)) => return Err(failed),
                    Err(refused) => outcomes.push(Err(refused)),
                }
            }
            Ok((outcomes, published))
        })
    }

    /// Clears away what has expired: whether there is more, and when the next one expires.
    fn sweep(&mut self) -> Result<(bool, Option<u64>), Error> {
        let swept = self.transact(|group| {
            let changes = group.sweep(SWEEP)?;
            let found = (changes.len() == SWEEP as usize, group.next_expiry()?);
            Ok((found, vec![changes]))
        })?;
        swept.or_else(|failure| {
            (self.say)(&format!("cannot clear away what has expired: {failure}"));
            // Again later: readers pass over it all the same.
            let later = self.clock.now().saturating_add(10_000);
            Ok((false, Some(later)))
        })
    }

    /// Changes the file in one transaction and publishes that. The inner error: nothing was changed.
    ///
    /// # Errors
    /// When it is not known any more what the file has.
    fn transact<T>(
        &mut self,
        change: impl FnOnce(&mut Group<'_>) -> Result<(T, Vec<Vec<Change>>), Error>,
    ) -> Result<Result<T, Error>, Error> {
        let done = self.try_transact(change);
        if done.is_err() {
            // Rolled back, or so it should be: readers must not be shown what was not published.
            let head = file::head(&self.connection)?;
            if head != self.head {
                let told = "the file has changed although a commit has failed, so the store stops; \
                            what was acknowledged is kept";
                return Err(Error::Failed(told.to_owned()));
            }
        }
        Ok(done)
    }

    fn try_transact<T>(
        &mut self,
        change: impl FnOnce(&mut Group<'_>) -> Result<(T, Vec<Vec<Change>>), Error>,
    ) -> Result<T, Error> {
        let durability = self.settings.durability();
        if durability != self.durability {
            file::synchronous(&self.connection, durability)?;
            self.durability = durability;
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut group = Group {
            connection: &transaction,
            head: self.head,
            size: self.settings.size(),
            now: self.clock.now(),
        };
        let (result, published) = change(&mut group)?;
        let head = group.head;
        if head != self.head {
            file::set_head(&transaction, head)?;
            transaction.commit()?;
            self.head = head;
            self.shared.publish(published, head.sequence);
        }
        Ok(result)
    }

    /// Gives some of what is free back to the file system; what is left then.
    fn tidy(&self, left: Left) -> Left {
        let tidied = match left.end {
            _ if left.pages => self.vacuum(left.end),
            Some(at) if at <= Instant::now() => self.cut(),
            _ => return left,
        };
        tidied.unwrap_or_else(|error| {
            (self.say)(&format!("cannot give free space back: {error}"));
            Left {
                pages: false,
                end: None,
            }
        })
    }

    fn vacuum(&self, end: Option<Instant>) -> rusqlite::Result<Left> {
        let free = || -> rusqlite::Result<u32> {
            let (connection, name) = (&self.connection, "freelist_count");
            connection.pragma_query_value(None, name, |row| row.get(0))
        };
        let before = free()?;
        if before <= FREE {
            return Ok(Left { pages: false, end });
        }
        let pages = VACUUM.min(before - FREE);
        self.connection
            .execute_batch(&format!("PRAGMA incremental_vacuum({pages})"))?;
        let after = free()?;
        if after <= FREE {
            return self.cut();
        }
        let pages = after < before;
        Ok(Left { pages, end })
    }

    /// Cuts the file: when the log has been copied to it, which it cannot be beyond what somebody
    /// reads. Nobody who writes waits for those.
    fn cut(&self) -> rusqlite::Result<Left> {
        let mut busy = false;
        self.connection.busy_timeout(Duration::ZERO)?;
        let (name, all) = ("wal_checkpoint", "TRUNCATE");
        let done = self.connection.pragma(None, name, all, |row| {
            busy = row.get(0)?;
            Ok(())
        });
        self.connection.busy_timeout(BUSY)?;
        done?;
        Ok(Left {
            pages: !busy,
            end: busy.then(|| Instant::now() + CUT_PAUSE),
        })
    }
}
