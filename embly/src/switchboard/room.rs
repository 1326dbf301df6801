//! Room on the machine: what no limit of a function can promise. Looked at before each invocation;
//! what does not fit is `overloaded`, or EAGAIN for a spawn.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::config::Machine;

/// Of the processes that there can be, this part is left to others.
const PROCESSES_LEFT: u64 = 16;

/// Descriptors for listeners, fork servers, the runtime, and clients that are told that there is
/// no room; at most half of what there are.
const DESCRIPTORS_LEFT: u64 = 64;

/// Of the memory, this part has to be available …
const MEMORY_LEFT: u64 = 32;

/// … but no more than so many bytes.
const MEMORY_LEFT_AT_MOST: u64 = 256 << 20;

/// The kernel is asked for the memory that is available this often at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Of the invocations that there can be, so many wrappers may wait for requests; and they leave as
/// many free.
const PARKED: u64 = 8;

/// Of these, invocations and clients take one each.
const OPEN_FILES: &str = "open files";

/// What is in use of that of which there can be so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse {
    /// Of invocations, and of wrappers that wait for one.
    pub processes: usize,
    /// Theirs, and those of clients.
    pub descriptors: usize,
}

/// What the machine has room for; taken from it at the start.
#[derive(Debug)]
pub struct Room {
    /// How many there can be; `None` without limit.
    processes: Option<u64>,
    descriptors: Option<u64>,
    /// Bytes that have to be available.
    reserve: u64,
    memory: Arc<Memory>,
}

/// Memory that was available when somebody looked last.
#[derive(Debug, Default)]
struct Memory(Mutex<Look>);

#[derive(Debug, Default)]
struct Look {
    available: Option<u64>,
    at: Option<Instant>,
    /// Somebody is looking.
    looking: bool,
}

impl Room {
    /// On this machine, or in this container.
    pub fn here() -> Self {
        let machine = Machine::here();
        // It counts for root as well, whose functions run as another user.
        let own = getrlimit(Resource::Nproc).current;
        let processes = machine.processes.into_iter().chain(own).min();
        let room = Self::of(
            machine.memory,
            processes,
            getrlimit(Resource::Nofile).current,
        );
        room.memory.look();
        room
    }

    fn of(memory: Option<u64>, processes: Option<u64>, descriptors: Option<u64>) -> Self {
        let processes = processes.map(|has| (has - has / PROCESSES_LEFT).max(1));
        let descriptors = descriptors.map(|has| (has - DESCRIPTORS_LEFT.min(has / 2)).max(1));
        let reserve = memory.map_or(0, |has| (has / MEMORY_LEFT).min(MEMORY_LEFT_AT_MOST));
        Self {
            processes,
            descriptors,
            reserve,
            memory: Arc::default(),
        }
    }

    /// Each ceiling, with how many are in use and what they are.
    fn ceilings(&self, in_use: InUse) -> impl Iterator<Item = (u64, u64, &'static str)> {
        let processes = (self.processes, in_use.processes, "processes");
        let descriptors = (self.descriptors, in_use.descriptors, OPEN_FILES);
        let known = |(most, used, what): (Option<u64>, usize, _)| Some((most?, used as u64, what));
        [processes, descriptors].into_iter().filter_map(known)
    }

    /// Whether one more fits where so many are in use; the error says why not.
    pub fn check(&self, in_use: InUse) -> Result<(), String> {
        let full = |(most, used, _): &(u64, u64, _)| used >= most;
        if let Some((most, _, what)) = self.ceilings(in_use).find(full) {
            return Err(format!(
                "the machine has no room: its limit on {what} allows {most} invocations{}",
                if what == OPEN_FILES {
                    " and clients together"
                } else {
                    ""
                }
            ));
        }
        let mut available = self.memory.available();
        if available.is_some_and(|available| available < self.reserve) {
            // Nobody is refused for what was so a while ago.
            available = self.memory.available_now();
        }
        match available {
            Some(available) if available < self.reserve => Err(format!(
                "the machine has no room: {} MiB of memory are available, {} MiB are kept free",
                available >> 20,
                self.reserve >> 20
            )),
            _ => Ok(()),
        }
    }

    /// How many more wrappers may wait for requests, where so many are in use, of which so many wait.
    pub fn to_park(&self, in_use: InUse, parked: usize) -> usize {
        if self
            .memory
            .available()
            .is_some_and(|available| available < 2 * self.reserve)
        {
            return 0;
        }
        let of = |(most, used, _): (u64, u64, _)| {
            let (share, free) = (most / PARKED, most.saturating_sub(used));
            share
                .saturating_sub(parked as u64)
                .min(free.saturating_sub(share))
        };
        let room = self.ceilings(in_use).map(of).min();
        room.map_or(usize::MAX, |room| {
            usize::try_from(room).unwrap_or(usize::MAX)
        })
    }
}

impl Memory {
    fn lock(&self) -> std::sync::MutexGuard<'_, Look> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        let available = Machine::available_memory();
        *self.lock() = Look {
            available,
            at: Some(Instant::now()),
            looking: false,
        };
    }

    /// The same, by a look of our own where the last one is old.
    fn available_now(&self) -> Option<u64> {
        let old = |at: &Instant| at.elapsed() >= LOOK_EVERY;
        if self.lock().at.as_ref().is_some_and(old) {
            self.look();
        }
        self.lock().available
    }

    /// As it was at the last look. The next one is beside whoever asks: it takes as long as half a
    /// request.
    fn available(self: &Arc<Self>) -> Option<u64> {
        let mut look = self.lock();
        let old = look.at.is_none_or(|at| at.elapsed() >= LOOK_EVERY);
        if old
            && !look.looking
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            look.looking = true;
            let memory = Arc::clone(self);
            runtime.spawn_blocking(move || memory.look());
        }
        look.available
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many invocations, whose clients need no connection.
    fn running(count: usize) -> InUse {
        InUse {
            processes: count,
            descriptors: count,
        }
    }

    #[test]
    fn what_the_machine_cannot_hold_is_refused_with_the_reason() {
        let room = Room::of(None, Some(160), Some(1_000));
        assert_eq!(room.check(running(149)), Ok(()));
        let why = room.check(running(150)).unwrap_err();
        assert!(why.contains("limit on processes allows 150"), "{why}");
        let room = Room::of(None, None, Some(40));
        assert!(room.check(running(19)).is_ok());
        assert!(room.check(running(20)).unwrap_err().contains("open files"));
        let full = InUse {
            processes: 10,
            descriptors: 20,
        };
        assert!(room.check(full).unwrap_err().contains("and clients"));
        assert_eq!(Room::of(None, Some(1), Some(1)).check(running(0)), Ok(()));
    }

    #[test]
    fn those_that_wait_leave_room_for_those_that_run() {
        let room = Room::of(None, Some(170), None);
        // 160 in all, of which 20 may wait.
        assert_eq!(room.to_park(running(0), 0), 20);
        assert_eq!(room.to_park(running(15), 15), 5);
        assert_eq!(room.to_park(running(130), 0), 10);
        assert_eq!(room.to_park(running(140), 10), 0);
        assert_eq!(room.to_park(running(180), 20), 0);
        assert_eq!(
            Room::of(None, None, None).to_park(running(0), 0),
            usize::MAX
        );
        let room = Room {
            reserve: 64 << 20,
            ..room
        };
        room.memory.lock().available = Some(127 << 20);
        assert_eq!(room.to_park(running(0), 0), 0);
    }

    #[test]
    fn without_memory_nothing_more_is_started() {
        let room = Room {
            reserve: 64 << 20,
            ..Room::of(None, None, None)
        };
        let sees = |available: u64| room.memory.lock().available = Some(available);
        sees(64 << 20);
        assert_eq!(room.check(running(0)), Ok(()));
        sees(63 << 20);
        let why = room.check(running(0)).unwrap_err();
        assert!(why.contains("63 MiB of memory are available"), "{why}");
    }
}
