//! A store against a model of it, and what happens when something below it fails.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::Notify;

use super::types::{Entry, Error, Expected, Listing, Outcome, Put, Write};
use super::{Client, Clock, Engine, Of, What, answer, file};
use crate::config::Durability;

struct Store {
    folder: tempfile::TempDir,
    time: Arc<AtomicU64>,
    size: u64,
    client: Option<Client>,
}

impl Store {
    fn new(size: u64) -> Self {
        let mut store = Self {
            folder: tempfile::tempdir().unwrap(),
            time: Arc::new(AtomicU64::new(1_000_000)),
            size,
            client: None,
        };
        store.reopen();
        store
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("store.kv")
    }

    fn reopen(&mut self) {
        self.client = None;
        let clock = Clock::manual(Arc::clone(&self.time));
        let said = Box::new(|text: &str| eprintln!("{text}"));
        let engine = Engine::open(&self.path(), Durability::Relaxed, self.size, clock, said);
        self.client = Some(Arc::new(engine.unwrap()).client(&Arc::from("test")));
    }

    fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    fn write(&self, write: Write) -> Result<Outcome, Error> {
        block_on(async { answer(self.client().write(write).await?).await })
    }

    fn set(&self, key: &str, value: impl Into<Bytes>, ttl: Option<u64>) -> Result<Outcome, Error> {
        let (key, value) = (bytes(key), value.into());
        self.write(Write::Set { key, value, ttl })
    }

    fn get(&self, key: &str) -> Option<Entry> {
        block_on(self.client().get(&bytes(key))).unwrap()
    }

    fn advance(&self, millis: u64) {
        self.time.fetch_add(millis, Ordering::Relaxed);
        self.client().engine.writes.poke();
    }

    fn head(&self) -> file::Head {
        file::head(&file::open_to_read(&self.path()).unwrap()).unwrap()
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < deadline, "does not happen: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn all() -> Listing {
    Listing {
        prefix: Bytes::new(),
        after: Bytes::new(),
        limit: usize::MAX,
        bytes: usize::MAX,
        values: true,
    }
}

/// What a test does with a store.
#[derive(Debug, Clone)]
enum Step {
    Write(Write),
    Get(Bytes),
    List(Listing),
    Pass(u64),
    Reopen,
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "ab", "abc", "b", "\u{ff}"]).prop_map(bytes)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        prop::sample::select(vec!["", "1", "-7", "x", "9223372036854775807"]).prop_map(bytes),
        Just(Bytes::from(vec![7; 5000])),
    ]
}

fn ttl() -> impl Strategy<Value = Option<u64>> {
    prop::option::of(1_u64..50)
}

fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        Just(Expected::Absent),
        value().prop_map(Expected::Value),
        (1_u64..20).prop_map(Expected::Version),
    ]
}

fn put() -> impl Strategy<Value = Put> {
    (key(), prop::option::of((value(), ttl())))
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        (key(), value(), ttl()).prop_map(|(key, value, ttl)| Write::Set { key, value, ttl }),
        key().prop_map(|key| Write::Delete { key }),
        (key(), expected(), prop::option::of(value()), ttl()).prop_map(
            |(key, expected, new, ttl)| Write::Swap {
                key,
                expected,
                new,
                ttl
            }
        ),
        (key(), -3_i64..3, ttl()).prop_map(|(key, by, ttl)| Write::Increment { key, by, ttl }),
        (key(), ttl()).prop_map(|(key, ttl)| Write::Expire { key, ttl }),
        (
            prop::collection::vec((key(), 0_u64..20), 0..3),
            prop::collection::vec(put(), 0..4)
        )
            .prop_map(|(checks, writes)| Write::Batch { checks, writes }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let listing = (prop_oneof![Just(Bytes::new()), key()], key(), 1_usize..4);
    prop_oneof![
        6 => write().prop_map(Step::Write),
        3 => key().prop_map(Step::Get),
        1 => listing.prop_map(|(prefix, after, limit)| Step::List(Listing { prefix, after, limit, ..all() })),
        1 => (1_u64..40).prop_map(Step::Pass),
        1 => Just(Step::Reopen),
    ]
}

/// What a store should be.
#[derive(Default)]
struct Model {
    entries: BTreeMap<Bytes, Entry>,
    now: u64,
    /// Of the last change of the real store: it numbers them.
    sequence: u64,
}

impl Model {
    fn live(&self, key: &[u8]) -> Option<&Entry> {
        self.entries
            .get(key)
            .filter(|entry| !entry.is_over(self.now))
    }

    fn put(&mut self, key: &Bytes, new: Option<(Bytes, Option<u64>)>, version: u64) {
        match new {
            None => drop(self.entries.remove(key)),
            Some((value, ttl)) => {
                let expires = ttl.map(|ttl| self.now + ttl);
                let entry = Entry {
                    value,
                    version,
                    expires,
                };
                self.entries.insert(key.clone(), entry);
            }
        }
    }

    /// Does the same, and sees that what the store says is right.
    fn check(&mut self, write: &Write, outcome: &Result<Outcome, Error>) {
        let version = match outcome {
            Ok(
                Outcome::Changed { version, .. }
                | Outcome::Swapped(version)
                | Outcome::Sum { version, .. }
                | Outcome::Committed(version),
            ) => *version,
            _ => 0,
        };
        let keeps = matches!(write, Write::Expire { .. })
            || matches!(write, Write::Batch { writes, .. } if !writes.iter().any(|it| it.1.is_some()));
        if version > 0 && !keeps {
            assert!(version > self.sequence, "{version} after {}", self.sequence);
            self.sequence = version;
        }
        match write {
            Write::Set { key, value, ttl } => {
                let existed = self.live(key).is_some();
                assert_eq!(*outcome, Ok(Outcome::Changed { existed, version }));
                assert!(version > 0);
                self.put(key, Some((value.clone(), *ttl)), version);
            }
            Write::Delete { key } => {
                let existed = self.live(key).is_some();
                assert_eq!(
                    *outcome,
                    Ok(Outcome::Changed {
                        existed,
                        version: 0
                    })
                );
                self.put(key, None, 0);
            }
            Write::Swap {
                key,
                expected,
                new,
                ttl,
            } => {
                let current = self.live(key).cloned();
                let holds = match expected {
                    Expected::Absent => current.is_none(),
                    Expected::Value(value) => current.as_ref().is_some_and(|it| it.value == value),
                    Expected::Version(version) => {
                        current.as_ref().is_some_and(|it| it.version == *version)
                    }
                };
                if !holds {
                    return assert_eq!(*outcome, Ok(Outcome::Other(current)));
                }
                assert_eq!(*outcome, Ok(Outcome::Swapped(version)));
                assert_eq!(version == 0, new.is_none());
                self.put(key, new.clone().map(|value| (value, *ttl)), version);
            }
            Write::Increment { key, by, ttl } => {
                let current = self.live(key).cloned();
                let (before, expires) = match &current {
                    None => (Some(0), ttl.map(|ttl| self.now + ttl)),
                    Some(entry) => {
                        let text = String::from_utf8(entry.value.to_vec());
                        let number = text.ok().and_then(|text| text.parse::<i64>().ok());
                        (number, entry.expires)
                    }
                };
                let Some(before) = before else {
                    return assert_eq!(*outcome, Err(Error::NotANumber));
                };
                let Some(value) = before.checked_add(*by) else {
                    return assert_eq!(*outcome, Err(Error::Overflow));
                };
                assert_eq!(*outcome, Ok(Outcome::Sum { value, version }));
                let value = Bytes::from(value.to_string());
                let entry = Entry {
                    value,
                    version,
                    expires,
                };
                self.entries.insert(key.clone(), entry);
            }
            Write::Expire { key, ttl } => {
                let expires = ttl.map(|ttl| self.now + ttl);
                let existed = self.live(key).is_some();
                let version = self.live(key).map_or(0, |it| it.version);
                assert_eq!(*outcome, Ok(Outcome::Changed { existed, version }));
                if existed {
                    self.entries.get_mut(key).unwrap().expires = expires;
                }
            }
            Write::Batch { checks, writes } => {
                let has = |key: &Bytes| self.live(key).map_or(0, |it| it.version);
                let failed = checks
                    .iter()
                    .position(|(key, version)| has(key) != *version);
                if let Some(failed) = failed {
                    return assert_eq!(*outcome, Ok(Outcome::Failed(failed)));
                }
                assert_eq!(*outcome, Ok(Outcome::Committed(version)));
                for (key, new) in writes {
                    self.put(key, new.clone(), version);
                }
            }
        }
    }

    fn list(&self, listing: &Listing) -> Vec<(Bytes, Entry)> {
        let fits = |key: &&Bytes| key.starts_with(&listing.prefix) && *key > &listing.after;
        let keys = self.entries.keys().filter(fits);
        let live = keys.filter_map(|key| Some((key.clone(), self.live(key)?.clone())));
        live.collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_store_does_what_its_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut store = Store::new(u64::MAX);
        let mut model = Model { now: store.time.load(Ordering::Relaxed), ..Model::default() };
        for step in steps {
            match step {
                Step::Write(write) => {
                    let outcome = store.write(write.clone());
                    model.check(&write, &outcome);
                }
                Step::Get(key) => {
                    let found = block_on(store.client().get(&key)).unwrap();
                    assert_eq!(found.as_ref(), model.live(&key));
                }
                Step::List(listing) => {
                    let page = block_on(store.client().list(listing.clone())).unwrap();
                    let whole = model.list(&listing);
                    assert_eq!(page.more, whole.len() > listing.limit);
                    assert_eq!(page.entries, whole[..whole.len().min(listing.limit)]);
                }
                Step::Pass(millis) => {
                    model.now += millis;
                    store.advance(millis);
                }
                Step::Reopen => store.reopen(),
            }
        }
        let found = block_on(store.client().list(all())).unwrap().entries;
        assert_eq!(found, model.list(&all()));
        // The account of what it holds is right when all that expired is cleared away.
        store.advance(1000);
        model.now += 1000;
        let left = || model.list(&all()).iter().map(|(key, it)| file::cost(key.len(), it.value.len())).sum::<u64>();
        eventually("the account is right", || store.head().bytes == left());
    }
}

#[test]
fn what_is_full_takes_nothing_more_and_gives_back_what_is_deleted() {
    let store = Store::new(1 << 20);
    let mut kept = 0;
    let full = loop {
        match store.set(&format!("k{kept}"), vec![0; 100_000], None) {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full, Error::Full { size: 1 << 20 });
    assert_eq!(kept, 10);
    let batch = |writes| Write::Batch {
        checks: Vec::new(),
        writes,
    };
    let large = || Some((Bytes::from(vec![0; 100_000]), None));
    // All or nothing: the first alone would fit where `k0` was.
    let failed = store.write(batch(vec![
        (bytes("k0"), None),
        (bytes("new"), large()),
        (bytes("newer"), large()),
    ]));
    assert_eq!(failed, Err(Error::Full { size: 1 << 20 }));
    assert!(store.get("k0").is_some() && store.get("new").is_none());
    store
        .write(batch(vec![(bytes("k0"), None), (bytes("new"), large())]))
        .unwrap();
    // What is there can be made smaller.
    store.set("k1", "", None).unwrap();
    store.set("newer", vec![0; 90_000], None).unwrap();
}

#[test]
fn many_who_write_at_once_all_count_and_readers_never_go_back() {
    let store = Store::new(u64::MAX);
    let client = store.client().clone();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (client, done) = (client.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    // What is not known in memory comes from the file.
                    let listed = block_on(client.list(all())).unwrap();
                    for entry in [
                        listed.entries.first().map(|(_, entry)| entry.clone()),
                        block_on(client.get(&bytes("n"))).unwrap(),
                    ] {
                        let version = entry.map_or(0, |entry| entry.version);
                        assert!(version >= last, "{version} after {last}");
                        last = version;
                    }
                }
            })
        })
        .collect();
    block_on(async {
        let mut pending = Vec::new();
        for n in 0..2000 {
            let (key, by, ttl) = (bytes("n"), 1, None);
            pending.push(
                client
                    .write(Write::Increment { key, by, ttl })
                    .await
                    .unwrap(),
            );
            if n % 100 == 0 {
                for pending in pending.drain(..) {
                    answer(pending).await.unwrap();
                }
            }
        }
        for pending in pending {
            answer(pending).await.unwrap();
        }
    });
    done.store(true, Ordering::Relaxed);
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
    assert_eq!(store.get("n").unwrap().value, "2000");
}

#[test]
fn what_has_expired_is_cleared_away_and_the_file_shrinks() {
    let store = Store::new(u64::MAX);
    for n in 0..300 {
        store
            .set(&format!("k{n}"), vec![1; 100_000], Some(1000))
            .unwrap();
    }
    store.set("stays", "x", None).unwrap();
    let size = || std::fs::metadata(store.path()).unwrap().len();
    eventually("the log is copied to the file", || size() > 20_000_000);
    store.advance(999);
    assert!(store.get("k0").is_some());
    store.advance(1);
    assert!(store.get("k0").is_none());
    let page = block_on(store.client().list(all())).unwrap();
    assert_eq!(page.entries.len(), 1);
    eventually("the file shrinks", || size() < 10_000_000);
    assert_eq!(store.head().bytes, file::cost(5, 1));
}

#[test]
fn what_is_removed_or_made_smaller_while_the_store_is_used_gives_its_space_back() {
    for new in [None, Some(bytes("x"))] {
        let store = Store::new(u64::MAX);
        for n in 0..300 {
            store.set(&format!("k{n}"), vec![1; 100_000], None).unwrap();
        }
        let size = || std::fs::metadata(store.path()).unwrap().len();
        eventually("the log is copied to the file", || size() > 20_000_000);
        for n in 0..300 {
            let key = bytes(&format!("k{n}"));
            match &new {
                None => drop(store.write(Write::Delete { key }).unwrap()),
                Some(value) => drop(store.set(&format!("k{n}"), value.clone(), None).unwrap()),
            }
        }
        eventually("the file shrinks", || size() < 10_000_000);
    }
}

#[test]
fn who_reads_for_long_keeps_the_file_from_being_cut_and_nobody_from_writing() {
    let store = Store::new(u64::MAX);
    for n in 0..300 {
        store.set(&format!("k{n}"), vec![1; 100_000], None).unwrap();
    }
    let size = || std::fs::metadata(store.path()).unwrap().len();
    eventually("the log is copied to the file", || size() > 20_000_000);
    let reader = file::open_to_read(&store.path()).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    file::head(&reader).unwrap();
    let other = file::open_to_read(&store.path()).unwrap();
    // The second half goes while the file cannot be cut any more.
    for half in [0..150, 150..300] {
        for n in half {
            let key = bytes(&format!("k{n}"));
            store.write(Write::Delete { key }).unwrap();
        }
        eventually("free pages are given back", || {
            let free = other.pragma_query_value(None, "freelist_count", |row| row.get::<_, u32>(0));
            free.unwrap() <= 1024
        });
    }
    let since = Instant::now();
    store.set("n", "1", None).unwrap();
    // SQLite would wait for 5 s.
    let waited = since.elapsed();
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    assert!(size() > 20_000_000);
    drop(reader);
    eventually("the file shrinks", || size() < 10_000_000);
}

#[test]
fn a_watch_tells_every_change_in_order_and_that_a_key_has_expired() {
    let store = Store::new(u64::MAX);
    store.set("w/0", "before", None).unwrap();
    let bell = Arc::new(Notify::new());
    let of = Of::Prefix(bytes("w/"));
    let (mut watch, sequence) = store.client().watch(of, None, &bell).unwrap();
    store.set("w/1", "a", Some(10)).unwrap();
    store.set("other", "a", None).unwrap();
    store.write(Write::Delete { key: bytes("w/0") }).unwrap();
    store.write(Write::Delete { key: bytes("w/0") }).unwrap();
    store.advance(10);
    let mut told = Vec::new();
    eventually("all is told", || {
        told.extend(watch.news(1 << 20).changes);
        told.len() >= 3
    });
    let keys: Vec<_> = told.iter().map(|it| &it.key[..]).collect();
    assert_eq!(keys, [b"w/1", b"w/0", b"w/1"]);
    assert!(matches!(&told[0].what, What::Set(entry) if entry.value == "a"));
    assert_eq!(told[1].what, What::Deleted);
    assert_eq!(told[2].what, What::Expired);
    assert!(told[0].sequence > sequence && told.is_sorted_by_key(|it| it.sequence));
    block_on(bell.notified());
    // One who comes back goes on where it was; one who was away for too long is told.
    let of = Of::Prefix(bytes("w/"));
    let (mut again, _) = store
        .client()
        .watch(of.clone(), Some(told[0].sequence), &bell)
        .unwrap();
    assert_eq!(again.news(1 << 20).changes, told[1..]);
    for n in 0..200 {
        store.set(&format!("w/{n}"), vec![0; 90_000], None).unwrap();
    }
    let news = again.news(1);
    assert!(
        news.fell_behind
            .is_some_and(|at| at + 1 == news.changes[0].sequence)
    );
    let (mut late, _) = store.client().watch(of, Some(sequence), &bell).unwrap();
    assert!(late.news(1).fell_behind.is_some());
}

#[test]
fn one_function_cannot_take_all_watches() {
    let store = Store::new(u64::MAX);
    let bell = Arc::new(Notify::new());
    let all = || Of::Prefix(Bytes::new());
    let mut watches = Vec::new();
    while let Ok((watch, _)) = store.client().watch(all(), None, &bell) {
        watches.push(watch);
    }
    assert_eq!(watches.len(), 4096);
    let engine = Arc::clone(&store.client().engine);
    engine
        .client(&Arc::from("other"))
        .watch(all(), None, &bell)
        .unwrap();
    watches.pop();
    store.client().watch(all(), None, &bell).unwrap();
}

#[test]
fn a_flood_waits_for_room_and_does_not_hold_up_another_function() {
    let store = Store::new(u64::MAX);
    let client = store.client().clone();
    let large = |n: u32| Write::Set {
        key: Bytes::copy_from_slice(&n.to_be_bytes()),
        value: Bytes::from(vec![0; 100_000]),
        ttl: None,
    };
    block_on(async {
        let mut pending = Vec::new();
        let mut waited = false;
        for n in 0..200 {
            let mut asks = std::pin::pin!(client.write(large(n)));
            let poll =
                std::future::poll_fn(|context| std::task::Poll::Ready(asks.as_mut().poll(context)));
            match poll.await {
                std::task::Poll::Ready(asked) => pending.push(asked.unwrap()),
                std::task::Poll::Pending => {
                    waited = true;
                    // 4 MiB of changes are in the lane.
                    assert!(pending.len() >= 41);
                    let other = client.engine.client(&Arc::from("other"));
                    let key = bytes("other");
                    answer(other.write(Write::Delete { key }).await.unwrap())
                        .await
                        .unwrap();
                    pending.push(asks.await.unwrap());
                }
            }
        }
        for pending in pending {
            answer(pending).await.unwrap();
        }
        assert!(waited);
    });
}

#[test]
fn what_a_swap_was_answered_with_takes_room_until_it_is_told() {
    let store = Store::new(u64::MAX);
    store.set("k", vec![0; 100_000], None).unwrap();
    let client = store.client().clone();
    let free = || client.room.write.available_permits();
    let all = free();
    let swap = |key| Write::Swap {
        key: bytes(key),
        expected: Expected::Absent,
        new: None,
        ttl: None,
    };
    block_on(async {
        let mut told = Vec::new();
        for _ in 0..20 {
            let mut waits = client.write(swap("k")).await.unwrap();
            let Ok(Outcome::Other(Some(entry))) = answer(&mut waits).await else {
                panic!("it is there")
            };
            told.push((waits, entry));
        }
        assert_eq!(all - free(), 20 * 100_000);
        // One that was done has nothing to tell.
        let mut done = client.write(swap("other")).await.unwrap();
        assert!(matches!(answer(&mut done).await, Ok(Outcome::Swapped(0))));
        assert_eq!(all - free(), 20 * 100_000);
        // While it waits it has room for what it may be told.
        let waits = client.room_for(&swap("k")).await.unwrap();
        assert!(all - free() > 21 * 100_000);
        drop((waits, told));
        assert_eq!(free(), all);
    });
}

#[test]
fn what_cannot_be_read_is_an_error_and_nothing_else_is_lost() {
    let mut store = Store::new(u64::MAX);
    for n in 0..100 {
        store
            .set(&format!("k{n:02}"), vec![b'v'; 9000], None)
            .unwrap();
    }
    store.client = None;
    // Pages in the middle of the file, with nothing in the log any more.
    let mut bytes = std::fs::read(store.path()).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 40 * 4096].fill(0xff);
    std::fs::write(store.path(), bytes).unwrap();
    store.reopen();
    let mut failed = 0;
    for n in 0..100 {
        let key = self::bytes(&format!("k{n:02}"));
        match block_on(store.client().get(&key)) {
            Ok(found) => assert!(found.is_none_or(|it| it.value.len() == 9000)),
            Err(error) => {
                assert!(matches!(error, Error::Failed(_)), "{error}");
                failed += 1;
            }
        }
    }
    assert!(failed > 0);
    assert!(!store.client().engine.has_stopped());
}

#[test]
fn the_writer_is_asked_for_no_more_when_it_has_ended() {
    let store = Store::new(u64::MAX);
    store.client().engine.writes.abandon();
    eventually("it has stopped", || store.client().engine.has_stopped());
    assert_eq!(store.set("a", "b", None), Err(Error::Stopped));
}
