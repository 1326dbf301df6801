//! Who may use which processors: everybody all of them, until a function offends.
//!
//! The processes of those that do are confined to one half of the processors, everybody else keeps
//! to the other, the master too. So nobody waits on a processor for the turn of an offender to
//! end, which would be a tick of the kernel's clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use embly_wrapper::cpus::{Cpus, keep_to};

use super::{Nursery, Reaper};

/// The processors that this process may use.
#[derive(Debug)]
pub struct Processors {
    all: Cpus,
    reaper: Arc<Reaper>,
    nursery: Nursery,
    /// Who is confined, and the fork server of each that has one.
    confined: Mutex<HashMap<usize, Option<i32>>>,
}

impl Processors {
    /// Those that the master may use now.
    pub fn new(reaper: Arc<Reaper>, nursery: Nursery) -> Self {
        Self {
            all: Cpus::here(),
            reaper,
            nursery,
            confined: Mutex::default(),
        }
    }

    /// How many a confined function has, and how many there are; `None` where there is only one.
    pub fn halves(&self) -> Option<(usize, usize)> {
        let (_, theirs) = self.all.halves()?;
        Some((theirs.count(), self.all.count()))
    }

    /// Confines the group that the process `leader` leads, in place of the one before of the same
    /// `offender`, a number that nobody else has.
    pub fn confine(&self, offender: usize, leader: Option<i32>) {
        self.change(|confined| confined.insert(offender, leader) != Some(leader));
    }

    /// It is confined no more.
    pub fn release(&self, offender: usize) {
        self.change(|confined| confined.remove(&offender).is_some());
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<usize, Option<i32>>) -> bool) {
        let Some((ours, theirs)) = self.all.halves() else {
            return;
        };
        let mut confined = self.confined.lock().unwrap_or_else(PoisonError::into_inner);
        if !change(&mut confined) {
            return;
        }
        let others = if confined.is_empty() { self.all } else { ours };
        // What cannot be set stays as it was: more wait for a tick, and nothing else happens.
        let _ = keep_to(None, &others);
        // Fork servers inherit it from there.
        self.nursery.tell(move || drop(keep_to(None, &others)));
        // Wrappers that wait are not known yet. Each serves once and is replaced by one that
        // has inherited it.
        self.reaper.for_each(|leader, pid| {
            let is_confined = confined.values().any(|its| *its == Some(leader));
            let to = if is_confined { &theirs } else { &others };
            let _ = keep_to(Some(pid), to);
        });
    }
}
