//! What a build tells while it runs, and how it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Something that happened in a build.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildEvent {
    /// One cargo call began; it builds these functions.
    CargoStarted {
        /// Names of the functions, in the order of the project file.
        functions: Vec<String>,
    },
    /// Bytes that cargo wrote to its standard error, to be passed on as they are.
    Diagnostics(Vec<u8>),
    /// The cargo call ended; what became of each function is in its outcome.
    CargoFinished {
        /// Names of the functions, in the order of the project file.
        functions: Vec<String>,
        /// Wall-clock time of the call.
        elapsed: Duration,
    },
}

/// Receives the events of a build, on the thread that builds.
pub trait Observer {
    /// Called once per event, in order.
    fn on(&self, event: BuildEvent);
}

/// Stops a build from another thread: what runs is ended with its whole process group.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A handle that was not used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ask for the end; takes effect within about 50 ms, or when the process at work has ended.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
