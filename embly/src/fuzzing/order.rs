//! The order of messages.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use protos::credit::MAX_WINDOW;
use protos::{Address, Ending, Message, Reason, frame};

use crate::allow::Allow;
use crate::router::{Budget, Effect, Router, SpawnLimits, State};

const LIMITS: SpawnLimits = SpawnLimits {
    children: Some(3),
    depth: Some(4),
    tree: Some(6),
    window: MAX_WINDOW,
};

/// Bytes that all streams together may have under way: so few that they run out.
const BUDGET: u64 = 1 << 20;

/// Addresses come from so few that they meet again.
const ADDRESSES: u8 = 10;

/// Steps of a byte and an address each: gateways begin and end requests, processes begin and end, and
/// say frames that follow, whatever they are. The table hands out what is for those whom it knows, and
/// when all have ended nothing is left in it.
pub fn order(data: &[u8]) {
    let mut router = Router::new(Budget::new(BUDGET));
    let mut stream = BytesMut::from(data);
    let mut effects = Vec::new();
    let mut gates = Vec::new();
    while stream.len() >= 3 {
        let (step, one, two) = (stream.get_u8(), stream.get_u8(), stream.get_u8());
        let (one, two) = (address(one), address(two));
        match step % 8 {
            0 | 1 => {
                let free = one != two && !router.knows(one) && !router.knows(two);
                let opened = router.open(one, two, LIMITS).is_ok();
                assert!(free || !opened, "an address that is taken");
                gates.extend(opened.then_some(one));
            }
            2 if router.state(one) == Some(State::Starting) => {
                router.set_limits(one, LIMITS);
                router.introduce(one, &Arc::from("f"), &allow());
                router.started(one);
            }
            2 => {}
            3 => router.ended(one, &Ending::exit(0), &mut effects),
            4 => {
                let ending = Ending::new(Reason::ClientGone, "gone");
                router.close_gate(one, ending, &mut effects);
                gates.retain(|gate| *gate != one);
            }
            5 => router.stop(one, Ending::new(Reason::Killed, "stopped"), &mut effects),
            _ => match frame::decode(&mut stream) {
                Ok(Some(message)) => says(&mut router, one, message, &mut effects),
                Ok(None) => break,
                Err(error) if router.knows(one) => {
                    router.violation(one, error.to_string(), &mut effects);
                }
                Err(_) => {}
            },
        }
        look(&router, &mut effects);
    }
    for gate in gates {
        let ending = Ending::new(Reason::ClientGone, "gone");
        router.close_gate(gate, ending, &mut effects);
    }
    for number in 0..=u8::MAX {
        router.ended(address(number), &Ending::exit(0), &mut effects);
    }
    for who in router.invocations() {
        router.ended(who, &Ending::exit(0), &mut effects);
    }
    assert_eq!(router.size(), Router::new(Budget::new(BUDGET)).size());
}

fn address(number: u8) -> Address {
    Address::new(u64::from(number % ADDRESSES) + 1).expect("more than 0")
}

fn allow() -> Arc<Allow> {
    let names = || ["board".to_owned()].into();
    Arc::new(Allow {
        register: names(),
        reach: names(),
        ..Allow::default()
    })
}

fn says(router: &mut Router, who: Address, message: Message, effects: &mut Vec<Effect>) {
    router.wrapper_says(who, message, effects);
}

/// Each effect is about somebody the table knows, or knew until this step.
fn look(router: &Router, effects: &mut Vec<Effect>) {
    for effect in effects.drain(..) {
        match effect {
            Effect::Start { address, level, .. } => {
                assert!(router.knows(address));
                assert!(level <= 4, "limit `depth`");
            }
            Effect::Deliver(message) => assert!(message.to.is_some()),
            Effect::Stop(..)
            | Effect::Exiting(..)
            | Effect::Log { .. }
            | Effect::Refused { .. } => {}
        }
    }
}
