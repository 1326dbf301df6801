//! Clients, and their own record of what was acknowledged to them.

mod clients;
pub mod wire;

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::Done;
use crate::world::World;

pub use clients::{Client, once};

/// What a client does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Load {
    /// Adds 1 to a key of its own in a store, by HTTP.
    Kv,
    /// Has a body sent back.
    Mirror,
    /// The same by TCP, a line at a time.
    Echo,
    /// The same over a WebSocket.
    Socket,
    /// Inserts a row, by TCP.
    Sql,
    /// Has a function ask another server.
    Asks,
    /// Has functions start each other.
    Chain,
    /// Asks for what is replaced.
    Code,
    /// As little as a function can do.
    Hello,
    /// Takes a large answer. Only for `cargo xtask soak`: no seed draws it.
    Stream,
    /// Counts in a store, at keys that are few. Only for that command, too.
    Count,
}

impl Load {
    /// Those that a seed draws from.
    pub const ALL: [Self; 9] = [
        Self::Kv,
        Self::Mirror,
        Self::Echo,
        Self::Socket,
        Self::Sql,
        Self::Asks,
        Self::Chain,
        Self::Code,
        Self::Hello,
    ];

    /// Also that of the gateway.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kv => "stores",
            Self::Mirror => "mirrors",
            Self::Echo => "echo",
            Self::Socket => "socket",
            Self::Sql => "queries",
            Self::Asks => "asks",
            Self::Chain => "chain",
            Self::Code => "code",
            Self::Hello => "hello",
            Self::Stream => "pours",
            Self::Count => "stores",
        }
    }

    /// Whether each request leaves something in a store.
    pub fn keeps(self) -> bool {
        matches!(self, Self::Kv | Self::Sql)
    }

    /// How many clients do it at once.
    fn clients(self) -> usize {
        match self {
            Self::Kv | Self::Mirror => 2,
            _ => 1,
        }
    }
}

/// Some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loads(u16);

impl Loads {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(u16::MAX);

    pub const fn of(loads: &[Load]) -> Self {
        let (mut bits, mut n) = (0, 0);
        while n < loads.len() {
            bits |= 1 << loads[n] as u16;
            n += 1;
        }
        Self(bits)
    }

    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub fn has(self, load: Load) -> bool {
        self.0 & (1 << load as u16) != 0
    }

    pub fn iter(self) -> impl Iterator<Item = Load> {
        Load::ALL.into_iter().filter(move |load| self.has(*load))
    }
}

impl fmt::Display for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Load::name).collect();
        f.write_str(&names.join(" "))
    }
}

/// How a request ended, as its client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With the answer to it, whole, once.
    Acknowledged,
    /// With an error, a cut connection, or none at all.
    Failed(String),
    /// Not at all.
    Late,
    /// With what must never be.
    Wrong(String),
}

/// A request, in the record of its client.
#[derive(Debug, Clone)]
pub struct Entry {
    pub load: Load,
    /// Nobody else's.
    pub key: String,
    pub took: Duration,
    pub outcome: Outcome,
}

/// The record of all clients.
#[derive(Default)]
pub struct Record {
    entries: Mutex<Vec<Entry>>,
    next: AtomicU64,
}

impl Record {
    pub fn add(&self, entry: Entry) {
        self.entries.lock().unwrap().push(entry);
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    /// A key that nobody has had.
    pub fn key(&self) -> String {
        format!("k{:06}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Clients of these kinds, until it is time to end.
pub fn run<'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    world: &'scope World,
    loads: Loads,
    done: &'scope Done,
) {
    for load in loads.iter() {
        for client in 0..load.clients() {
            scope.spawn(move || {
                world.watched(load.name(), || clients::run(world, load, client, done));
            });
        }
    }
}
