use std::collections::BTreeSet;

use protos::Reason;
use protos::credit::{self, INITIAL_WINDOW};

use super::*;
use crate::router::tests::{NONE, Random, World, address, data, deliver, refusal, spawn, stopped};
use crate::router::{Size, State};

fn allow() -> Arc<Allow> {
    let names = BTreeSet::from(["board".to_owned(), "other".to_owned()]);
    Arc::new(Allow {
        spawn: None,
        register: names.clone(),
        reach: names,
        ..Allow::default()
    })
}

fn register(name: &str) -> Body {
    Body::Register {
        name: name.to_owned(),
        release: false,
    }
}

fn release(name: &str) -> Body {
    Body::Register {
        name: name.to_owned(),
        release: true,
    }
}

fn lookup(name: &str, at: u64) -> Body {
    Body::Lookup {
        name: name.to_owned(),
        address: address(at),
    }
}

fn grant(to: u64, from: Option<u64>, error: Errno) -> Effect {
    Effect::Deliver(Message {
        to: Some(address(to)),
        from: from.map(address),
        body: Body::Grant {
            name: "board".to_owned(),
            error,
        },
    })
}

/// Two invocations, 2 and 4, behind the gateways' sides 1 and 3; 2 has the name `board`.
fn world() -> World {
    let mut world = World::open(1, 2, NONE);
    world.router.open(address(3), address(4), NONE).unwrap();
    for who in [2, 4] {
        world.router.started(address(who));
        world
            .router
            .introduce(address(who), &Arc::from("f"), &allow());
    }
    assert_eq!(
        world.says(2, None, register("board")),
        [grant(2, None, Errno::SUCCESS)]
    );
    world
}

/// The errno with which a name is refused.
fn refused(effects: &[Effect]) -> Option<Errno> {
    effects.iter().find_map(|effect| match effect {
        Effect::Deliver(Message {
            body: Body::Grant { error, .. },
            ..
        }) => Some(*error),
        _ => None,
    })
}

#[test]
fn a_name_belongs_to_one_and_is_free_at_its_end() {
    let mut world = world();
    assert_eq!(
        refused(&world.says(4, None, register("board"))),
        Some(Errno::EXIST)
    );
    // Once more by its holder.
    assert_eq!(
        refused(&world.says(2, None, register("board"))),
        Some(Errno::SUCCESS)
    );
    // It is not another's to give back.
    assert_eq!(world.says(4, None, release("board")), []);
    assert_eq!(
        refused(&world.says(4, None, register("board"))),
        Some(Errno::EXIST)
    );
    for ending in [Ending::exit(0), Ending::new(Reason::Trap, "")] {
        world.ended(2, &ending);
        assert_eq!(
            refused(&world.says(4, None, register("board"))),
            Some(Errno::SUCCESS)
        );
    }
    assert_eq!(world.says(4, None, release("board")), []);
    let effects = world.says(4, None, lookup("board", 50));
    assert_eq!(refusal(&effects).unwrap().code, i32::from(Errno::NOENT.0));
}

#[test]
fn a_name_that_is_not_allowed_is_refused_with_the_line_to_add() {
    let mut world = world();
    let effects = world.says(4, None, register("secret"));
    assert_eq!(refused(&effects), Some(Errno::ACCES));
    let advice = "write `register: [board, other, secret]` under `allow` of function `f`";
    assert!(
        matches!(&effects[0], Effect::Refused { what, .. } if what.ends_with(advice)),
        "{effects:?}"
    );
    let effects = world.says(4, None, lookup("secret", 50));
    let ending = refusal(&effects).unwrap();
    assert_eq!(ending.code, i32::from(Errno::ACCES.0));
    assert!(
        ending
            .detail
            .contains("write `reach: [board, other, secret]`")
    );
    assert_eq!(
        refused(&world.says(4, None, register("No Name"))),
        Some(Errno::INVAL)
    );
}

#[test]
fn only_functions_on_the_list_are_started() {
    let mut world = World::open(1, 2, NONE);
    let only = Allow {
        spawn: Some(BTreeSet::from(["g".to_owned()])),
        ..Allow::default()
    };
    world
        .router
        .introduce(address(2), &Arc::from("f"), &Arc::new(only));
    let effects = world.says(2, None, spawn(3));
    let ending = refusal(&effects).unwrap();
    assert_eq!(ending.code, i32::from(Errno::ACCES.0));
    assert!(
        ending
            .detail
            .contains("write `spawn: [g, f]` under `allow`")
    );
    assert!(!world.router.knows(address(3)));
}

#[test]
fn who_is_looked_up_hears_of_it_with_the_first_bytes() {
    let mut world = world();
    assert_eq!(world.says(4, None, lookup("board", 50)), []);
    assert_eq!(
        world.says(4, Some(50), data(3)),
        [grant(2, Some(50), Errno::SUCCESS), deliver(50, 2, data(3))]
    );
    assert_eq!(world.says(4, Some(50), data(1)), [deliver(50, 2, data(1))]);
    assert_eq!(world.says(2, Some(50), data(2)), [deliver(50, 4, data(2))]);
}

#[test]
fn a_stream_by_name_has_credit_both_ways() {
    let mut world = world();
    world.says(4, None, lookup("board", 50));
    let all = INITIAL_WINDOW;
    world.says(4, Some(50), data(all as usize));
    let effects = world.says(2, Some(50), Body::Credit(all));
    assert!(
        matches!(&effects[..], [Effect::Deliver(Message { to, from, body: Body::Credit(more) })]
            if *to == Some(address(4)) && *from == Some(address(50)) && *more >= all),
        "{effects:?}"
    );
    world.says(2, Some(50), data(all as usize));
    let effects = world.says(2, Some(50), data(1));
    assert_eq!(stopped(&effects, 2), Some(Reason::Violation));
}

#[test]
fn nobody_else_gets_into_a_stream_by_name() {
    let mut world = world();
    world.router.open(address(5), address(6), NONE).unwrap();
    world.router.started(address(6));
    world.says(4, None, lookup("board", 50));
    for stranger in [50, 2, 4] {
        for body in [data(1), Body::HalfClose, Body::Monitor] {
            let effects = world.says(6, Some(stranger), body);
            assert!(matches!(effects[0], Effect::Refused { .. }), "{effects:?}");
            assert_eq!(effects[1], deliver(stranger, 6, Body::Error(Errno::ACCES)));
        }
    }
    // The two know each other by the stream only.
    for (who, other) in [(4, 2), (2, 4)] {
        let effects = world.says(who, Some(other), data(1));
        assert!(matches!(effects[0], Effect::Refused { .. }), "{effects:?}");
    }
    // Nobody is killed by way of it.
    let effects = world.says(4, Some(50), Body::Kill);
    assert_eq!(effects[1], deliver(50, 4, Body::Error(Errno::PERM)));
    // Its address is taken.
    assert!(refusal(&world.says(6, None, spawn(50))).is_some());
}

#[test]
fn the_ending_of_either_side_reaches_the_other() {
    let mut world = world();
    world.says(4, None, lookup("board", 50));
    world.says(4, Some(50), data(1));
    let trap = Ending::new(Reason::Trap, "no luck");
    let effects = world.ended(2, &trap);
    assert!(effects.contains(&deliver(50, 4, Body::Ending(trap.clone()))));
    let mut world = self::world();
    world.says(4, None, lookup("board", 50));
    world.says(4, Some(50), data(1));
    let effects = world.ended(4, &trap);
    assert!(effects.contains(&deliver(50, 2, Body::Ending(trap.clone()))));
    // Who was never spoken to hears nothing.
    let mut world = self::world();
    world.says(4, None, lookup("board", 50));
    let effects = world.ended(4, &trap);
    assert!(!effects.iter().any(|effect| matches!(
        effect,
        Effect::Deliver(Message { to, .. }) if *to == Some(address(2))
    )));
}

#[test]
fn a_stream_that_both_have_closed_is_over() {
    let mut world = world();
    let before = world.router.size();
    world.says(4, None, lookup("board", 50));
    world.says(4, Some(50), data(5));
    world.says(2, Some(50), Body::HalfClose);
    let effects = world.says(4, Some(50), Body::HalfClose);
    let over = || Body::Ending(Ending::exit(0));
    assert_eq!(
        effects,
        [
            deliver(50, 2, Body::HalfClose),
            deliver(50, 4, over()),
            deliver(50, 2, over()),
        ]
    );
    // What was not read is counted until it is.
    assert_eq!(world.router.size().unread, 1);
    world.says(2, Some(50), Body::Credit(credit::cost(5)));
    assert_eq!(world.router.size(), before);
    // The endings of both come no more.
    assert!(
        !world
            .ended(2, &Ending::exit(0))
            .contains(&deliver(50, 4, over()))
    );
}

#[test]
fn who_monitors_is_told_after_the_stream_was_closed() {
    let mut world = world();
    world.says(4, None, lookup("board", 50));
    assert_eq!(world.says(4, Some(50), Body::Monitor), []);
    world.says(4, Some(50), Body::HalfClose);
    let effects = world.says(2, Some(50), Body::HalfClose);
    assert_eq!(
        effects,
        [
            deliver(50, 4, Body::HalfClose),
            deliver(50, 2, Body::Ending(Ending::exit(0))),
        ]
    );
    assert_eq!(world.router.size().links, 2, "the stream itself is gone");
    let trap = Ending::new(Reason::Trap, "no luck");
    let effects = world.ended(2, &trap);
    assert!(effects.contains(&deliver(50, 4, Body::Ending(trap))));
}

#[test]
fn streams_by_name_are_limited_on_both_sides() {
    let mut world = world();
    for at in 0..MAX_CALLS as u64 {
        assert_eq!(world.says(4, None, lookup("board", 100 + at)), []);
    }
    let again = i32::from(Errno::AGAIN.0);
    let effects = world.says(4, None, lookup("board", 50));
    assert_eq!(refusal(&effects).unwrap().code, again);
    // The board is full for others as well.
    world.router.open(address(5), address(6), NONE).unwrap();
    world.router.started(address(6));
    world
        .router
        .introduce(address(6), &Arc::from("f"), &allow());
    let effects = world.says(6, None, lookup("board", 50));
    assert_eq!(refusal(&effects).unwrap().code, again);
    // One that is over makes room.
    world.says(4, Some(100), Body::HalfClose);
    world.says(2, Some(100), Body::HalfClose);
    assert_eq!(world.says(6, None, lookup("board", 50)), []);
}

#[test]
fn visitors_that_come_and_go_wait_for_a_host_that_does_not_read() {
    let mut world = world();
    let gone = Ending::exit(0);
    let again = i32::from(Errno::AGAIN.0);
    let visit = |world: &mut World, n: u64| {
        let (gate, visitor, at) = (1000 + n, 2000 + n, 3000 + n);
        let (gate, visitor) = (address(gate), address(visitor));
        world.router.open(gate, visitor, NONE).unwrap();
        world.router.started(visitor);
        world.router.introduce(visitor, &Arc::from("f"), &allow());
        let mut effects = world.says(2000 + n, None, lookup("board", at));
        effects.extend(world.says(2000 + n, Some(at), Body::HalfClose));
        effects.extend(world.ended(2000 + n, &gone));
        world
            .router
            .close_gate(gate, gone.clone(), &mut world.effects);
        effects
    };
    for n in 0..MAX_CALLS as u64 {
        assert_eq!(refusal(&visit(&mut world, n)).unwrap().code, 0, "visit {n}");
    }
    // The host has not said a word; it is told of no more.
    let effects = visit(&mut world, 100);
    assert_eq!(refusal(&effects).unwrap().code, again);
    assert!(!effects.iter().any(|effect| matches!(
        effect,
        Effect::Deliver(Message { to, .. }) if *to == Some(address(2))
    )));
    // What it writes to one that has left is EPIPE, and nothing worse.
    let effects = world.says(2, Some(3000), data(1));
    assert_eq!(effects, [deliver(3000, 2, Body::Error(Errno::PIPE))]);
    // It closes one of them, as its wrapper does when it reads of the end.
    assert_eq!(world.says(2, Some(3000), Body::HalfClose), []);
    assert_eq!(refusal(&visit(&mut world, 101)).unwrap().code, 0);
    assert_eq!(refusal(&visit(&mut world, 102)).unwrap().code, again);
    // All of them are forgotten with it.
    world.ended(2, &gone);
    assert_eq!(world.router.names.calls(), 0);
}

#[test]
fn strangers_get_no_more_than_a_kilobyte_of_text() {
    let mut world = world();
    world.says(4, None, lookup("board", 50));
    let long = Ending::new(Reason::Trap, "é".repeat(2000));
    let effects = world.ended(2, &long);
    let ending = refusal(&effects).unwrap();
    assert_eq!(ending.detail.len(), 1024);
}

#[test]
fn nobody_looks_up_a_name_of_its_own() {
    let mut world = world();
    let effects = world.says(2, None, lookup("board", 50));
    assert_eq!(refusal(&effects).unwrap().code, i32::from(Errno::INVAL.0));
}

#[test]
fn with_names_too_nothing_is_left_at_the_end() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut world = World::new();
        let limits = NONE;
        for _ in 0..400 {
            let (who, other) = (1 + random.below(16), 1 + random.below(16));
            match random.below(24) {
                0 => drop(world.router.open(address(who), address(other), limits)),
                1 => drop(world.ended(who, &Ending::exit(0))),
                2 => {
                    let gone = Ending::new(Reason::ClientGone, "");
                    world
                        .router
                        .close_gate(address(who), gone, &mut world.effects);
                }
                3..8 => {
                    world.router.set_limits(address(who), limits);
                    world
                        .router
                        .introduce(address(who), &Arc::from("f"), &allow());
                    world.router.started(address(who));
                }
                n => {
                    let body = match n {
                        8..10 => register(["board", "other"][random.below(2) as usize]),
                        10..14 => lookup(["board", "other"][random.below(2) as usize], other),
                        14 => release("board"),
                        15..17 => Body::Monitor,
                        17 => spawn(other),
                        18..20 => Body::Credit(random.below(3000) as u32 + 1),
                        20..22 => Body::HalfClose,
                        _ => data(random.below(3000) as usize + 1),
                    };
                    world.says(who, Some(other), body);
                }
            }
            for effect in world.take() {
                if let Effect::Deliver(message) = effect {
                    let to = message.to.unwrap();
                    assert!(
                        world.router.state(to).is_none_or(State::listens)
                            && !world.router.names.knows(to),
                        "seed {seed}: delivered to one that cannot read"
                    );
                }
            }
        }
        for who in 1..=16 {
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
        assert!(world.router.names.holders.is_empty(), "seed {seed}");
    }
}

#[test]
fn an_address_that_means_something_to_either_side_is_not_taken_for_a_call() {
    let mut world = world();
    let parent_of_holder = 1;
    for address in [2, 4, parent_of_holder] {
        let effects = world.says(4, None, lookup("board", address));
        let refused = refusal(&effects).map(|ending| ending.code);
        assert_eq!(refused, Some(i32::from(Errno::EXIST.0)), "{address}");
    }
    // What the holder has not read of an old call is still that one's.
    world.says(4, None, lookup("board", 50));
    world.says(4, Some(50), data(5));
    for who in [4, 2] {
        world.says(who, Some(50), Body::HalfClose);
    }
    let effects = world.says(4, None, lookup("board", 50));
    assert_eq!(refusal(&effects).unwrap().code, i32::from(Errno::EXIST.0));
}

#[test]
fn a_name_that_is_longer_than_any_can_be_is_a_violation() {
    for body in [
        lookup(&"a".repeat(1000), 50),
        Body::Register {
            name: "a".repeat(1000),
            release: false,
        },
    ] {
        let mut world = world();
        assert_eq!(
            stopped(&world.says(4, None, body), 4),
            Some(Reason::Violation)
        );
    }
}
