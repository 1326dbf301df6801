//! Parked wrappers and versions as threads use them; an explorer chooses, thousands of times, who goes on.

use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::{Duration, Instant};

use shuttle::sync::{Arc, Mutex, RwLock};
use shuttle::thread;

use super::shelf::{Next, Shelf, Used, Waits};
use super::swap::{self, version_of};
use super::*;
use crate::exploring::schedules;
use crate::limits::Reuse;

/// What became of each that was forked. Nobody waits for its lock: it is held within a turn only.
#[derive(Default)]
struct Seen {
    forked: u32,
    in_hand: BTreeSet<u32>,
    dropped: BTreeSet<u32>,
    fillers: u32,
    keepers: u32,
}

type Eyes = std::sync::Arc<std::sync::Mutex<Seen>>;

/// One that waits, or is in somebody's hands.
struct Fake {
    number: u32,
    used: Option<Used>,
    eyes: Eyes,
}

impl Fake {
    fn fork(eyes: &Eyes) -> Self {
        let mut seen = eyes.lock().unwrap();
        seen.forked += 1;
        Self {
            number: seen.forked,
            used: None,
            eyes: Eyes::clone(eyes),
        }
    }
}

impl Waits for Fake {
    fn has_gone(&self) -> bool {
        false
    }

    fn used(&self) -> Option<Used> {
        self.used
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let mut seen = self.eyes.lock().unwrap();
        assert!(!seen.in_hand.contains(&self.number), "somebody has it");
        assert!(seen.dropped.insert(self.number), "once");
    }
}

#[test]
fn a_parked_wrapper_is_in_one_hand_and_one_fills_and_one_looks_whichever_thread_goes_on() {
    schedules(|| {
        let policy = Parked {
            min: 1,
            max: 3,
            after: None,
        };
        let isolation = Isolation::Function(Reuse {
            invocations: Some(2),
            age: None,
        });
        let begin = Instant::now();
        let shelf = Arc::new(Mutex::new(Shelf::<Fake>::new(policy, isolation, begin)));
        let eyes = Eyes::default();
        let comes = |after: u64| {
            let (shelf, eyes) = (Arc::clone(&shelf), Eyes::clone(&eyes));
            thread::spawn(move || {
                let now = begin + Duration::from_millis(after);
                for _ in 0..2 {
                    shelf.lock().unwrap().needed(now, 0);
                    let taken = shelf.lock().unwrap().take(now);
                    let mut one = taken.unwrap_or_else(|| Fake::fork(&eyes));
                    let fresh = eyes.lock().unwrap().in_hand.insert(one.number);
                    assert!(fresh, "in two hands");
                    thread::yield_now();
                    let served = one.used.map_or(0, |used| used.served) + 1;
                    assert!(served <= 2, "it was worn");
                    let since = begin;
                    one.used = Some(Used { served, since });
                    eyes.lock().unwrap().in_hand.remove(&one.number);
                    shelf.lock().unwrap().park(one, now);
                }
            })
        };
        let fills = || {
            let (shelf, eyes) = (Arc::clone(&shelf), Eyes::clone(&eyes));
            thread::spawn(move || {
                if !shelf.lock().unwrap().begin_to_fill(2, begin, 0) {
                    return;
                }
                eyes.lock().unwrap().fillers += 1;
                assert_eq!(eyes.lock().unwrap().fillers, 1, "one fills");
                let missing = shelf.lock().unwrap().missing(2, begin, 0);
                for _ in 0..missing {
                    let one = Fake::fork(&eyes);
                    thread::yield_now();
                    shelf.lock().unwrap().park(one, begin);
                }
                eyes.lock().unwrap().fillers -= 1;
                shelf.lock().unwrap().filled();
            })
        };
        let keeps = || {
            let (shelf, eyes) = (Arc::clone(&shelf), Eyes::clone(&eyes));
            thread::spawn(move || {
                if !shelf.lock().unwrap().begin_to_keep() {
                    return;
                }
                for looked in 1..4 {
                    eyes.lock().unwrap().keepers += 1;
                    assert_eq!(eyes.lock().unwrap().keepers, 1, "one looks after it");
                    thread::yield_now();
                    let now = begin + Duration::from_secs(60 * looked);
                    eyes.lock().unwrap().keepers -= 1;
                    let next = shelf.lock().unwrap().look(now, 0);
                    if next != Next::Look(shelf::LOOK_EVERY) {
                        return;
                    }
                }
            })
        };
        let closes = {
            let shelf = Arc::clone(&shelf);
            thread::spawn(move || {
                assert!(
                    shelf.lock().unwrap().waiting() <= 3,
                    "no more than may wait"
                );
                shelf.lock().unwrap().close();
            })
        };
        let threads = [
            comes(0),
            comes(5),
            fills(),
            fills(),
            keeps(),
            keeps(),
            closes,
        ];
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(shelf.lock().unwrap().waiting(), 0, "it is closed");
        let seen = eyes.lock().unwrap();
        assert!(seen.in_hand.is_empty());
        assert_eq!(seen.dropped.len() as u32, seen.forked, "each ends");
    });
}

#[test]
fn a_request_has_a_function_and_keeps_its_version_whichever_thread_reloads() {
    const NAME: &str = "a";
    schedules(|| {
        let functions = Arc::new(Functions::default());
        functions.add([swap::version(NAME, 0)]);
        // Whether the gateway names the function.
        let gateway = Arc::new(RwLock::new(true));
        let versions = Arc::new(Mutex::new(Vec::<Weak<Function>>::new()));
        let requests = || {
            let (functions, gateway) = (Arc::clone(&functions), Arc::clone(&gateway));
            let versions = Arc::clone(&versions);
            thread::spawn(move || {
                let mut newest = 0;
                for _ in 0..2 {
                    let named = gateway.read().unwrap();
                    let found = functions.get(NAME);
                    assert!(!*named || found.is_some(), "it names one that is not there");
                    drop(named);
                    let Some(function) = found else { continue };
                    let began_with = version_of(&function);
                    // Nobody is served by an older one than before.
                    assert!(began_with >= newest);
                    newest = began_with;
                    versions
                        .lock()
                        .unwrap()
                        .push(std::sync::Arc::downgrade(&function));
                    thread::yield_now();
                    assert_eq!(version_of(&function), began_with);
                }
            })
        };
        let reloads = {
            let (functions, gateway) = (Arc::clone(&functions), Arc::clone(&gateway));
            thread::spawn(move || {
                // A new version, none, and another one.
                for version in [Some(1), None, Some(2)] {
                    functions.add(version.map(|version| swap::version(NAME, version)));
                    thread::yield_now();
                    *gateway.write().unwrap() = version.is_some();
                    thread::yield_now();
                    let names = version.map(|_| NAME).into_iter().collect();
                    functions.keep_only(&names);
                    functions.announce();
                }
            })
        };
        let threads = [requests(), requests(), requests(), reloads];
        for thread in threads {
            thread.join().unwrap();
        }
        let current = functions.get(NAME).unwrap();
        assert_eq!(version_of(&current), 2);
        for version in versions.lock().unwrap().iter() {
            let is_current = version.as_ptr() == std::sync::Arc::as_ptr(&current);
            assert!(
                is_current || version.strong_count() == 0,
                "ended with its last request"
            );
        }
    });
}
