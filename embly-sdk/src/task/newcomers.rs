//! Streams that somebody else has opened: who has looked up a name that this invocation took.
//!
//! The host hands out numbers upward, and reports a newcomer under a number that no call of ours
//! has given us.

use std::{cell::RefCell, collections::VecDeque};

/// More than the host keeps: 64 that are open, and the last 1,024 that have ended. A function that
/// never accepts anybody does not fill its memory with them.
const KEPT: usize = 2048;

#[derive(Default)]
struct Newcomers {
    waiting: VecDeque<i32>,
    /// The last newcomer: whoever comes next has a higher number.
    last: i32,
    /// Numbers above `last` that are our own, as ranges from the first to the last.
    ours: VecDeque<(i32, i32)>,
}

thread_local! {
    static NEWCOMERS: RefCell<Newcomers> = RefCell::default();
}

/// A stream that we have opened ourselves.
pub(crate) fn expect(id: i32) {
    NEWCOMERS.with_borrow_mut(|it| it.expect(id));
}

/// Takes an event of the host; true when somebody new is there.
pub(crate) fn notice(id: i32) -> bool {
    NEWCOMERS.with_borrow_mut(|it| it.notice(id))
}

/// The one who has waited longest.
pub(crate) fn next() -> Option<i32> {
    NEWCOMERS.with_borrow_mut(|it| it.waiting.pop_front())
}

/// Forgets everybody.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn reset() {
    NEWCOMERS.take();
}

impl Newcomers {
    fn expect(&mut self, id: i32) {
        match self.ours.back_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            _ => self.ours.push_back((id, id)),
        }
    }

    fn notice(&mut self, id: i32) -> bool {
        // 0 is the invocation itself, 1 its parent.
        let ours = |(first, last): &(i32, i32)| (*first..=*last).contains(&id);
        if id <= self.last.max(1) || self.ours.iter().any(ours) {
            return false;
        }
        self.last = id;
        while self.ours.front().is_some_and(|(_, last)| *last < id) {
            self.ours.pop_front();
        }
        if self.waiting.len() == KEPT {
            self.waiting.pop_front();
        }
        self.waiting.push_back(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_not_ours_is_a_newcomer_once() {
        let mut it = Newcomers::default();
        it.expect(2);
        it.expect(3);
        // 4 has come before we got 5, and is reported after it.
        it.expect(5);
        assert!(!it.notice(0) && !it.notice(1) && !it.notice(3) && !it.notice(5));
        assert!(it.notice(4));
        assert!(!it.notice(4) && !it.notice(5) && !it.notice(2));
        assert!(it.notice(6));
        assert_eq!(it.waiting, [4, 6]);
    }

    #[test]
    fn numbers_of_our_own_take_no_memory() {
        let mut it = Newcomers::default();
        (2..10_000).for_each(|id| it.expect(id));
        assert_eq!(it.ours.len(), 1);
        assert!(it.notice(10_000));
        assert!(it.ours.is_empty());
    }

    #[test]
    fn newcomers_that_nobody_accepts_are_forgotten() {
        let mut it = Newcomers::default();
        let all = (2..10_000).filter(|id| it.notice(*id)).count();
        assert_eq!(all, 9_998);
        assert_eq!(it.waiting.len(), KEPT);
    }
}
