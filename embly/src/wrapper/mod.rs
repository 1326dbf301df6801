//! Processes, seen from the master: fork servers, their wrappers, and the end of both.

mod door;
mod jail;
mod nursery;
mod reaper;
mod server;

pub use door::{Door, DoorError};
pub use jail::{Incomplete, Jail};
pub use nursery::Nursery;
pub use reaper::Reaper;
pub use server::{Ordered, Server, StartError};

use std::sync::atomic::{AtomicU64, Ordering};

use protos::Slot;
use tokio::net::UnixStream;

/// A wrapper that has said hello: forked, connected, waiting for `startup`.
#[derive(Debug)]
pub struct Wrapper {
    /// The connection to it.
    pub socket: UnixStream,
    /// Its process, our child.
    pub pid: i32,
}

/// Numbers slots, upward from 1.
#[derive(Debug, Default)]
pub struct Slots(AtomicU64);

impl Slots {
    /// A number that was not used before.
    pub fn next(&self) -> Slot {
        Slot(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}
