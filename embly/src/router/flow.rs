//! Credit from end to end: two invocations with the streams that wrappers have, the table between
//! them, and messages on the way that are delivered in any order that sockets allow.
//!
//! The model knows what each has written and read. Nobody who keeps to its credit is ever ended for it,
//! no more than a window is under way, and what was read is granted again: exactly once.

use std::collections::VecDeque;

use embly_wrapper::streams::{PARENT, Streams};
use proptest::prelude::*;
use protos::Errno;
use protos::credit::{INITIAL_WINDOW, MAX_WINDOW, MIN_WINDOW, REPORT_AT, cost, room};

use super::*;
use crate::exploring::cases;

#[derive(Debug, Clone, Copy)]
enum Step {
    Writes {
        who: usize,
        bytes: usize,
    },
    Reads {
        who: usize,
        bytes: usize,
    },
    /// The oldest message on this way arrives.
    Arrives {
        who: usize,
        at_master: bool,
    },
    Closes {
        who: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop_oneof![4 => 1..100_usize, 4 => 1..5000_usize, 2 => 1..300_000_usize];
    let who = || 0..2_usize;
    prop_oneof![
        10 => (who(), bytes()).prop_map(|(who, bytes)| Step::Writes { who, bytes }),
        10 => (who(), bytes()).prop_map(|(who, bytes)| Step::Reads { who, bytes }),
        30 => (who(), any::<bool>())
            .prop_map(|(who, at_master)| Step::Arrives { who, at_master }),
        1 => who().prop_map(|who| Step::Closes { who }),
    ]
}

fn window() -> impl Strategy<Value = u32> {
    prop_oneof![
        Just(MIN_WINDOW),
        Just(INITIAL_WINDOW),
        Just(MAX_WINDOW),
        MIN_WINDOW..=MAX_WINDOW
    ]
}

/// One of the two.
struct End {
    address: Address,
    streams: Streams,
    /// The id of the other one.
    id: u32,
    to_master: VecDeque<Message>,
    from_master: VecDeque<Message>,
    /// What it has written, and what the other one has read of that, in bytes.
    written: usize,
    read: usize,
    closed: bool,
}

struct Test {
    router: Router,
    ends: [End; 2],
    /// Their limits `window`.
    windows: [u32; 2],
}

/// What stands at this place of a stream.
fn letter(at: usize) -> u8 {
    (at % 251) as u8
}

fn address(number: u64) -> Address {
    Address::new(number).unwrap()
}

/// A gateway's side, its invocation, and that one's child, with these windows; `None` where the budget has not
/// enough for them.
pub(super) fn family(router: &mut Router, windows: [u32; 2]) -> Option<[Address; 3]> {
    let limits = |window| SpawnLimits {
        children: None,
        depth: None,
        tree: None,
        window,
    };
    let (gate, parent, child) = (address(1), address(2), address(3));
    router.open(gate, parent, limits(windows[0])).ok()?;
    router.started(parent);
    let spawn = Message {
        to: None,
        from: Some(parent),
        body: Body::Spawn {
            name: "f".to_owned(),
            address: child,
            options: None,
        },
    };
    let mut effects = Vec::new();
    router.wrapper_says(parent, spawn, &mut effects);
    matches!(effects[..], [Effect::Start { .. }]).then_some(())?;
    router.set_limits(child, limits(windows[1]));
    router.started(child);
    Some([gate, parent, child])
}

impl Test {
    fn new(windows: [u32; 2], budget: u64) -> Option<Self> {
        let mut router = Router::new(Budget::new(budget));
        let [gate, parent, child] = family(&mut router, windows)?;
        let mut of_parent = Streams::new(gate, windows[0]);
        let id = of_parent.open(child).unwrap();
        let end = |address, streams, id| End {
            address,
            streams,
            id,
            to_master: VecDeque::new(),
            from_master: VecDeque::new(),
            written: 0,
            read: 0,
            closed: false,
        };
        let of_child = Streams::new(parent, windows[1]);
        Some(Self {
            router,
            ends: [end(parent, of_parent, id), end(child, of_child, PARENT)],
            windows,
        })
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Writes { who, bytes } => drop(self.write(who, bytes)),
            Step::Reads { who, bytes } => drop(self.read(who, bytes)),
            Step::Arrives { who, at_master } => drop(self.arrive(who, at_master)),
            Step::Closes { who } => {
                let end = &mut self.ends[who];
                if let Some(to) = end.streams.close(end.id).unwrap() {
                    end.say(to, Body::HalfClose);
                    end.closed = true;
                }
            }
        }
        self.look();
    }

    fn write(&mut self, who: usize, bytes: usize) -> usize {
        let end = &mut self.ends[who];
        match end.streams.write(end.id, bytes) {
            Ok((to, count)) => {
                assert!(!end.closed && count > 0 && count <= bytes);
                let data = (end.written..).take(count).map(letter).collect::<Vec<_>>();
                end.written += count;
                end.say(to, Body::Data(data.into()));
                count
            }
            Err(errno) => {
                let expected = if end.closed {
                    Errno::PIPE
                } else {
                    Errno::AGAIN
                };
                assert_eq!(errno, expected);
                0
            }
        }
    }

    fn read(&mut self, who: usize, bytes: usize) -> usize {
        let [reader, writer] = pair(&mut self.ends, who);
        let mut buffer = vec![0; bytes];
        match reader.streams.read(reader.id, &mut buffer) {
            Ok(read) => {
                let expected = (writer.read..).take(read.bytes).map(letter);
                assert!(
                    buffer[..read.bytes].iter().copied().eq(expected),
                    "other bytes"
                );
                writer.read += read.bytes;
                // The end comes after all that was written.
                assert!(read.bytes > 0 || (writer.closed && writer.read == writer.written));
                if let Some((to, bytes)) = read.report {
                    reader.say(to, Body::Credit(bytes));
                }
                read.bytes
            }
            Err(errno) => {
                assert_eq!(errno, Errno::AGAIN);
                0
            }
        }
    }

    /// Whether there was a message.
    fn arrive(&mut self, who: usize, at_master: bool) -> bool {
        let end = &mut self.ends[who];
        if !at_master {
            let message = end.from_master.pop_front();
            return message
                .map(|message| end.streams.receive(message))
                .is_some();
        }
        let Some(message) = end.to_master.pop_front() else {
            return false;
        };
        let mut effects = Vec::new();
        self.router.wrapper_says(end.address, message, &mut effects);
        for effect in effects {
            let Effect::Deliver(message) = effect else {
                panic!("it keeps to its credit: {effect:?}");
            };
            let mut ends = self.ends.iter_mut();
            let to = ends.find(|end| Some(end.address) == message.to);
            to.expect("one of the two").from_master.push_back(message);
        }
        true
    }

    /// The largest window of what one writes: it begins with its own, and does not outgrow either.
    fn most(&self, who: usize) -> u32 {
        let [one, other] = self.windows;
        initial_window(self.windows[who]).max(one.min(other))
    }

    /// No more than a window is under way, in costs.
    fn look(&self) {
        for who in 0..2 {
            let (writer, reader) = (&self.ends[who], &self.ends[1 - who]);
            let on_its_way = writer.to_master.iter().chain(&reader.from_master);
            let of_it = on_its_way.filter_map(|message| match &message.body {
                Body::Data(data) if message.from == Some(writer.address) => Some(cost(data.len())),
                _ => None,
            });
            let under_way = of_it.sum::<u32>();
            let most = self.most(who);
            assert!(under_way <= most, "{under_way} of {most}");
            assert!(writer.read <= writer.written);
        }
    }

    /// All that is on its way arrives, and all is read.
    fn settle(&mut self) {
        loop {
            let ways = [(0, true), (1, true), (0, false), (1, false)];
            let mut moved = false;
            for (who, at_master) in ways {
                while self.arrive(who, at_master) {
                    moved = true;
                }
            }
            for who in 0..2 {
                moved |= self.read(who, 1 << 20) > 0;
            }
            if !moved {
                return;
            }
        }
    }

    /// Nothing was lost, so whoever has not closed can write, and as much as it ever could.
    fn finish(mut self) {
        self.settle();
        for who in 0..2 {
            let end = &self.ends[who];
            assert_eq!(end.read, end.written, "all was read");
            if end.closed {
                continue;
            }
            let (from, to) = (self.ends[who].address, self.ends[1 - who].address);
            let granted = self.router.credit(from, to);
            assert!(granted <= self.most(who));
            // What the reader has not reported yet is all that may be missing.
            let least = initial_window(self.windows[who]) - REPORT_AT;
            assert!(granted > least, "{granted}, and {least} at least");
            let known = self.write(who, usize::MAX);
            assert_eq!(known as u32, room(granted), "both know the same");
        }
    }
}

impl End {
    fn say(&mut self, to: Address, body: Body) {
        let (to, from) = (Some(to), Some(self.address));
        self.to_master.push_back(Message { to, from, body });
    }
}

/// This one, and the other one.
fn pair(ends: &mut [End; 2], who: usize) -> [&mut End; 2] {
    let [one, other] = ends;
    if who == 0 { [one, other] } else { [other, one] }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn credit_is_neither_lost_nor_given_twice_however_messages_arrive(
        windows in [window(), window()],
        budget in prop_oneof![Just(u64::MAX), 65_536..400_000_u64],
        steps in prop::collection::vec(step(), 1..250),
    ) {
        if let Some(mut test) = Test::new(windows, budget) {
            for step in steps {
                test.take(step);
            }
            test.finish();
        }
    }
}
