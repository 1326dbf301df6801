//! What is kept.

use std::{collections::BTreeMap, time::Duration};

/// The stores of one test.
#[derive(Default)]
pub(crate) struct Stores(BTreeMap<String, Store>);

/// One of them.
#[derive(Default)]
pub(super) struct Store {
    entries: BTreeMap<Vec<u8>, Entry>,
    now: Duration,
    sequence: u64,
    /// All that has happened, for those who watch.
    changes: Vec<Change>,
    /// The services that somebody watches it with, by their numbers.
    watchers: Vec<usize>,
    /// How much of the changes they were woken for.
    woken: usize,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub value: Vec<u8>,
    pub version: u64,
    pub expires: Option<Duration>,
}

#[derive(Clone)]
#[cfg_attr(
    not(feature = "kv"),
    allow(dead_code, reason = "only those who watch look at it")
)]
pub(super) struct Change {
    pub sequence: u64,
    pub key: Vec<u8>,
    pub what: What,
}

#[derive(Clone)]
#[cfg_attr(
    not(feature = "kv"),
    allow(dead_code, reason = "only those who watch look at it")
)]
pub(super) enum What {
    Set(Entry),
    Deleted,
    Expired,
}

impl Stores {
    pub(super) fn store(&mut self, name: &str) -> &mut Store {
        self.0.entry(name.to_owned()).or_default()
    }
}

#[cfg_attr(
    not(feature = "kv"),
    allow(dead_code, reason = "`embly/kv` does the rest")
)]
impl Store {
    /// Removes what has expired by now.
    pub fn pass(&mut self, now: Duration) {
        self.now = now;
        let over = |entry: &Entry| entry.expires.is_some_and(|expires| expires <= now);
        let keys = self.entries.iter().filter(|(_, entry)| over(entry));
        let keys: Vec<_> = keys.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.entries.remove(&key);
            self.change(&key, What::Expired);
        }
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    pub fn entries(&self) -> &BTreeMap<Vec<u8>, Entry> {
        &self.entries
    }

    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub fn version(&self, key: &[u8]) -> u64 {
        self.get(key).map_or(0, |entry| entry.version)
    }

    /// Sets a key until some time; its version.
    pub fn set(&mut self, key: &[u8], value: Vec<u8>, expires: Option<Duration>) -> u64 {
        let entry = Entry {
            value,
            version: self.sequence + 1,
            expires,
        };
        self.entries.insert(key.to_vec(), entry.clone());
        self.change(key, What::Set(entry))
    }

    pub fn remove(&mut self, key: &[u8]) -> bool {
        let existed = self.entries.remove(key).is_some();
        if existed {
            self.change(key, What::Deleted);
        }
        existed
    }

    pub fn expire(&mut self, key: &[u8], expires: Option<Duration>) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        entry.expires = expires;
        let entry = entry.clone();
        self.change(key, What::Set(entry));
        true
    }

    fn change(&mut self, key: &[u8], what: What) -> u64 {
        self.sequence += 1;
        self.changes.push(Change {
            sequence: self.sequence,
            key: key.to_vec(),
            what,
        });
        self.sequence
    }

    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What has happened after this number.
    pub fn after(&self, sequence: u64) -> &[Change] {
        let passed = self.changes.partition_point(|it| it.sequence <= sequence);
        &self.changes[passed..]
    }

    pub fn next_expiry(&self) -> Option<Duration> {
        self.entries
            .values()
            .filter_map(|entry| entry.expires)
            .min()
    }

    pub fn watch(&mut self, guest: usize) {
        if !self.watchers.contains(&guest) {
            self.watchers.push(guest);
        }
    }

    pub fn watchers_to_wake(&mut self) -> Vec<usize> {
        if self.woken == self.changes.len() {
            return Vec::new();
        }
        self.woken = self.changes.len();
        self.watchers.clone()
    }
}
