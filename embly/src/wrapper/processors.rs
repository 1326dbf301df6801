//! Who may use which processors: everybody all of them, until a function offends.
//!
//! The processes of those that do are confined to one half of the processors, everybody else keeps
//! to the other, the master too. So nobody waits on a processor for the turn of an offender to
//! end, which would be a tick of the kernel's clock.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use embly_wrapper::cpus::{Cpus, keep_to};
use embly_wrapper::process;

use super::{Nursery, Reaper};

/// The processors that this process may use.
#[derive(Debug)]
pub struct Processors {
    nursery: Nursery,
    shared: Arc<Shared>,
}

/// Who is confined, and the fork servers that each has, or had.
type Confined = HashMap<usize, HashSet<i32>>;

#[derive(Debug)]
struct Shared {
    all: Cpus,
    /// For everybody else, and for those that are confined; `None` with one processor.
    halves: Option<(Cpus, Cpus)>,
    reaper: Arc<Reaper>,
    confined: Mutex<Confined>,
    /// Somebody is confined, or was.
    changed: AtomicBool,
    /// The kernel does not let this master: it is root without CAP_SYS_NICE, say.
    refused: AtomicBool,
}

impl Processors {
    /// Those that the master may use now.
    pub fn new(reaper: Arc<Reaper>, nursery: Nursery) -> Self {
        let all = Cpus::here();
        let shared = Shared {
            halves: all.halves(),
            all,
            reaper,
            confined: Mutex::default(),
            changed: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        };
        Self {
            nursery,
            shared: Arc::new(shared),
        }
    }

    /// How many a confined function has, and how many there are; `None` where there is only one.
    pub fn halves(&self) -> Option<(usize, usize)> {
        let (_, theirs) = self.shared.halves.as_ref()?;
        Some((theirs.count(), self.shared.all.count()))
    }

    /// Confines the group that the process `leader` leads, beside those before of the same
    /// `offender`, a number that nobody else has. Whether that is possible; where it is not, nothing
    /// changes for anybody.
    pub fn confine(&self, offender: usize, leader: Option<i32>) -> bool {
        let shared = &self.shared;
        let Some((_, theirs)) = &shared.halves else {
            return false;
        };
        if leader.is_some_and(|leader| keep_to(Some(leader), theirs).is_err()) {
            // Or it has ended just now; the next one will tell.
            let gone = leader.is_some_and(|leader| !process::is_child(leader));
            shared.refused.fetch_or(!gone, Ordering::Relaxed);
        }
        if shared.refused.load(Ordering::Relaxed) {
            self.release(offender);
            return false;
        }
        let mut confined = shared.lock();
        let known = confined.contains_key(&offender);
        let leaders = confined.entry(offender).or_default();
        if leader.is_some_and(|leader| leaders.insert(leader)) || !known {
            self.apply();
        }
        true
    }

    /// It is confined no more.
    pub fn release(&self, offender: usize) {
        if self.shared.lock().remove(&offender).is_some() {
            self.apply();
        }
    }

    /// Where fork servers are started: so none is missed that is being started.
    fn apply(&self) {
        self.shared.changed.store(true, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        self.nursery.tell(move || shared.apply());
    }

    /// A wrapper has shown itself that may have been forked before a change.
    pub fn place(&self, pid: i32) {
        if self.shared.changed.load(Ordering::Relaxed)
            && let Some(leader) = process::group(pid)
        {
            self.shared.place(leader, pid, &self.shared.lock());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Confined> {
        // Nothing in here panics.
        self.confined.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn others(&self, confined: &Confined) -> &Cpus {
        match &self.halves {
            Some((ours, _)) if !confined.is_empty() => ours,
            _ => &self.all,
        }
    }

    /// What cannot be set stays as it was: somebody waits for a tick, and nothing else happens.
    fn place(&self, leader: i32, pid: i32, confined: &Confined) {
        let is_confined = confined.values().any(|its| its.contains(&leader));
        let to = match &self.halves {
            Some((_, theirs)) if is_confined => theirs,
            _ => self.others(confined),
        };
        let _ = keep_to(Some(pid), to);
    }

    fn apply(&self) {
        let confined = self.lock();
        let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
        let number = |thread: fs::DirEntry| thread.file_name().to_str()?.parse().ok();
        for thread in threads.flatten().filter_map(number) {
            let _ = keep_to(Some(thread), self.others(&confined));
        }
        self.reaper
            .for_each(|leader, pid| self.place(leader, pid, &confined));
    }
}
