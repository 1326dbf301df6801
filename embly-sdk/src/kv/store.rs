//! A store, and what can be asked of it.

use super::{
    session::{Answer, Session, Shared},
    transaction::{Batch, Transaction},
    watch::{self, Changes, Watch},
};
use crate::{error::Error, proto::kv as proto};
use proto::{request::What as Request, response::What as Response, swap};
use std::{fmt, time::Duration};

/// A store of the project, over a stream that is held open as long as this lives. Copies share it.
///
/// Each call sends its request and gives an [`Answer`] to wait for, so several run at once; they are
/// carried out in their order.
///
/// ```no_run
/// # use embly_sdk as embly;
/// use embly::kv::Store;
/// use std::time::Duration;
///
/// # async fn f() -> Result<(), embly::Error> {
/// let store = Store::open("default")?;
/// store.set(b"user/7", b"Ada").await?;
/// store.set_for(b"session/1", b"7", Duration::from_secs(3600)).await?;
/// let visits = store.increment(b"visits", 1).await?;
///
/// // Ten at once.
/// let gets = (0..10).map(|n| store.get(format!("user/{n}").as_bytes()));
/// for user in embly::join_all(gets.collect::<Vec<_>>()).await {
///     println!("{:?}, visit {visits}", user?);
/// }
/// # Ok(())
/// # }
/// ```
/// In a plain function: `store.get(b"key").wait()?`.
#[derive(Clone)]
pub struct Store {
    session: Shared,
}

/// A key that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// Its value; empty where it was not asked for.
    pub value: Vec<u8>,
    /// Another one after each change, and never the same again. Not 0.
    pub version: u64,
    /// When it expires; `None`: never.
    pub ttl: Option<Duration>,
}

impl Entry {
    pub(super) fn of(entry: proto::Entry) -> Self {
        Self {
            key: entry.key,
            value: entry.value,
            version: entry.version,
            ttl: entry.ttl_ms.map(Duration::from_millis),
        }
    }
}

/// How long a key lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// There is no such key.
    Missing,
    /// It does not expire.
    Forever,
    /// So long from now.
    For(Duration),
}

/// What a key must be for [`Store::swap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected<'a> {
    /// Not there.
    Absent,
    /// There with this value.
    Value(&'a [u8]),
    /// There with this version.
    Version(u64),
}

/// What became of [`Store::swap`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swapped {
    /// It was as expected. The version that it has now; 0 where it was removed.
    Done(u64),
    /// It was not, and is this still.
    Not(Option<Entry>),
}

/// Some of the keys that begin with a prefix, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The keys.
    pub entries: Vec<Entry>,
    /// Give this to [`Store::list`] for those that follow; `None`: there are none.
    pub next: Option<Vec<u8>>,
}

impl Store {
    /// Opens a store by its name in the project file. Whether the function may use it shows with the
    /// first answer.
    ///
    /// # Errors
    /// When too many children are alive.
    pub fn open(name: &str) -> Result<Self, Error> {
        let session = Session::open(name)?;
        Ok(Self { session })
    }

    fn ask<T>(&self, request: Request, read: fn(Response) -> Option<T>) -> Answer<T> {
        Answer::new(&self.session, request, read)
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Answer<Option<Vec<u8>>> {
        self.ask(get(key, false), |answer| match answer {
            Response::Found(found) => Some(found.entry.map(|entry| entry.value)),
            _ => None,
        })
    }

    /// The value of a key, with its version and time to live.
    pub fn entry(&self, key: &[u8]) -> Answer<Option<Entry>> {
        // The answer leaves the key out: whoever asks knows it.
        self.ask(get(key, false), |answer| match answer {
            Response::Found(found) => Some(found.entry.map(Entry::of)),
            _ => None,
        })
    }

    /// How long a key lives.
    pub fn ttl(&self, key: &[u8]) -> Answer<Ttl> {
        self.ask(get(key, true), |answer| match answer {
            Response::Found(found) => Some(match found.entry.map(|entry| entry.ttl_ms) {
                None => Ttl::Missing,
                Some(None) => Ttl::Forever,
                Some(Some(millis)) => Ttl::For(Duration::from_millis(millis)),
            }),
            _ => None,
        })
    }

    /// Sets a key, for ever; the version that it has now.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Answer<u64> {
        self.ask(Request::Set(set(key, value, None)), version)
    }

    /// Sets a key for so long.
    pub fn set_for(&self, key: &[u8], value: &[u8], ttl: Duration) -> Answer<u64> {
        self.ask(Request::Set(set(key, value, Some(ttl))), version)
    }

    /// Removes a key; whether it was there.
    pub fn delete(&self, key: &[u8]) -> Answer<bool> {
        let key = key.to_vec();
        self.ask(
            Request::Delete(proto::Delete { key }),
            |answer| match answer {
                Response::Changed(changed) => Some(changed.existed),
                _ => None,
            },
        )
    }

    /// Sets a key, or removes it (`None`), if it is as expected.
    ///
    /// ```no_run
    /// # use embly_sdk as embly;
    /// use embly::kv::{Expected, Store, Swapped};
    /// # async fn f(store: Store) -> Result<(), embly::Error> {
    /// match store.swap(b"leader", Expected::Absent, Some(b"me")).await? {
    ///     Swapped::Done(_) => println!("mine"),
    ///     Swapped::Not(other) => println!("{other:?} was first"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn swap(&self, key: &[u8], expected: Expected<'_>, new: Option<&[u8]>) -> Answer<Swapped> {
        self.swaps(key, expected, new, None)
    }

    /// Sets a key for so long, if it is as expected.
    pub fn swap_for(
        &self,
        key: &[u8],
        expected: Expected<'_>,
        new: &[u8],
        ttl: Duration,
    ) -> Answer<Swapped> {
        self.swaps(key, expected, Some(new), Some(ttl))
    }

    fn swaps(
        &self,
        key: &[u8],
        expected: Expected<'_>,
        new: Option<&[u8]>,
        ttl: Option<Duration>,
    ) -> Answer<Swapped> {
        let expected = match expected {
            Expected::Absent => swap::Expected::Absent(true),
            Expected::Value(value) => swap::Expected::Value(value.to_vec()),
            Expected::Version(version) => swap::Expected::Version(version),
        };
        let swap = proto::Swap {
            key: key.to_vec(),
            expected: Some(expected),
            new: new.map(<[u8]>::to_vec),
            ttl_ms: ttl.map(millis),
        };
        self.ask(Request::Swap(swap), |answer| match answer {
            Response::Swapped(it) if it.swapped => Some(Swapped::Done(it.version)),
            Response::Swapped(it) => Some(Swapped::Not(it.current.map(Entry::of))),
            _ => None,
        })
    }

    /// Adds to a number, which is kept as decimal text; a key that is not there counts as 0. The sum.
    pub fn increment(&self, key: &[u8], by: i64) -> Answer<i64> {
        self.increments(key, by, None)
    }

    /// The same; a key that was not there then lives for so long. One that was there keeps its time.
    pub fn increment_for(&self, key: &[u8], by: i64, ttl: Duration) -> Answer<i64> {
        self.increments(key, by, Some(ttl))
    }

    fn increments(&self, key: &[u8], by: i64, ttl: Option<Duration>) -> Answer<i64> {
        let increment = proto::Increment {
            key: key.to_vec(),
            by,
            ttl_ms: ttl.map(millis),
        };
        self.ask(Request::Increment(increment), |answer| match answer {
            Response::Incremented(it) => Some(it.value),
            _ => None,
        })
    }

    /// Has a key expire after so long, or never (`None`); whether it is there.
    pub fn expire(&self, key: &[u8], ttl: Option<Duration>) -> Answer<bool> {
        let expire = proto::Expire {
            key: key.to_vec(),
            ttl_ms: ttl.map(millis),
        };
        self.ask(Request::Expire(expire), |answer| match answer {
            Response::Expiry(changed) => Some(changed.existed),
            _ => None,
        })
    }

    /// A page of the keys that begin with `prefix`: so many at most, 0 for 100. `after`: `next` of
    /// the page before, empty for the first.
    pub fn list(&self, prefix: &[u8], after: &[u8], limit: u32) -> Answer<Page> {
        self.lists(prefix, after, limit, false)
    }

    /// The same, without values.
    pub fn keys(&self, prefix: &[u8], after: &[u8], limit: u32) -> Answer<Page> {
        self.lists(prefix, after, limit, true)
    }

    fn lists(&self, prefix: &[u8], after: &[u8], limit: u32, without_values: bool) -> Answer<Page> {
        let list = proto::List {
            prefix: prefix.to_vec(),
            after: after.to_vec(),
            limit,
            without_values,
        };
        self.ask(Request::List(list), |answer| match answer {
            Response::Page(page) => Some(Page {
                entries: page.entries.into_iter().map(Entry::of).collect(),
                next: Some(page.next).filter(|next| !next.is_empty()),
            }),
            _ => None,
        })
    }

    /// Changes that are made together, or not at all.
    ///
    /// ```no_run
    /// # use embly_sdk as embly;
    /// # async fn f(store: embly::kv::Store) -> Result<(), embly::Error> {
    /// store.batch().set(b"a", b"1").set(b"b", b"2").delete(b"c").commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn batch(&self) -> Batch {
        Batch::new(self.session.clone())
    }

    /// Reads, and then changes that are made only if all that was read is still the same.
    ///
    /// ```no_run
    /// # use embly_sdk as embly;
    /// # async fn f(store: embly::kv::Store) -> Result<(), embly::Error> {
    /// loop {
    ///     let mut transaction = store.transaction();
    ///     let from = transaction.get(b"from").await?.unwrap_or_default();
    ///     transaction.set(b"to", &from);
    ///     transaction.delete(b"from");
    ///     if transaction.commit().await?.applied {
    ///         break; // otherwise somebody was faster: again
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    pub(super) fn session(&self) -> &Shared {
        &self.session
    }

    /// Tells of changes of one key: from now on, or those after the sequence number of an earlier
    /// event.
    pub fn watch_key(&self, key: &[u8], after: Option<u64>) -> Changes {
        self.changes(proto::watch::What::Key(key.to_vec()), after)
    }

    /// Tells of changes of all keys that begin so.
    ///
    /// ```no_run
    /// # use embly_sdk as embly;
    /// use embly::kv::{Change, Store};
    /// # async fn f(store: Store) -> Result<(), embly::Error> {
    /// let mut watch = store.watch_prefix(b"user/", None).await?;
    /// loop {
    ///     match watch.next().await?.change {
    ///         Change::Set(entry) => println!("{:?}", entry.key),
    ///         Change::Deleted(key) | Change::Expired(key) => println!("{key:?} is gone"),
    ///         Change::FellBehind => println!("list them again"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn watch_prefix(&self, prefix: &[u8], after: Option<u64>) -> Changes {
        self.changes(proto::watch::What::Prefix(prefix.to_vec()), after)
    }

    fn changes(&self, what: proto::watch::What, after: Option<u64>) -> Changes {
        let what = Some(what);
        let answer = self.ask(Request::Watch(proto::Watch { what, after }), watch::began);
        Watch::begin(self.session.clone(), answer)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

fn get(key: &[u8], without_value: bool) -> Request {
    let key = key.to_vec();
    Request::Get(proto::Get { key, without_value })
}

pub(super) fn set(key: &[u8], value: &[u8], ttl: Option<Duration>) -> proto::Set {
    proto::Set {
        key: key.to_vec(),
        value: value.to_vec(),
        ttl_ms: ttl.map(millis),
    }
}

fn version(answer: Response) -> Option<u64> {
    match answer {
        Response::Changed(changed) => Some(changed.version),
        _ => None,
    }
}

/// Rounded up: what lives for a moment does not live for none.
fn millis(ttl: Duration) -> u64 {
    let millis = ttl.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(u64::MAX)
}
