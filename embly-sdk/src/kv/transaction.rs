//! Changes that are made together.

use super::{
    session::{Answer, Shared},
    store::{self, Store},
};
use crate::{error::Error, proto::kv as proto};
use proto::{request::What as Request, response::What as Response, write::What as Write};
use std::{collections::BTreeMap, fmt, time::Duration};

/// Changes that are made together, or not at all: [`Store::batch`].
#[must_use = "nothing is changed until it is committed"]
pub struct Batch {
    session: Shared,
    batch: proto::Batch,
}

/// What became of a batch, or a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// Whether all of it was done; otherwise a check did not hold, and nothing was.
    pub applied: bool,
    /// The version of all that was set.
    pub version: u64,
}

impl Batch {
    pub(super) fn new(session: Shared) -> Self {
        let batch = proto::Batch::default();
        Self { session, batch }
    }

    fn write(mut self, what: Write) -> Self {
        let what = Some(what);
        self.batch.writes.push(proto::Write { what });
        self
    }

    /// Sets a key, for ever.
    pub fn set(self, key: &[u8], value: &[u8]) -> Self {
        self.write(Write::Set(store::set(key, value, None)))
    }

    /// Sets a key for so long.
    pub fn set_for(self, key: &[u8], value: &[u8], ttl: Duration) -> Self {
        self.write(Write::Set(store::set(key, value, Some(ttl))))
    }

    /// Removes a key.
    pub fn delete(self, key: &[u8]) -> Self {
        let key = key.to_vec();
        self.write(Write::Delete(proto::Delete { key }))
    }

    /// Only if the key has this version; 0: if it is not there.
    pub fn check(mut self, key: &[u8], version: u64) -> Self {
        let key = key.to_vec();
        self.batch.checks.push(proto::Check { key, version });
        self
    }

    /// Has it done.
    pub fn commit(self) -> Answer<Committed> {
        Answer::new(&self.session, Request::Batch(self.batch), committed)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.batch.fmt(f)
    }
}

fn committed(answer: Response) -> Option<Committed> {
    match answer {
        Response::Committed(it) => Some(Committed {
            applied: it.applied,
            version: it.version,
        }),
        _ => None,
    }
}

/// A new value, with a time to live; `None`: it is removed.
type New = Option<(Vec<u8>, Option<Duration>)>;

/// Reads, and changes that depend on them: [`Store::transaction`]. Nothing is locked meanwhile; what
/// was read is compared when it is committed.
#[derive(Debug)]
#[must_use = "nothing is changed until it is committed"]
pub struct Transaction {
    store: Store,
    /// What was read, with its version.
    read: BTreeMap<Vec<u8>, (u64, Option<Vec<u8>>)>,
    /// What it changes; `None` removes.
    writes: BTreeMap<Vec<u8>, New>,
}

impl Transaction {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            read: BTreeMap::new(),
            writes: BTreeMap::new(),
        }
    }

    /// The value of a key, as this transaction sees it: with its own changes, and the same each time.
    ///
    /// # Errors
    /// As [`Store::get`].
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if let Some(new) = self.writes.get(key) {
            return Ok(new.as_ref().map(|(value, _)| value.clone()));
        }
        if let Some((_, value)) = self.read.get(key) {
            return Ok(value.clone());
        }
        let entry = self.store.entry(key).await?;
        let version = entry.as_ref().map_or(0, |entry| entry.version);
        let value = entry.map(|entry| entry.value);
        self.read.insert(key.to_vec(), (version, value.clone()));
        Ok(value)
    }

    /// Sets a key, for ever.
    pub fn set(&mut self, key: &[u8], value: &[u8]) {
        self.writes
            .insert(key.to_vec(), Some((value.to_vec(), None)));
    }

    /// Sets a key for so long.
    pub fn set_for(&mut self, key: &[u8], value: &[u8], ttl: Duration) {
        let new = Some((value.to_vec(), Some(ttl)));
        self.writes.insert(key.to_vec(), new);
    }

    /// Removes a key.
    pub fn delete(&mut self, key: &[u8]) {
        self.writes.insert(key.to_vec(), None);
    }

    /// Makes the changes, if all that was read is unchanged.
    pub fn commit(self) -> Answer<Committed> {
        let mut batch = Batch::new(self.store.session().clone());
        for (key, (version, _)) in &self.read {
            batch = batch.check(key, *version);
        }
        for (key, new) in &self.writes {
            batch = match new {
                Some((value, None)) => batch.set(key, value),
                Some((value, Some(ttl))) => batch.set_for(key, value, *ttl),
                None => batch.delete(key),
            };
        }
        batch.commit()
    }
}
