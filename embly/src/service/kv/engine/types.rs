//! What a store is asked for, and what it answers.

use bytes::Bytes;

/// What a key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: Bytes,
    /// The sequence number of the change that set it.
    pub version: u64,
    /// When it expires: milliseconds of the store's clock.
    pub expires: Option<u64>,
}

impl Entry {
    /// Whether its time has passed.
    pub fn is_over(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// A change, if it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key, with a time to live in milliseconds.
    Set {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// Milliseconds; `None` for ever.
        ttl: Option<u64>,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Sets or removes a key if it is as expected.
    Swap {
        /// The key.
        key: Bytes,
        /// What it must be.
        expected: Expected,
        /// The new value; `None` removes it.
        new: Option<Bytes>,
        /// As in `Set`.
        ttl: Option<u64>,
    },
    /// Adds to the number that a key has.
    Increment {
        /// The key.
        key: Bytes,
        /// How much.
        by: i64,
        /// For a key that was not there.
        ttl: Option<u64>,
    },
    /// Changes when a key expires.
    Expire {
        /// The key.
        key: Bytes,
        /// As in `Set`.
        ttl: Option<u64>,
    },
    /// All of them, if all checks hold.
    Batch {
        /// A key and the version that it must have; 0: it must not be there.
        checks: Vec<(Bytes, u64)>,
        /// In this order.
        writes: Vec<Put>,
    },
}

/// One of a batch: a key, and its new value with a time to live; `None` removes it.
pub type Put = (Bytes, Option<(Bytes, Option<u64>)>);

/// What a key must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Not there.
    Absent,
    /// There with this value.
    Value(Bytes),
    /// There with this version.
    Version(u64),
}

/// What became of a [`Write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Of `Set`, `Delete`, `Expire`.
    Changed {
        /// Whether the key was there.
        existed: bool,
        /// Its version now; 0 where nothing has changed, or it is gone.
        version: u64,
    },
    /// Of `Swap`, which was done: the version now, 0 where it was removed.
    Swapped(u64),
    /// Of `Swap`, which was not done: what is there.
    Other(Option<Entry>),
    /// Of `Increment`.
    Sum {
        /// The number now.
        value: i64,
        /// The version now.
        version: u64,
    },
    /// Of `Batch`, which was done.
    Committed(u64),
    /// Of `Batch`, which was not done: the number of the check that did not hold.
    Failed(usize),
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Keys with their entries, in order. Values are empty where they were not asked for.
    pub entries: Vec<(Bytes, Entry)>,
    /// Whether more follow.
    pub more: bool,
}

/// Which keys are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Those that begin so,
    pub prefix: Bytes,
    /// and come after this.
    pub after: Bytes,
    /// So many at most,
    pub limit: usize,
    /// and so many bytes, but at least one entry.
    pub bytes: usize,
    /// With their values.
    pub values: bool,
}

/// Why a store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What is below it has failed; nothing was changed.
    #[error("the store failed: {0}")]
    Failed(String),
    /// It would be larger than the project file says.
    #[error(
        "the store is full: its entries may have {size} bytes in all; delete some, or raise \
         `size` of the store in the project file"
    )]
    Full {
        /// What they may have.
        size: u64,
    },
    /// `Increment` of something else than a number.
    #[error("the value is not a whole number of 64 bits, so it cannot be incremented")]
    NotANumber,
    /// `Increment` beyond 64 bits.
    #[error("the sum does not fit in 64 bits")]
    Overflow,
    /// The store serves nobody any more.
    #[error("the store has stopped; the messages of the master say why")]
    Stopped,
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}
