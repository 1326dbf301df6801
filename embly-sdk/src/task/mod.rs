//! Waiting: one thread, any number of futures.
//!
//! The rule behind all of it: the host reports a change on a stream once, so whoever wants
//! something tries first and waits then. A report wakes everybody who waits on that stream, for
//! reading or for writing, and they try again. Nobody can miss anything, also when a blocking
//! call inside of an async handler takes in the reports meant for others.

mod join;
pub(crate) mod newcomers;
pub(crate) mod reactor;
mod sleep;

pub use join::{Join, join_all};
pub use sleep::{Sleep, sleep};

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Set when the future should be polled again.
struct Again(AtomicBool);

impl Wake for Again {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Runs a future to its end, on this thread.
///
/// [`run`](crate::run) and [`http::run`](crate::http::run) do this for a handler; in a plain
/// function it is the way to wait for several things at once.
///
/// ```
/// # use embly_sdk as embly;
/// assert_eq!(embly::block_on(async { 1 + 1 }), 2);
/// ```
///
/// # Panics
/// When the future waits for something that neither a stream nor the clock can bring.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let again = Arc::new(Again(AtomicBool::new(true)));
    let waker = Waker::from(again.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        while again.0.swap(false, Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
        }
        reactor::wait();
    }
}

/// [`block_on`] for a `poll_…` function.
pub(crate) fn block_on_poll<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    block_on(poll_fn(poll))
}
