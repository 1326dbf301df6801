//! Whose turn it is to write: one at a time in each store. Of those who wait, the function comes first
//! that has written least recently, so that none keeps others out by asking often.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// The turns of one store.
#[derive(Debug, Default)]
pub struct Turns(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    taken: bool,
    waiting: VecDeque<(Arc<str>, oneshot::Sender<Turn>)>,
    /// When each function had its last turn, as a count of turns.
    last: HashMap<Arc<str>, u64>,
    count: u64,
}

/// The right to write. The next has it when this is dropped.
#[derive(Debug)]
pub struct Turn {
    /// `None`: nobody got it.
    turns: Option<Arc<Turns>>,
}

impl Turns {
    /// Waits for a turn of this function. Whoever stops waiting loses its place.
    pub async fn take(self: &Arc<Self>, function: &Arc<str>) -> Turn {
        let receiver = {
            let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !queue.taken {
                queue.begins(function);
                return self.turn();
            }
            // Those who have gone take no place.
            queue.waiting.retain(|(_, sender)| !sender.is_closed());
            let (sender, receiver) = oneshot::channel();
            queue.waiting.push_back((Arc::clone(function), sender));
            receiver
        };
        // A sender is dropped by `next` alone, which sends; and the queue lives as long as this.
        receiver.await.unwrap_or_else(|_| self.turn())
    }

    fn turn(self: &Arc<Self>) -> Turn {
        Turn {
            turns: Some(Arc::clone(self)),
        }
    }

    fn next(self: &Arc<Self>) {
        loop {
            let (sender, turn) = {
                let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let Some((function, sender)) = queue.first() else {
                    queue.taken = false;
                    return;
                };
                queue.begins(&function);
                (sender, self.turn())
            };
            match sender.send(turn) {
                Ok(()) => return,
                // It has gone: what did not begin does not end either.
                Err(mut turn) => turn.turns = None,
            }
        }
    }
}

impl Queue {
    fn begins(&mut self, function: &Arc<str>) {
        self.taken = true;
        self.count += 1;
        self.last.insert(Arc::clone(function), self.count);
    }

    fn first(&mut self) -> Option<(Arc<str>, oneshot::Sender<Turn>)> {
        // A turn that nobody takes is none of the function's.
        self.waiting.retain(|(_, sender)| !sender.is_closed());
        let last = &self.last;
        let order = |(_, (function, _)): &(usize, &(Arc<str>, _))| last.get(function).copied();
        let waiting = self.waiting.iter().enumerate();
        // Of several of one function the first.
        let (at, _) = waiting.min_by_key(order)?;
        self.waiting.remove(at)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Poll, Waker};

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_function_that_has_waited_longest_for_a_turn_is_next() {
        let turns = Arc::new(Turns::default());
        let (a, b, c): (Arc<str>, Arc<str>, Arc<str>) = ("a".into(), "b".into(), "c".into());
        let take = |who: &Arc<str>| {
            let (turns, who) = (Arc::clone(&turns), Arc::clone(who));
            Box::pin(async move { turns.take(&who).await })
        };
        let Poll::Ready(first) = poll(&mut take(&a)) else {
            panic!("nobody writes")
        };
        let (mut a1, mut a2, mut gone, mut b1, mut c1) =
            (take(&a), take(&a), take(&b), take(&b), take(&c));
        for waits in [&mut a1, &mut a2, &mut gone, &mut b1, &mut c1] {
            assert!(poll(waits).is_pending());
        }
        drop(gone);
        drop(first);
        let Poll::Ready(turn) = poll(&mut b1) else {
            panic!("b has never written")
        };
        assert!(poll(&mut a1).is_pending() && poll(&mut c1).is_pending());
        drop(turn);
        let Poll::Ready(turn) = poll(&mut c1) else {
            panic!("c has never written")
        };
        drop(turn);
        let Poll::Ready(turn) = poll(&mut a1) else {
            panic!("a is left")
        };
        assert!(poll(&mut a2).is_pending());
        drop((turn, a2));
        assert!(poll(&mut take(&b)).is_ready());
    }
}
