//! How many requests wait for a function.

use std::sync::atomic::{AtomicU32, Ordering};

/// Counts those that wait. Their order is that of the permits they wait for.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: AtomicU32,
}

/// One that waits.
#[derive(Debug)]
pub struct Place<'a>(&'a Queue);

impl Queue {
    /// How many wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A place, if fewer than `length` wait.
    pub fn enter(&self, length: Option<u32>) -> Option<Place<'_>> {
        let more = |waiting: u32| (waiting < length.unwrap_or(u32::MAX)).then_some(waiting + 1);
        let entered = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.is_ok().then(|| Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_when_it_is_left() {
        let queue = Queue::default();
        let first = queue.enter(Some(2));
        let second = queue.enter(Some(2));
        assert!(first.is_some() && second.is_some());
        for _ in 0..3 {
            assert!(queue.enter(Some(2)).is_none());
        }
        assert!(queue.enter(None).is_some());
        drop(first);
        assert!(queue.enter(Some(2)).is_some());
    }
}
