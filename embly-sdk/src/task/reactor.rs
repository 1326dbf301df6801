//! Who waits for which stream, and for what time.

use super::newcomers;
use crate::{
    sys::{self, Wait},
    warning,
};
use std::{cell::RefCell, collections::BTreeMap, task::Waker, time::Duration};

/// Streams taken from one call of the host. What does not fit is kept there.
const EVENTS: usize = 64;

#[derive(Default)]
struct Reactor {
    streams: BTreeMap<i32, Vec<Waker>>,
    /// By time, then by a number that tells timers of one time apart.
    timers: BTreeMap<Timer, Waker>,
    next_timer: u64,
}

/// The number under which the host reports what happens to the invocation itself.
pub(crate) const ITSELF: i32 = 0;

/// Whoever waits for newcomers waits on this: no stream has the number.
pub(crate) const NEWCOMERS: i32 = -1;

pub(crate) type Timer = (Duration, u64);

thread_local! {
    static REACTOR: RefCell<Reactor> = RefCell::default();
}

/// Wakes this waker at the next change on the stream.
pub(crate) fn on_change(id: i32, waker: &Waker) {
    REACTOR.with_borrow_mut(|reactor| {
        let wakers = reactor.streams.entry(id).or_default();
        if !wakers.iter().any(|it| it.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    });
}

/// A new timer, for [`at`].
pub(crate) fn timer(deadline: Duration) -> Timer {
    REACTOR.with_borrow_mut(|reactor| {
        reactor.next_timer += 1;
        (deadline, reactor.next_timer)
    })
}

/// Wakes this waker at the timer's time.
pub(crate) fn at(timer: Timer, waker: &Waker) {
    REACTOR.with_borrow_mut(|reactor| reactor.timers.insert(timer, waker.clone()));
}

/// Nobody waits for this timer any more.
pub(crate) fn cancel(timer: Timer) {
    // A timer that is dropped while its thread ends has nothing left to cancel.
    let _ = REACTOR.try_with(|reactor| reactor.borrow_mut().timers.remove(&timer));
}

/// Forgets everybody.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn reset() {
    REACTOR.set(Reactor::default());
}

/// Waits in the host until somebody can go on, and wakes them.
pub(crate) fn wait() {
    let mut ids = [0; EVENTS];
    let n = sys::events(how_long(), &mut ids).expect("the host takes every wait");
    if ids[..n].contains(&warning::ID) {
        warning::fetch();
    }
    let wakers = REACTOR.with_borrow_mut(|reactor| {
        let mut wakers = reactor.due();
        for id in &ids[..n] {
            if newcomers::notice(*id) {
                wakers.extend(reactor.streams.remove(&NEWCOMERS).unwrap_or_default());
            }
            wakers.extend(reactor.streams.remove(id).unwrap_or_default());
        }
        wakers
    });
    wakers.into_iter().for_each(Waker::wake);
}

fn how_long() -> Wait {
    REACTOR.with_borrow(|reactor| match reactor.timers.first_key_value() {
        Some(((at, _), _)) => Wait::AtMost(at.saturating_sub(sys::now())),
        None if reactor.streams.is_empty() => panic!(
            "this future can never go on: it waits for something that neither a stream nor \
             `embly::sleep` brings"
        ),
        None => Wait::Forever,
    })
}

impl Reactor {
    /// Takes out the timers whose time has come.
    fn due(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(first) = self.timers.first_entry()
            && first.key().0 <= sys::now()
        {
            wakers.push(first.remove());
        }
        wakers
    }
}
