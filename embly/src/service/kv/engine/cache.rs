//! Values that were used last, so that reading them needs no other thread.
//!
//! Two generations: what is used moves to the young one; when that is full it becomes the old one,
//! and what the old one had is forgotten.

use std::collections::HashMap;

use bytes::Bytes;

use super::types::Entry;

/// Bytes of both generations together. Keys and values that are read often are few and small; what
/// does not fit costs a trip to another thread.
const ROOM: usize = 16 * 1024 * 1024;

/// What an entry costs beside its key and value: its place in a table that is two thirds full, and four
/// small pieces of memory, of the key and the value and of who shares them.
const OVERHEAD: usize = 256;

/// What is known of some keys.
#[derive(Debug, Default)]
pub struct Cache {
    young: HashMap<Bytes, Slot>,
    old: HashMap<Bytes, Slot>,
    /// Of the young ones.
    bytes: usize,
    tokens: u64,
}

#[derive(Debug)]
enum Slot {
    /// Somebody reads it from the file.
    Loading(u64),
    /// What it has; `None`: it is not there.
    Known(Option<Entry>),
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub enum Look {
    /// What the key has; `None`: it is not there.
    Known(Option<Entry>),
    /// It has to be read. With the token it can be kept afterwards, unless it was changed meanwhile.
    Missing(u64),
}

impl Cache {
    /// What is known of a key.
    pub fn look(&mut self, key: &[u8]) -> Look {
        if let Some(Slot::Known(entry)) = self.young.get(key) {
            return Look::Known(entry.clone());
        }
        if let Some((key, Slot::Known(entry))) = self.old.remove_entry(key) {
            self.insert(key, Slot::Known(entry.clone()));
            return Look::Known(entry);
        }
        self.tokens += 1;
        self.insert(Bytes::copy_from_slice(key), Slot::Loading(self.tokens));
        Look::Missing(self.tokens)
    }

    /// Keeps what was read, if the key is as it was when the token was given.
    pub fn fill(&mut self, key: &[u8], token: u64, entry: Option<&Entry>) {
        if !matches!(self.young.get(key), Some(Slot::Loading(of)) if *of == token) {
            return;
        }
        let entry = entry.map(|entry| Entry {
            value: Bytes::copy_from_slice(&entry.value),
            ..entry.clone()
        });
        self.insert(Bytes::copy_from_slice(key), Slot::Known(entry));
    }

    /// A key was changed. The bytes are kept: they must be no piece of something larger.
    pub fn set(&mut self, key: Bytes, entry: Option<Entry>) {
        self.old.remove(&key);
        self.insert(key, Slot::Known(entry));
    }

    fn insert(&mut self, key: Bytes, slot: Slot) {
        let size = cost(&key, &slot);
        if self.bytes + size > ROOM / 2 {
            self.old = std::mem::take(&mut self.young);
            self.old.remove(&key);
            self.bytes = 0;
        }
        let length = key.len();
        let before = self.young.insert(key, slot);
        self.bytes += size;
        self.bytes -= before.map_or(0, |slot| length + value(&slot) + OVERHEAD);
    }
}

fn value(slot: &Slot) -> usize {
    match slot {
        Slot::Known(Some(entry)) => entry.value.len(),
        Slot::Known(None) | Slot::Loading(_) => 0,
    }
}

fn cost(key: &[u8], slot: &Slot) -> usize {
    key.len() + value(slot) + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(version: u64, length: usize) -> Entry {
        Entry {
            value: Bytes::from(vec![0; length]),
            version,
            expires: None,
        }
    }

    fn missing(cache: &mut Cache, key: &[u8]) -> u64 {
        match cache.look(key) {
            Look::Missing(token) => token,
            Look::Known(known) => panic!("{known:?}"),
        }
    }

    #[test]
    fn what_was_read_is_kept_unless_the_key_has_changed_meanwhile() {
        let mut cache = Cache::default();
        let token = missing(&mut cache, b"a");
        cache.fill(b"a", token, Some(&entry(1, 1)));
        assert_eq!(cache.look(b"a"), Look::Known(Some(entry(1, 1))));

        let token = missing(&mut cache, b"b");
        cache.set(Bytes::from_static(b"b"), Some(entry(3, 1)));
        cache.fill(b"b", token, Some(&entry(2, 1)));
        assert_eq!(cache.look(b"b"), Look::Known(Some(entry(3, 1))));

        let old = missing(&mut cache, b"c");
        let new = missing(&mut cache, b"c");
        cache.fill(b"c", old, None);
        cache.fill(b"c", new, None);
        assert_eq!(cache.look(b"c"), Look::Known(None));
    }

    #[test]
    fn it_keeps_what_is_used_and_never_more_than_its_room() {
        let mut cache = Cache::default();
        for n in 0..1000_u64 {
            let key = Bytes::copy_from_slice(&n.to_le_bytes());
            cache.set(key, Some(entry(n, 100_000)));
            assert_eq!(
                cache.look(&0_u64.to_le_bytes()),
                Look::Known(Some(entry(0, 100_000)))
            );
            let all = [&cache.young, &cache.old];
            let sum = |map: &HashMap<Bytes, Slot>| -> usize {
                map.iter().map(|(key, slot)| cost(key, slot)).sum()
            };
            assert_eq!(sum(&cache.young), cache.bytes);
            assert!(all.into_iter().map(sum).sum::<usize>() <= ROOM);
        }
        assert!(matches!(cache.look(&1_u64.to_le_bytes()), Look::Missing(_)));
    }
}
