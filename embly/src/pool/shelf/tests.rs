//! The shelf against a simple model: anybody comes, forks, gives back, looks and ends in any order, while
//! time passes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::exploring::cases;
use crate::limits::Reuse;

const MOST: u32 = 6;

/// One that waits. It says when it is dropped.
struct Fake {
    number: u32,
    used: Option<Used>,
    ends: Rc<RefCell<Ends>>,
}

#[derive(Default)]
struct Ends {
    /// Those that have ended by themselves.
    gone: BTreeSet<u32>,
    /// Those that nobody has any more.
    dropped: Vec<u32>,
}

impl Waits for Fake {
    fn has_gone(&self) -> bool {
        self.ends.borrow().gone.contains(&self.number)
    }

    fn used(&self) -> Option<Used> {
        self.used
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ends.borrow_mut().dropped.push(self.number);
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Somebody comes, takes one or gets a new one, and has it.
    Comes,
    /// A forked one arrives, as far as some are missing.
    Fork {
        room: usize,
    },
    /// Enough were forked.
    Filled,
    /// One of those in use has served.
    Returns {
        at: usize,
    },
    /// One of those in use has ended.
    Ends {
        at: usize,
    },
    /// One that waits ends by itself.
    Dies {
        at: usize,
    },
    Sweep,
    Look,
    Clear,
    Close,
    Passes {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..16_usize;
    prop_oneof![
        12 => Just(Step::Comes),
        12 => (0..8_usize).prop_map(|room| Step::Fork { room }),
        4 => Just(Step::Filled),
        8 => at().prop_map(|at| Step::Returns { at }),
        4 => at().prop_map(|at| Step::Ends { at }),
        3 => at().prop_map(|at| Step::Dies { at }),
        2 => Just(Step::Sweep),
        4 => Just(Step::Look),
        1 => Just(Step::Clear),
        1 => Just(Step::Close),
        6 => prop_oneof![0..50_u64, 500..5000_u64, 20_000..200_000_u64]
            .prop_map(|millis| Step::Passes { millis }),
    ]
}

fn policy() -> impl Strategy<Value = Parked> {
    let after = prop_oneof![Just(None), Just(Some(Duration::from_secs(60)))];
    (0..=MOST, 0..=MOST, after).prop_map(|(one, other, after)| Parked {
        min: one.min(other),
        max: one.max(other),
        after,
    })
}

fn isolation() -> impl Strategy<Value = Isolation> {
    let age = prop_oneof![Just(None), Just(Some(Duration::from_secs(30)))];
    let reuse = (prop::option::of(1..4_u32), age);
    prop_oneof![
        Just(Isolation::Invocation),
        reuse.prop_map(|(invocations, age)| Isolation::Function(Reuse { invocations, age })),
    ]
}

struct Test {
    shelf: Shelf<Fake>,
    policy: Parked,
    isolation: Isolation,
    now: Instant,
    ends: Rc<RefCell<Ends>>,
    created: u32,
    /// Those that should wait, the oldest first.
    waiting: Vec<(u32, Option<Used>)>,
    in_use: Vec<Fake>,
    filling: bool,
    closed: bool,
}

impl Test {
    fn new(policy: Parked, isolation: Isolation) -> Self {
        let now = Instant::now();
        Self {
            shelf: Shelf::new(policy, isolation, now),
            policy,
            isolation,
            now,
            ends: Rc::default(),
            created: 0,
            waiting: Vec::new(),
            in_use: Vec::new(),
            filling: false,
            closed: false,
        }
    }

    fn fork(&mut self) -> Fake {
        self.created += 1;
        Fake {
            number: self.created,
            used: None,
            ends: Rc::clone(&self.ends),
        }
    }

    fn may_wait(&self, used: Option<Used>) -> bool {
        match (used, self.isolation) {
            (None, _) => true,
            (Some(_), Isolation::Invocation) => false,
            (Some(used), Isolation::Function(Reuse { invocations, age })) => {
                invocations.is_none_or(|most| used.served < most)
                    && age.is_none_or(|most| self.now - used.since < most)
            }
        }
    }

    fn park(&mut self, one: Fake) {
        let (number, used) = (one.number, one.used);
        let room = self.waiting.len() < self.policy.max as usize;
        if room && !self.closed && self.may_wait(used) {
            self.waiting.push((number, used));
        }
        self.shelf.park(one, self.now);
    }

    fn take(&mut self, step: Step) {
        let (now, in_use) = (self.now, self.in_use.len());
        match step {
            Step::Comes => self.comes(),
            Step::Fork { room } => {
                if !self.filling {
                    self.filling = self.shelf.begin_to_fill(room, now, in_use);
                } else {
                    assert!(
                        !self.shelf.begin_to_fill(room, now, in_use),
                        "one at a time"
                    );
                }
                let missing = self.shelf.missing(room, now, in_use);
                assert!(missing <= room && (missing == 0 || !self.closed));
                assert!(self.waiting.len() + missing <= self.policy.max as usize);
                for _ in 0..missing {
                    let one = self.fork();
                    self.park(one);
                }
            }
            Step::Filled => {
                self.shelf.filled();
                self.filling = false;
            }
            Step::Returns { at } if in_use > 0 => {
                let mut one = self.in_use.remove(at % in_use);
                let used = one.used.get_or_insert(Used {
                    served: 0,
                    since: now,
                });
                used.served += 1;
                self.park(one);
            }
            Step::Ends { at } if in_use > 0 => drop(self.in_use.remove(at % in_use)),
            Step::Returns { .. } | Step::Ends { .. } => {}
            Step::Dies { at } => {
                if let Some((number, _)) = self.waiting.get(at % self.waiting.len().max(1)) {
                    self.ends.borrow_mut().gone.insert(*number);
                }
            }
            Step::Sweep => {
                self.shelf.sweep();
                let ends = self.ends.borrow();
                self.waiting
                    .retain(|(number, _)| !ends.gone.contains(number));
            }
            Step::Look => self.look(),
            Step::Clear => {
                self.shelf.clear();
                self.waiting.clear();
            }
            Step::Close => {
                self.shelf.close();
                self.waiting.clear();
                self.closed = true;
            }
            Step::Passes { millis } => self.now += Duration::from_millis(millis),
        }
        self.compare();
    }

    /// The one that was used last, or the oldest of those that nobody has used; never one that is worn.
    fn comes(&mut self) {
        self.shelf.needed(self.now, self.in_use.len());
        let mut expected = None;
        while expected.is_none() && !self.waiting.is_empty() {
            let newest = self.waiting.len() - 1;
            let at = match self.waiting[newest].1 {
                Some(_) => newest,
                None => 0,
            };
            let (number, used) = self.waiting.remove(at);
            expected = self.may_wait(used).then_some(number);
        }
        let taken = self.shelf.take(self.now);
        assert_eq!(taken.as_ref().map(|one| one.number), expected);
        let one = taken.unwrap_or_else(|| self.fork());
        let twice = self.in_use.iter().any(|other| other.number == one.number);
        assert!(!twice, "handed out twice");
        self.in_use.push(one);
    }

    fn look(&mut self) {
        let next = self.shelf.look(self.now, self.in_use.len());
        if self.closed {
            return assert_eq!(next, Next::Nothing);
        }
        let usable = self.waiting.iter().copied();
        let gone = self.ends.borrow().gone.clone();
        let usable: Vec<_> = usable
            .filter(|(number, used)| !gone.contains(number) && self.may_wait(*used))
            .collect();
        let left = self.shelf.waiting();
        assert!(left <= usable.len(), "nobody comes by being looked at");
        // The oldest go.
        self.waiting = usable[usable.len() - left..].to_vec();
        match next {
            Next::PutAway => assert!(left == 0 && self.policy.after.is_some()),
            Next::Look(_) | Next::Nothing => {
                let least = usable.len().min(self.policy.min as usize);
                assert!(left >= least, "{left} of {least}");
            }
        }
        if next == Next::Nothing {
            let least = self.policy.min as usize;
            assert!(left <= least && self.in_use.is_empty() && !self.filling);
        }
    }

    /// Those wait that should, and whoever is nowhere was dropped, once.
    fn compare(&self) {
        let numbers: Vec<u32> = self.shelf.waiting.iter().map(|one| one.number).collect();
        let expected: Vec<u32> = self.waiting.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, expected);
        assert!(numbers.len() <= self.policy.max as usize, "`max`");
        let mut all = numbers;
        all.extend(self.in_use.iter().map(|one| one.number));
        all.extend(&self.ends.borrow().dropped);
        all.sort_unstable();
        assert!(
            all.into_iter().eq(1..=self.created),
            "each is somewhere, once"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_parked_wrapper_is_handed_out_once_the_oldest_first_and_no_more_wait_than_may(
        policy in policy(),
        isolation in isolation(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut test = Test::new(policy, isolation);
        for step in steps {
            test.take(step);
        }
        test.take(Step::Close);
        prop_assert_eq!(test.shelf.waiting(), 0);
    }
}
