//! How work ends: from some moment on nothing begins, and whoever stops waits until nothing is left.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Whether work may begin, and who waits for its end.
#[derive(Debug, Default)]
pub struct Drain {
    refused: AtomicBool,
    /// What has ended and is not told yet.
    untold: AtomicUsize,
    /// Told each time something has ended.
    ended: Notify,
}

/// Something that has ended, until it is told.
#[derive(Debug)]
pub struct Untold(Arc<Drain>);

impl Drop for Untold {
    fn drop(&mut self) {
        self.0.untold.fetch_sub(1, Ordering::SeqCst);
        self.0.one_has_ended();
    }
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

    /// Something has ended, and is told when the result is dropped.
    pub fn untold(self: &Arc<Self>) -> Untold {
        self.untold.fetch_add(1, Ordering::SeqCst);
        Untold(Arc::clone(self))
    }

    /// Whether all that has ended is told.
    pub fn all_told(&self) -> bool {
        self.untold.load(Ordering::SeqCst) == 0
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

    #[test]
    fn a_drain_misses_no_ending_and_nothing_begins_after_it_whichever_thread_goes_on() {
        use shuttle::sync::Mutex;
        use shuttle::{future::block_on, thread};

        #[derive(Default)]
        struct All {
            running: usize,
            untold: usize,
            drained: bool,
        }

        crate::exploring::schedules(|| {
            let shared = Arc::new((Arc::new(Drain::default()), Mutex::new(All::default())));
            let requests = [(); 3].map(|()| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (drain, all) = &*shared;
                    {
                        // One turn: whoever begins has looked just before.
                        let mut all = all.lock().unwrap();
                        if drain.refuses() {
                            return;
                        }
                        assert!(!all.drained, "it begins after all");
                        all.running += 1;
                        all.untold += 1;
                    }
                    thread::yield_now();
                    let untold = drain.untold();
                    all.lock().unwrap().running -= 1;
                    drain.one_has_ended();
                    // By somebody else, when it comes to it.
                    thread::spawn(move || {
                        shared.1.lock().unwrap().untold -= 1;
                        drop(untold);
                    });
                })
            });
            let stops = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (drain, all) = &*shared;
                    thread::yield_now();
                    drain.refuse_new();
                    // Whoever is not told of the last ending waits for ever, which the explorer finds.
                    block_on(drain.until(|| {
                        let idle = all.lock().unwrap().running == 0;
                        // One may end between this look and the wait.
                        thread::yield_now();
                        idle && drain.all_told()
                    }));
                    let mut all = all.lock().unwrap();
                    assert_eq!((all.running, all.untold), (0, 0));
                    all.drained = true;
                })
            };
            for thread in requests.into_iter().chain([stops]) {
                thread.join().unwrap();
            }
        });
    }
}
