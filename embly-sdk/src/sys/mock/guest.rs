//! The threads: who a thread is, how it starts, how it ends.

use super::{
    pipe::{End, Peer},
    world::{Guest, Phase, Start, State, TEST, World},
};
use crate::reason::{Exit, Reason};
use std::{
    any::Any,
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, MutexGuard},
    thread,
};

/// Unwinds a guest's thread, without the message of a panic.
struct Unwind(Exit);

/// Who this thread is.
#[derive(Clone)]
pub(crate) struct Me {
    pub world: Arc<World>,
    pub guest: usize,
}

thread_local! {
    static ME: RefCell<Option<Owner>> = const { RefCell::new(None) };
}

/// Ends a test's world when the test's thread ends.
struct Owner(Me);

impl Drop for Owner {
    fn drop(&mut self) {
        if self.0.guest == TEST {
            self.0.world.shut_down();
        }
    }
}

/// Who this thread is. A thread that is nobody yet is a new test.
pub(crate) fn me() -> Me {
    ME.with_borrow_mut(|me| {
        let new = || {
            Owner(Me {
                world: World::new(),
                guest: TEST,
            })
        };
        me.get_or_insert_with(new).0.clone()
    })
}

/// Whether this thread is a guest already.
pub(crate) fn is_somebody() -> bool {
    ME.with_borrow(Option::is_some)
}

/// Forgets who this thread is.
pub(crate) fn forget() {
    drop(ME.take());
}

/// Ends this invocation, as the real host would.
pub(crate) fn end(exit: Exit) -> ! {
    resume_unwind(Box::new(Unwind(exit)))
}

impl Me {
    /// Starts a child, which gets its turn when we wait. The number of our stream to it.
    pub(crate) fn start(&self, name: &str, start: Start) -> i32 {
        self.start_with(name, start, false)
    }

    /// The same, `detached` or not.
    pub(crate) fn start_with(&self, name: &str, start: Start, detached: bool) -> i32 {
        let mut state = self.world.lock();
        let child = state.guests.len();
        state.guests.push(Guest::new(name));
        state.guests[child].detached = detached;
        let id = state.guests[self.guest].next_id;
        state.guests[self.guest].next_id += 1;
        let ours = Peer {
            guest: self.guest,
            id,
        };
        let theirs = Peer {
            guest: child,
            id: 1,
        };
        state.guests[self.guest]
            .ends
            .insert(id, End::new(Some(theirs)));
        let mut end = End::new(Some(ours));
        if name.contains('/') {
            end.widen();
        }
        state.guests[child].ends.insert(1, end);
        state.queue.push_back(child);
        let it = Me {
            world: self.world.clone(),
            guest: child,
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || it.live(&start))
            .expect("this machine can start a thread for a function under test");
        id
    }

    /// Tells the guest on the other side of a stream that a limit is near.
    pub(crate) fn warn(&self, id: i32, limit: &'static str) {
        let mut state = self.world.lock();
        let end = state.guests[self.guest].ends.get(&id);
        if let Some(peer) = end.and_then(|end| end.peer) {
            state.guests[peer.guest].warnings.push_back(limit);
            state.notify(peer.guest, crate::warning::ID);
        }
    }

    /// A child's whole life.
    fn live(self, start: &Start) {
        ME.set(Some(Owner(self.clone())));
        let ran = catch_unwind(AssertUnwindSafe(|| {
            drop(self.until_turn(self.world.lock()));
            start()
        }));
        let exit = match ran {
            Ok(0) => exit(Reason::Ok, 0, ""),
            Ok(code) => exit(Reason::Exit, code, ""),
            Err(payload) => trapped(payload),
        };
        let mut state = self.world.lock();
        if !state.over {
            state.end(self.guest, &exit);
            state.pass();
        }
    }

    /// Waits for the turn; ends this thread when there will be none.
    pub(super) fn until_turn<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let bell = state.guests[self.guest].bell.clone();
        while state.turn != self.guest && !state.over {
            state = bell
                .wait(state)
                .unwrap_or_else(|poison| poison.into_inner());
        }
        self.check(state)
    }

    /// Ends this thread if it must end.
    pub(super) fn check<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let doomed = state.guests[self.guest].phase == Phase::Doomed;
        let over = state.over && self.guest != TEST;
        if (doomed || over) && !thread::panicking() {
            let doom = state.guests[self.guest].doom.clone();
            drop(state);
            end(doom.unwrap_or_else(|| exit(Reason::ParentEnded, 0, "")));
        }
        state
    }
}

fn exit(reason: Reason, code: i32, detail: &str) -> Exit {
    Exit {
        reason,
        code,
        detail: detail.to_owned(),
    }
}

/// What a panic, or an ending by [`end`], looks like from outside.
fn trapped(payload: Box<dyn Any + Send>) -> Exit {
    let payload = match payload.downcast::<Unwind>() {
        Ok(unwind) => return unwind.0,
        Err(payload) => payload,
    };
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    exit(Reason::Trap, 134, text.unwrap_or_default())
}
