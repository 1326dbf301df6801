use bytes::Bytes;
use protos::Errno;
use protos::credit::{INITIAL_WINDOW, MAX_WINDOW, MIN_COST};

use super::*;

pub(super) const NONE: SpawnLimits = SpawnLimits {
    children: None,
    depth: None,
    tree: None,
    window: MAX_WINDOW,
};

pub(super) fn address(number: u64) -> Address {
    Address::new(number).unwrap()
}

/// A router and what it said since it was last asked.
pub(super) struct World {
    pub router: Router,
    pub effects: Vec<Effect>,
}

impl World {
    pub fn new() -> Self {
        Self {
            router: Router::new(Budget::new(u64::MAX)),
            effects: Vec::new(),
        }
    }

    /// A gateway's side `gate` and an invocation `child` that runs.
    pub fn open(gate: u64, child: u64, limits: SpawnLimits) -> Self {
        let mut world = Self::new();
        world
            .router
            .open(address(gate), address(child), limits)
            .unwrap();
        world.router.started(address(child));
        world
    }

    /// The wrapper of `from` says something; what comes of it.
    pub fn says(&mut self, from: u64, to: Option<u64>, body: Body) -> Vec<Effect> {
        let message = Message {
            to: to.map(address),
            from: Some(address(from)),
            body,
        };
        self.router
            .wrapper_says(address(from), message, &mut self.effects);
        self.take()
    }

    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// `parent` starts `child`, which runs at once.
    pub fn spawns(&mut self, parent: u64, child: u64) -> Vec<Effect> {
        let effects = self.says(parent, None, spawn(child));
        self.router.set_limits(address(child), NONE);
        self.router.started(address(child));
        effects
    }

    pub fn ended(&mut self, who: u64, ending: &Ending) -> Vec<Effect> {
        self.router.ended(address(who), ending, &mut self.effects);
        self.take()
    }
}

pub(super) fn spawn(child: u64) -> Body {
    Body::Spawn {
        name: "f".to_owned(),
        address: address(child),
        options: None,
    }
}

pub(super) fn data(bytes: usize) -> Body {
    Body::Data(vec![7; bytes].into())
}

pub(super) fn deliver(from: u64, to: u64, body: Body) -> Effect {
    Effect::Deliver(Message {
        to: Some(address(to)),
        from: Some(address(from)),
        body,
    })
}

/// The ending that a refused spawn is answered with.
pub(super) fn refusal(effects: &[Effect]) -> Option<&Ending> {
    effects.iter().find_map(|effect| match effect {
        Effect::Deliver(Message {
            body: Body::Ending(ending),
            ..
        }) => Some(ending),
        _ => None,
    })
}

/// The reason for which somebody is stopped.
pub(super) fn stopped(effects: &[Effect], who: u64) -> Option<Reason> {
    effects.iter().find_map(|effect| match effect {
        Effect::Stop(stopped, ending) if *stopped == address(who) => Some(ending.reason),
        _ => None,
    })
}

#[test]
fn data_goes_between_parent_and_child_both_ways() {
    let mut world = World::open(1, 2, NONE);
    assert_eq!(world.says(2, Some(1), data(3)), [deliver(2, 1, data(3))]);
    let mut effects = Vec::new();
    let bytes = Bytes::from_static(b"in");
    world
        .router
        .data(address(1), Some(address(2)), bytes.clone(), &mut effects);
    assert_eq!(effects, [deliver(1, 2, Body::Data(bytes))]);
    world.spawns(2, 3);
    assert_eq!(world.says(3, Some(2), data(1)), [deliver(3, 2, data(1))]);
    assert_eq!(world.says(2, Some(3), data(1)), [deliver(2, 3, data(1))]);
}

#[test]
fn a_stranger_is_refused_and_logged() {
    let mut world = World::open(1, 2, NONE);
    world.spawns(2, 3);
    // A grandchild to the gateway's side.
    let effects = world.says(3, Some(1), data(1));
    assert!(matches!(&effects[0], Effect::Refused { from, .. } if *from == address(3)));
    assert_eq!(effects[1], deliver(1, 3, Body::Error(Errno::ACCES)));
    assert_eq!(world.router.state(address(3)), Some(State::Running));
}

#[test]
fn who_speaks_for_another_is_ended() {
    for from in [Some(address(1)), Some(address(9)), None] {
        let mut world = World::open(1, 2, NONE);
        let message = Message {
            to: Some(address(1)),
            from,
            body: data(1),
        };
        world
            .router
            .wrapper_says(address(2), message, &mut world.effects);
        assert_eq!(stopped(&world.take(), 2), Some(Reason::Violation));
        // Once is enough.
        assert_eq!(world.says(2, Some(1), data(1)), []);
    }
}

#[test]
fn what_only_the_master_says_is_a_violation() {
    for body in [
        Body::Error(Errno::PIPE),
        Body::Ending(Ending::exit(0)),
        Body::Warning(protos::Warning::default()),
        Body::Startup {
            address: address(5),
            parent: address(6),
            startup: Box::default(),
        },
    ] {
        let mut world = World::open(1, 2, NONE);
        let effects = world.says(2, Some(1), body);
        assert_eq!(stopped(&effects, 2), Some(Reason::Violation));
    }
}

#[test]
fn who_speaks_before_its_startup_is_ended() {
    let mut world = World::new();
    world.router.open(address(1), address(2), NONE).unwrap();
    let effects = world.says(2, Some(1), data(1));
    assert_eq!(stopped(&effects, 2), Some(Reason::Violation));
}

#[test]
fn more_than_the_credit_is_a_violation() {
    let mut world = World::open(1, 2, NONE);
    let all = INITIAL_WINDOW as usize;
    assert_eq!(world.says(2, Some(1), data(all)).len(), 1);
    let effects = world.says(2, Some(1), data(1));
    assert_eq!(effects.len(), 1, "nothing of it is delivered");
    assert_eq!(stopped(&effects, 2), Some(Reason::Violation));
}

#[test]
fn who_claims_to_have_read_more_than_was_sent_is_ended() {
    let mut world = World::open(1, 2, NONE);
    let effects = world.says(2, Some(1), Body::Credit(1));
    assert_eq!(stopped(&effects, 2), Some(Reason::Violation));
}

#[test]
fn data_after_a_half_close_is_a_violation() {
    let mut world = World::open(1, 2, NONE);
    let end = || Body::HalfClose;
    assert_eq!(world.says(2, Some(1), end()), [deliver(2, 1, end())]);
    assert_eq!(
        world.says(2, Some(1), end()),
        [],
        "a second time it means nothing"
    );
    let effects = world.says(2, Some(1), data(1));
    assert_eq!(stopped(&effects, 2), Some(Reason::Violation));
}

#[test]
fn credit_comes_back_as_the_reader_takes_and_the_window_grows() {
    let mut world = World::open(1, 2, NONE);
    let mut credit = INITIAL_WINDOW;
    for _ in 0..10 {
        world.says(2, Some(1), data(credit as usize));
        world
            .router
            .taken(address(1), Some(address(2)), credit, &mut world.effects);
        let effects = world.take();
        let [
            Effect::Deliver(Message {
                body: Body::Credit(more),
                ..
            }),
        ] = effects[..]
        else {
            panic!("{effects:?}");
        };
        assert!(more >= credit);
        credit = more;
    }
    assert_eq!(credit, MAX_WINDOW);
    assert_eq!(
        world.router.size().bytes,
        u64::from(MAX_WINDOW + INITIAL_WINDOW)
    );
}

#[test]
fn without_budget_nothing_is_opened() {
    let one_stream = u64::from(2 * INITIAL_WINDOW);
    let mut router = Router::new(Budget::new(one_stream));
    router.open(address(1), address(2), NONE).unwrap();
    router.started(address(2));
    let refused = router.open(address(3), address(4), NONE).unwrap_err();
    assert_eq!(refused.reason, Reason::Overloaded);
    assert!(!router.knows(address(3)) && !router.knows(address(4)));
    let mut world = World {
        router,
        effects: Vec::new(),
    };
    let effects = world.says(2, None, spawn(5));
    assert_eq!(
        refusal(&effects),
        Some(&Ending::refused(
            Errno::AGAIN,
            "too many bytes are under way"
        ))
    );
    world.ended(2, &Ending::exit(0));
    assert_eq!(world.router.size().bytes, 0);
}

#[test]
fn a_taken_address_is_refused() {
    let mut world = World::open(1, 2, NONE);
    world.spawns(2, 3);
    for taken in [1, 2, 3] {
        let effects = world.says(2, None, spawn(taken));
        assert_eq!(
            refusal(&effects).unwrap().code,
            i32::from(Errno::EXIST.0),
            "{taken}"
        );
    }
    assert!(world.router.open(address(3), address(9), NONE).is_err());
    assert!(world.router.open(address(9), address(3), NONE).is_err());
    assert!(world.router.open(address(9), address(9), NONE).is_err());
    assert_eq!(world.router.size().addresses, 3);
}

#[test]
fn limits_on_spawning_are_refusals() {
    let limits = SpawnLimits {
        children: Some(2),
        depth: Some(2),
        ..NONE
    };
    let mut world = World::open(1, 2, limits);
    for child in [3, 4] {
        assert!(matches!(
            world.spawns(2, child)[..],
            [Effect::Start { level: 2, .. }]
        ));
    }
    let effects = world.says(2, None, spawn(5));
    assert_eq!(refusal(&effects).unwrap().code, i32::from(Errno::AGAIN.0));
    assert!(matches!(effects[0], Effect::Refused { .. }));
    // One that has ended makes room.
    world.ended(3, &Ending::exit(0));
    assert!(matches!(world.spawns(2, 5)[..], [Effect::Start { .. }]));

    world.router.set_limits(address(5), limits);
    let effects = world.says(5, None, spawn(6));
    assert_eq!(refusal(&effects).unwrap().code, i32::from(Errno::PERM.0));
}

#[test]
fn a_spawn_that_is_longer_than_any_can_be_is_a_violation() {
    let long = |name: usize, arg: usize| Body::Spawn {
        name: "f".repeat(name),
        address: address(3),
        options: Some(Box::new(SpawnOptions {
            args: vec!["x".repeat(arg)],
            ..SpawnOptions::default()
        })),
    };
    for body in [long(129, 0), long(1, 40_000)] {
        let mut world = World::open(1, 2, NONE);
        let effects = world.says(2, None, body);
        assert_eq!(stopped(&effects, 2), Some(Reason::Violation));
    }
    let mut world = World::open(1, 2, NONE);
    let effects = world.says(2, None, long(128, 30_000));
    assert!(matches!(effects[..], [Effect::Start { .. }]));
}

#[test]
fn a_child_has_no_rights_before_its_function_is_known() {
    let mut world = World::open(1, 2, NONE);
    world.says(2, None, spawn(3));
    world.router.started(address(3));
    let effects = world.says(3, None, spawn(4));
    assert!(refusal(&effects).is_some());
}

#[test]
fn frames_for_an_address_that_has_ended_are_answered_or_dropped() {
    let mut world = World::open(1, 2, NONE);
    world.spawns(2, 3);
    let ending = Ending::exit(0);
    assert_eq!(
        world.ended(3, &ending),
        [deliver(3, 2, Body::Ending(ending.clone()))]
    );
    let epipe = [deliver(3, 2, Body::Error(Errno::PIPE))];
    assert_eq!(world.says(2, Some(3), data(1)), epipe);
    assert_eq!(world.says(2, Some(3), Body::HalfClose), epipe);
    assert_eq!(world.says(2, Some(3), Body::Credit(5)), []);
    assert_eq!(world.says(2, Some(3), Body::Kill), []);
    // Its own last words, and a second ending, mean nothing.
    assert_eq!(world.says(3, Some(2), data(1)), []);
    assert_eq!(world.ended(3, &ending), []);
    assert_eq!(world.router.state(address(2)), Some(State::Running));
}

#[test]
fn only_a_parent_kills_and_the_first_reason_wins() {
    let mut world = World::open(1, 2, NONE);
    world.spawns(2, 3);
    world.spawns(3, 4);
    for stranger in [1, 2, 4] {
        let effects = world.says(2, Some(stranger), Body::Kill);
        assert_eq!(stopped(&effects, stranger), None);
        assert_eq!(effects[1], deliver(stranger, 2, Body::Error(Errno::PERM)));
    }
    let effects = world.says(2, Some(3), Body::Kill);
    assert_eq!(stopped(&effects, 3), Some(Reason::Killed));
    assert_eq!(world.says(2, Some(3), Body::Kill), []);
    let mut effects = Vec::new();
    world
        .router
        .stop(address(3), Ending::new(Reason::Wall, ""), &mut effects);
    assert_eq!(effects, []);
    // What it says while it is ended is dropped, and so is what others say to it.
    assert_eq!(world.says(3, Some(2), data(1)), []);
    assert_eq!(world.says(2, Some(3), data(1)), []);
}

#[test]
fn one_that_said_it_exits_is_not_stopped_and_says_no_more() {
    let mut world = World::open(1, 2, NONE);
    let ending = Ending::exit(3);
    let effects = world.says(2, None, Body::Exit(ending.clone()));
    assert_eq!(effects, [Effect::Exiting(address(2), ending)]);
    assert_eq!(world.router.state(address(2)), Some(State::Exiting));
    assert_eq!(world.says(2, Some(1), data(1)), []);
    world.router.stop(
        address(2),
        Ending::new(Reason::Wall, ""),
        &mut world.effects,
    );
    assert_eq!(world.take(), []);
}

#[test]
fn children_are_ended_with_their_parent_on_all_levels() {
    let mut world = World::open(1, 2, NONE);
    world.spawns(2, 3);
    world.spawns(3, 4);
    let effects = world.ended(2, &Ending::exit(0));
    assert_eq!(stopped(&effects, 3), Some(Reason::ParentEnded));
    assert_eq!(stopped(&effects, 4), Some(Reason::ParentEnded));
    let ending = Ending::new(Reason::ParentEnded, "");
    assert_eq!(stopped(&world.ended(3, &ending), 4), None, "once is enough");
    world.ended(4, &ending);
    world
        .router
        .close_gate(address(1), ending, &mut world.effects);
    assert_eq!(world.router.size(), Size::default());
}

#[test]
fn a_gateway_that_closes_ends_its_invocation() {
    let mut world = World::open(1, 2, NONE);
    let gone = Ending::new(Reason::ClientGone, "");
    world
        .router
        .close_gate(address(1), gone.clone(), &mut world.effects);
    assert_eq!(stopped(&world.take(), 2), Some(Reason::ClientGone));
    assert_eq!(world.ended(2, &gone), []);
    assert_eq!(world.router.size(), Size::default());
}

#[test]
fn what_ended_children_leave_unread_is_counted_until_it_is_read() {
    let mut world = World::open(1, 2, NONE);
    world.spawns(2, 3);
    world.says(3, Some(2), data(100));
    world.ended(3, &Ending::exit(0));
    assert_eq!(world.router.size().unread, 1);
    // Its address is not free before that.
    assert!(refusal(&world.says(2, None, spawn(3))).is_some());
    assert_eq!(world.says(2, Some(3), Body::Credit(60)), []);
    assert_eq!(world.router.size().unread, 1);
    assert_eq!(world.says(2, Some(3), Body::Credit(40)), []);
    assert_eq!(world.router.size().unread, 0);
    assert!(matches!(world.spawns(2, 3)[..], [Effect::Start { .. }]));
}

#[test]
fn too_much_unread_refuses_more_children_until_it_is_read() {
    let mut world = World::open(1, 2, NONE);
    for child in 0..MAX_UNREAD_ENDED as u64 {
        world.spawns(2, 10 + child);
        world.says(10 + child, Some(2), data(MIN_COST as usize));
        world.ended(10 + child, &Ending::exit(0));
    }
    let effects = world.says(2, None, spawn(5));
    assert_eq!(refusal(&effects).unwrap().code, i32::from(Errno::AGAIN.0));
    world.says(2, Some(10), Body::Credit(MIN_COST));
    assert!(matches!(world.spawns(2, 5)[..], [Effect::Start { .. }]));
    // All of it is forgotten with the parent.
    world.ended(2, &Ending::exit(0));
    assert_eq!(world.router.size().unread, 0);
}

#[test]
fn unread_bytes_are_bounded_as_well() {
    let mut world = World::open(1, 2, NONE);
    let mut child = 10;
    loop {
        let effects = world.spawns(2, child);
        if refusal(&effects).is_some() {
            break;
        }
        world.says(child, Some(2), data(INITIAL_WINDOW as usize));
        world.ended(child, &Ending::exit(0));
        child += 1;
    }
    assert_eq!(
        u64::from(INITIAL_WINDOW) * (child - 10),
        MAX_UNREAD_ENDED_BYTES
    );
}

/// Numbers that look random and are the same each time (splitmix64).
pub(super) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// Anything that a wrapper could say.
    fn body(&mut self) -> Body {
        match self.below(14) {
            0..4 => data(self.below(9000) as usize),
            4 => Body::HalfClose,
            5..8 => Body::Credit(self.below(9000) as u32),
            8..11 => spawn(1 + self.below(24)),
            11 => Body::Kill,
            12 => Body::Exit(Ending::exit(self.below(3) as i32)),
            _ => Body::Log {
                stream: 1,
                severity: None,
                line: String::new(),
            },
        }
    }
}

#[test]
fn whatever_is_said_in_whatever_order_nothing_is_left_at_the_end() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut world = World::new();
        for _ in 0..400 {
            let (who, other) = (1 + random.below(24), 1 + random.below(24));
            match random.below(20) {
                // A refusal is an answer too.
                0 => drop(world.router.open(address(who), address(other), NONE)),
                1 => drop(world.ended(who, &Ending::exit(0))),
                2 => {
                    let gone = Ending::new(Reason::ClientGone, "");
                    world
                        .router
                        .close_gate(address(who), gone, &mut world.effects);
                }
                3..6 => {
                    world.router.set_limits(address(who), NONE);
                    world.router.started(address(who));
                }
                _ => {
                    let body = random.body();
                    world.says(who, Some(other), body);
                }
            }
            for effect in world.take() {
                if let Effect::Deliver(message) = effect {
                    let to = message.to.unwrap();
                    assert!(world.router.knows(to), "seed {seed}: delivered to nobody");
                    assert!(
                        world.router.state(to).is_none_or(State::listens),
                        "seed {seed}: delivered to one that cannot read"
                    );
                }
            }
        }
        for who in 1..=24 {
            let gone = Ending::new(Reason::ClientGone, "");
            world
                .router
                .close_gate(address(who), gone, &mut world.effects);
        }
        while let Some(who) = world.router.invocations().first() {
            world
                .router
                .ended(*who, &Ending::exit(0), &mut world.effects);
        }
        assert_eq!(world.router.size(), Size::default(), "seed {seed}");
        assert_eq!(world.router.trees.len(), 0, "seed {seed}");
    }
}

#[test]
fn who_is_stopped_takes_its_descendants_along_at_once_but_not_those_it_detached() {
    let mut world = World::open(1, 2, NONE);
    world.spawns(2, 3);
    world.spawns(3, 4);
    let detached = SpawnOptions {
        detached: true,
        ..SpawnOptions::default()
    };
    let spawn = Body::Spawn {
        name: "f".to_owned(),
        address: address(5),
        options: Some(Box::new(detached)),
    };
    world.says(2, None, spawn);
    world.router.stop(
        address(2),
        Ending::new(Reason::Wall, "time"),
        &mut world.effects,
    );
    let effects = world.take();
    assert_eq!(stopped(&effects, 2), Some(Reason::Wall));
    assert_eq!(stopped(&effects, 3), Some(Reason::ParentEnded));
    assert_eq!(stopped(&effects, 4), Some(Reason::ParentEnded));
    assert_eq!(stopped(&effects, 5), None);
}

#[test]
fn the_limit_tree_counts_all_levels_and_detached_children_and_an_end_makes_room() {
    let limits = SpawnLimits {
        tree: Some(3),
        ..NONE
    };
    let mut world = World::open(1, 2, limits);
    let full = |effects: &[Effect]| {
        refusal(effects).is_some_and(|ending| {
            ending.code == i32::from(Errno::PERM.0) && ending.detail.contains("`tree`")
        })
    };
    world.spawns(2, 3);
    world.spawns(3, 4);
    let detached = Body::Spawn {
        name: "f".to_owned(),
        address: address(5),
        options: Some(Box::new(SpawnOptions {
            detached: true,
            ..SpawnOptions::default()
        })),
    };
    world.says(4, None, detached);
    world.router.set_limits(address(5), NONE);
    world.router.started(address(5));
    for parent in 2..=5 {
        assert!(full(&world.says(parent, None, spawn(9))), "{parent}");
    }
    // The root and its other children go; who is detached is still in the tree.
    for who in [4, 3, 2] {
        world.ended(who, &Ending::exit(0));
    }
    world.spawns(5, 6);
    world.spawns(6, 7);
    assert!(full(&world.says(7, None, spawn(8))));
    world.ended(7, &Ending::exit(0));
    assert!(matches!(world.spawns(6, 8)[..], [Effect::Start { .. }]));
    for who in [8, 6, 5] {
        world.ended(who, &Ending::exit(0));
    }
    assert_eq!(world.router.trees.len(), 0);
}

#[test]
fn who_takes_the_address_of_an_ended_parent_makes_no_circle() {
    let mut world = World::open(1, 2, NONE);
    let spawn = |address: Address, detached| Body::Spawn {
        name: "f".to_owned(),
        address,
        options: Some(Box::new(SpawnOptions {
            detached,
            ..SpawnOptions::default()
        })),
    };
    world.says(2, None, spawn(address(3), true));
    world.router.set_limits(address(3), NONE);
    world.router.started(address(3));
    world.ended(2, &Ending::exit(0));
    // Its own parent's address is refused; a child that was told of it gets it.
    let effects = world.says(3, None, spawn(address(2), false));
    assert_eq!(refusal(&effects).unwrap().code, i32::from(Errno::EXIST.0));
    assert!(world.router.runs_beside(&BTreeSet::new()));
    assert!(!world.router.runs_beside(&BTreeSet::from([address(3)])));
}

#[test]
fn a_whole_window_goes_to_a_service_at_once_and_no_level_is_needed_for_it() {
    let limits = SpawnLimits {
        depth: Some(1),
        window: 100_000,
        ..NONE
    };
    let mut world = World::open(1, 2, limits);
    let effects = world.says(2, None, spawn(3));
    assert_eq!(refusal(&effects).unwrap().code, i32::from(Errno::PERM.0));
    let call = Body::Spawn {
        name: "embly/any".to_owned(),
        address: address(4),
        options: None,
    };
    let effects = world.says(2, None, call);
    assert!(matches!(effects[..], [Effect::Start { .. }]), "{effects:?}");
    world.router.started(address(4));
    let effects = world.says(2, Some(4), data(100_000));
    assert_eq!(effects, [deliver(2, 4, data(100_000))]);
    assert_eq!(
        stopped(&world.says(2, Some(4), data(1)), 2),
        Some(Reason::Violation)
    );
    // What it answers begins as everywhere else.
    assert_eq!(world.router.credit(address(4), address(2)), INITIAL_WINDOW);
    world.ended(4, &Ending::exit(0));
    world.ended(2, &Ending::exit(0));
    let mut effects = Vec::new();
    let gone = Ending::new(Reason::ClientGone, "");
    world.router.close_gate(address(1), gone, &mut effects);
    assert_eq!(world.router.size(), Size::default());
}
