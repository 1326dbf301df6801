//! What may change while a store is open.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::config::Durability;

/// As the project file says.
#[derive(Debug)]
pub struct Settings {
    relaxed: AtomicBool,
    size: AtomicU64,
}

impl Settings {
    /// When changes are acknowledged, and what the entries may cost together.
    pub fn new(durability: Durability, size: u64) -> Self {
        let settings = Self {
            relaxed: AtomicBool::new(false),
            size: AtomicU64::new(0),
        };
        settings.set(durability, size);
        settings
    }

    /// The same, from the next commit on.
    pub fn set(&self, durability: Durability, size: u64) {
        let relaxed = durability == Durability::Relaxed;
        self.relaxed.store(relaxed, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
    }

    /// When changes are acknowledged.
    pub fn durability(&self) -> Durability {
        match self.relaxed.load(Ordering::Relaxed) {
            true => Durability::Relaxed,
            false => Durability::Full,
        }
    }

    /// What the entries may cost together.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }
}
