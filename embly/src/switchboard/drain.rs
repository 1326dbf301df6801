//! How work ends: from some moment on nothing begins, and whoever stops waits until nothing is left.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether work may begin, and who waits for its end.
#[derive(Debug, Default)]
pub struct Drain {
    refused: AtomicBool,
    /// Told each time something has ended.
    ended: Notify,
}

/// What a drain has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Nothing is left.
    Idle,
    /// Something is, and the time is over.
    Late,
    /// Nobody waits any longer.
    AtOnce,
}

impl Drain {
    /// Nothing begins from now on.
    pub fn refuse_new(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whether nothing may begin.
    pub fn refuses(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Something has ended, and whoever looks finds it gone.
    pub fn one_has_ended(&self) {
        self.ended.notify_waiters();
    }

    /// Waits until this is so; it is looked at now, and whenever something has ended.
    pub async fn until(&self, idle: impl Fn() -> bool) {
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            // Counts endings from here on, so that none is missed.
            ended.as_mut().enable();
            if idle() {
                return;
            }
            ended.await;
        }
    }
}

/// Waits for whichever comes first; at the same moment, for the best of them.
pub async fn first(
    idle: impl Future<Output = ()>,
    deadline: impl Future<Output = ()>,
    at_once: impl Future<Output = ()>,
) -> Drained {
    tokio::select! {
        biased;
        () = idle => Drained::Idle,
        () = at_once => Drained::AtOnce,
        () = deadline => Drained::Late,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::*;
    use crate::exploring::cases;

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Begins,
        Ends,
        RefusesNew,
        DeadlinePasses,
        SecondSignal,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            10 => Just(Step::Begins),
            14 => Just(Step::Ends),
            3 => Just(Step::RefusesNew),
            1 => Just(Step::DeadlinePasses),
            1 => Just(Step::SecondSignal),
        ]
    }

    /// Whether somebody was woken.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_drain_ends_with_the_last_one_or_its_time_and_nothing_begins_after(
            at_first in 0..4_usize,
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let (drain, running) = (Drain::default(), Cell::new(at_first));
            let (deadline, passes) = oneshot::channel::<()>();
            let (signal, comes) = oneshot::channel::<()>();
            let (mut deadline, mut signal) = (Some(deadline), Some(signal));
            let waits = async {
                let idle = drain.until(|| drain.refuses() && running.get() == 0);
                first(idle, async { drop(passes.await) }, async { drop(comes.await) }).await
            };
            let mut waits = pin!(waits);
            let woken = Arc::new(Woken(AtomicBool::new(true)));
            let waker = Waker::from(Arc::clone(&woken));
            let mut context = Context::from_waker(&waker);
            for step in steps {
                match step {
                    Step::Begins if !drain.refuses() => running.set(running.get() + 1),
                    Step::Begins => {}
                    Step::Ends => {
                        running.set(running.get().saturating_sub(1));
                        drain.one_has_ended();
                    }
                    Step::RefusesNew => {
                        drain.refuse_new();
                        // As the master does, which looks after that.
                        drain.one_has_ended();
                    }
                    Step::DeadlinePasses => drop(deadline.take()),
                    Step::SecondSignal => drop(signal.take()),
                }
                let expected = if drain.refuses() && running.get() == 0 {
                    Poll::Ready(Drained::Idle)
                } else if signal.is_none() {
                    Poll::Ready(Drained::AtOnce)
                } else if deadline.is_none() {
                    Poll::Ready(Drained::Late)
                } else {
                    Poll::Pending
                };
                // As a runtime does: only who was woken is asked.
                let asked = woken.0.swap(false, Ordering::Relaxed);
                let comes_to = match asked {
                    true => waits.as_mut().poll(&mut context),
                    false => Poll::Pending,
                };
                prop_assert_eq!(comes_to, expected);
                if comes_to.is_ready() {
                    break;
                }
            }
        }
    }
}
