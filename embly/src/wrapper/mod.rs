//! Processes, seen from the master: fork servers, their wrappers, and the end of both.

mod count;
mod door;
mod jail;
mod nursery;
mod processors;
mod reaper;
mod server;
mod socket;

pub use count::{Count, Counted};
pub use door::{Door, DoorError};
pub use jail::{Incomplete, Jail};
pub use nursery::Nursery;
pub use processors::Processors;
pub use reaper::Reaper;
pub use server::{Ordered, Server, StartError};
pub use socket::{Found, Socket};

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use embly_wrapper::process::Reaped;
use protos::Slot;
use tokio::sync::oneshot;

/// A wrapper that has said hello: forked, connected, waiting for `startup`. It ends when this is
/// dropped.
#[derive(Debug)]
pub struct Wrapper {
    /// The connection to it.
    pub socket: Socket,
    /// Its process, our child.
    pub pid: i32,
    /// How that ends.
    pub reaped: oneshot::Receiver<Reaped>,
    /// Invocations that it has served.
    pub served: u32,
    /// When it said hello.
    pub since: Instant,
    /// CPU time that they have used.
    pub cpu: Duration,
    /// Counts it as one that is in use.
    pub in_use: Option<Counted>,
}

impl Wrapper {
    fn new(socket: Socket, pid: i32, reaper: &Reaper) -> Self {
        Self {
            socket,
            pid,
            reaped: reaper.watch(pid),
            served: 0,
            since: Instant::now(),
            cpu: Duration::ZERO,
            in_use: None,
        }
    }

    /// Whether it has ended, or has said something where it has nothing to say.
    pub fn is_of_no_use(&self) -> bool {
        !self.socket.is_silent()
    }
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
