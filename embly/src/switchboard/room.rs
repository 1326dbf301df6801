//! Room on the machine: what no limit of a function can promise. Looked at before each invocation;
//! what does not fit is `overloaded`, or EAGAIN for a spawn.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, getuid};

use crate::config::Machine;

/// Of the processes that there can be, this part is left to others.
const PROCESSES_LEFT: u64 = 16;

/// Descriptors for listeners, fork servers, the runtime, and clients that are being answered;
/// at most half of what there are.
const DESCRIPTORS_LEFT: u64 = 64;

/// Of the memory, this part has to be available …
const MEMORY_LEFT: u64 = 32;

/// … but no more than so many bytes.
const MEMORY_LEFT_AT_MOST: u64 = 256 << 20;

/// The kernel is asked for the memory that is available this often at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A bound on how many invocations there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ceiling {
    invocations: u64,
    /// What is used up.
    what: &'static str,
}

/// What the machine has room for; taken from it at the start.
#[derive(Debug)]
pub struct Room {
    ceilings: Vec<Ceiling>,
    /// Bytes that have to be available.
    reserve: u64,
    last_look: Mutex<Option<(Instant, u64)>>,
}

impl Room {
    /// On this machine, or in this container.
    pub fn here() -> Self {
        let machine = Machine::here();
        let own = getrlimit(Resource::Nproc).current;
        // The kernel does not count those of root.
        let own = own.filter(|_| !getuid().is_root());
        let processes = machine.processes.into_iter().chain(own).min();
        Self::of(
            machine.memory,
            processes,
            getrlimit(Resource::Nofile).current,
        )
    }

    fn of(memory: Option<u64>, processes: Option<u64>, descriptors: Option<u64>) -> Self {
        let processes = processes.map(|has| Ceiling {
            invocations: (has - has / PROCESSES_LEFT).max(1),
            what: "processes",
        });
        let descriptors = descriptors.map(|has| Ceiling {
            invocations: (has - DESCRIPTORS_LEFT.min(has / 2)).max(1),
            what: "open files",
        });
        let reserve = memory.map_or(0, |has| (has / MEMORY_LEFT).min(MEMORY_LEFT_AT_MOST));
        Self {
            ceilings: processes.into_iter().chain(descriptors).collect(),
            reserve,
            last_look: Mutex::default(),
        }
    }

    /// Whether one more fits where so many run; the error says why not.
    pub fn check(&self, running: usize) -> Result<(), String> {
        let full = |ceiling: &&Ceiling| running as u64 >= ceiling.invocations;
        if let Some(Ceiling { invocations, what }) = self.ceilings.iter().find(full) {
            return Err(format!(
                "the machine has no room: its limit on {what} allows {invocations} invocations"
            ));
        }
        match self.available() {
            Some(available) if available < self.reserve => Err(format!(
                "the machine has no room: {} MiB of memory are available, {} MiB are kept free",
                available >> 20,
                self.reserve >> 20
            )),
            _ => Ok(()),
        }
    }

    fn available(&self) -> Option<u64> {
        let now = Instant::now();
        let mut last = self
            .last_look
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((at, available)) = *last
            && now.duration_since(at) < LOOK_EVERY
        {
            return Some(available);
        }
        let available = Machine::available_memory()?;
        *last = Some((now, available));
        Some(available)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_cannot_hold_is_refused_with_the_reason() {
        let room = Room::of(None, Some(160), Some(1_000));
        assert_eq!(room.check(149), Ok(()));
        let why = room.check(150).unwrap_err();
        assert!(why.contains("limit on processes allows 150"), "{why}");
        let room = Room::of(None, None, Some(40));
        assert!(room.check(19).is_ok());
        assert!(room.check(20).unwrap_err().contains("open files"));
        assert_eq!(Room::of(None, Some(1), Some(1)).check(0), Ok(()));
    }

    #[test]
    fn without_memory_nothing_more_is_started() {
        let room = Room {
            reserve: 64 << 20,
            ..Room::of(None, None, None)
        };
        let sees =
            |available: u64| *room.last_look.lock().unwrap() = Some((Instant::now(), available));
        sees(64 << 20);
        assert_eq!(room.check(0), Ok(()));
        sees(63 << 20);
        let why = room.check(0).unwrap_err();
        assert!(why.contains("63 MiB of memory are available"), "{why}");
    }
}
