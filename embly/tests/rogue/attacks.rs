//! What a wrapper does that has been taken over. The name of the function says which.

use std::process::ExitCode;
use std::time::Duration;

use bytes::BytesMut;
use protos::credit::{INITIAL_WINDOW, MAX_WINDOW};
use protos::{Address, Body, Ending, Errno, Reason, Startup, Warning};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::peer::{Peer, Task, connect, for_a_while, stay, without_end};

/// A behaviour, and what the client sees of it: a status and a reason.
pub struct Attack {
    pub name: &'static str,
    pub run: fn(&Task),
    pub status: u16,
    pub reason: &'static str,
    /// It is held back first, so it may reach its time limit before.
    pub slow: bool,
}

const fn attack(name: &'static str, run: fn(&Task), status: u16, reason: &'static str) -> Attack {
    Attack {
        name,
        run,
        status,
        reason,
        slow: false,
    }
}

/// One that the master slows down.
const fn flood(name: &'static str, run: fn(&Task)) -> Attack {
    Attack {
        slow: true,
        ..attack(name, run, 500, "violation")
    }
}

pub const ATTACKS: &[Attack] = &[
    // Before it is anybody.
    attack("never-connects", |_| stay(), 504, "wall"),
    attack("says-half-its-number", half_number, 504, "wall"),
    attack("says-another-number", other_number, 504, "wall"),
    attack("connects-twice", twice, 200, ""),
    attack("leaves-at-its-startup", early, 500, "lost"),
    attack("speaks-before-startup", speaks_early, 500, "violation"),
    attack("exits-before-it-connects", |_| (), 503, "starting"),
    // Bytes that are no frames.
    attack(
        "random-bytes",
        |task| bytes(task, &random(64 * 1024)),
        500,
        "violation",
    ),
    attack(
        "huge-length",
        |task| bytes(task, &[0xff; 8]),
        500,
        "violation",
    ),
    attack("no-body", |task| bytes(task, &[0; 4]), 500, "violation"),
    attack(
        "no-protobuf",
        |task| bytes(task, &[3, 0, 0, 0, 7, 7, 7]),
        500,
        "violation",
    ),
    attack(
        "half-a-frame",
        |task| bytes(task, &[200, 0, 0, 0, 1]),
        504,
        "wall",
    ),
    attack("half-a-frame-and-gone", half_and_gone, 500, "lost"),
    attack("trickles", trickles, 504, "wall"),
    // Frames that it may not send.
    attack(
        "says-startup",
        |task| says(task, startup()),
        500,
        "violation",
    ),
    attack(
        "says-ending",
        |task| says(task, Body::Ending(Ending::exit(0))),
        500,
        "violation",
    ),
    attack(
        "says-error",
        |task| says(task, Body::Error(Errno::PIPE)),
        500,
        "violation",
    ),
    attack(
        "says-warning",
        |task| says(task, Body::Warning(Warning::default())),
        500,
        "violation",
    ),
    attack("speaks-for-its-parent", for_parent, 500, "violation"),
    attack("speaks-for-nobody", for_nobody, 500, "violation"),
    attack("beyond-its-credit", beyond_credit, 500, "violation"),
    attack(
        "takes-what-was-not-there",
        |task| says(task, Body::Credit(1 << 30)),
        500,
        "violation",
    ),
    attack("data-after-its-end", after_end, 502, "no_response"),
    // Frames that are refused, and change nothing.
    attack("spawns-itself", spawns_itself, 200, ""),
    attack("kills-strangers", kills_strangers, 200, ""),
    attack("writes-to-strangers", writes_to_strangers, 200, ""),
    // Endings.
    attack("goes-on-after-its-end", goes_on, 200, ""),
    attack("hangs-up-and-stays", hangs_up, 500, "lost"),
    attack("claims-what-it-may-not", claims, 500, "violation"),
    // Floods, of which nothing is read.
    flood("floods-strangers", floods_strangers),
    flood("floods-spawns", floods_spawns),
    attack("floods-half-closes", floods_half_closes, 502, "no_response"),
    attack("floods-kills", floods_kills, 504, "wall"),
    attack("floods-large-lines", floods_large_lines, 504, "wall"),
    attack("floods-names", floods_names, 500, "violation"),
];

/// A wrapper, started with these arguments: it does what the name of its function says, or what an
/// honest one does.
pub fn wrapper(arguments: &[String]) -> ExitCode {
    let task = Task::read(arguments);
    if let Some(seed) = task.function.strip_prefix("seed-") {
        any(&task, seed.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    match ATTACKS.iter().find(|attack| attack.name == task.function) {
        Some(attack) => {
            (attack.run)(&task);
            ExitCode::SUCCESS
        }
        None => embly_wrapper::main(std::env::args_os().skip(2)),
    }
}

fn half_number(task: &Task) {
    use std::io::Write;
    let mut socket = std::os::unix::net::UnixStream::connect(&task.socket).unwrap();
    socket.write_all(&[1, 2, 3]).unwrap();
    stay()
}

fn other_number(task: &Task) {
    let _others = [task.slot + 1, task.slot.wrapping_sub(1), 0, u64::MAX]
        .map(|slot| connect(&task.socket, slot));
    stay()
}

fn twice(task: &Task) {
    let mut peer = Peer::begin(task);
    let _second = connect(&task.socket, task.slot);
    peer.answer();
    peer.say(None, Body::Exit(Ending::exit(0)));
}

fn early(task: &Task) {
    use std::io::Read;
    let read = connect(&task.socket, task.slot).read(&mut [0]);
    assert_eq!(read.unwrap(), 1);
}

fn speaks_early(task: &Task) {
    use std::io::Write;
    let mut bytes = BytesMut::new();
    let (from, body) = (Address::new(7), Body::Data("early".into()));
    let message = protos::Message {
        to: from,
        from,
        body,
    };
    protos::frame::encode(message, &mut bytes).unwrap();
    let mut socket = std::os::unix::net::UnixStream::connect(&task.socket).unwrap();
    // In one write, so that the master has it before it has said anything.
    let all = [&task.slot.to_le_bytes()[..], &bytes].concat();
    socket.write_all(&all).unwrap();
    stay()
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(1).fill_bytes(&mut bytes);
    bytes
}

fn bytes(task: &Task, bytes: &[u8]) {
    let mut peer = Peer::begin(task);
    peer.write(bytes);
    stay()
}

fn half_and_gone(task: &Task) {
    Peer::begin(task).write(&[200, 0, 0, 0, 1]);
}

fn trickles(task: &Task) {
    let mut peer = Peer::begin(task);
    let long = [255, 0, 0, 0, 26].into_iter().chain(std::iter::repeat(0));
    for byte in long {
        std::thread::sleep(Duration::from_millis(10));
        if !peer.write(&[byte]) {
            return;
        }
    }
}

fn says(task: &Task, body: Body) {
    let mut peer = Peer::begin(task);
    peer.say(Some(peer.parent), body);
    stay()
}

fn startup() -> Body {
    let address = Address::new(9).unwrap();
    Body::Startup {
        address,
        parent: address,
        startup: Box::new(Startup::default()),
    }
}

fn for_parent(task: &Task) {
    let mut peer = Peer::begin(task);
    let (me, parent) = (Some(peer.address), Some(peer.parent));
    peer.say_as(parent, me, Body::Data("hello".into()));
    stay()
}

fn for_nobody(task: &Task) {
    let mut peer = Peer::begin(task);
    peer.say_as(None, Some(peer.parent), Body::Data("hello".into()));
    stay()
}

fn beyond_credit(task: &Task) {
    let mut peer = Peer::begin(task);
    let data = vec![b'x'; INITIAL_WINDOW as usize + 1];
    peer.say(Some(peer.parent), Body::Data(data.into()));
    stay()
}

fn after_end(task: &Task) {
    let mut peer = Peer::begin(task);
    peer.say(Some(peer.parent), Body::HalfClose);
    peer.say(Some(peer.parent), Body::Data("more".into()));
    stay()
}

/// Answers, so that the client sees that all before has changed nothing.
fn harmless(mut peer: Peer) {
    peer.answer();
    peer.say(None, Body::Exit(Ending::exit(0)));
    while peer.hear().is_some() {}
}

fn spawn(name: &str, address: Address) -> Body {
    Body::Spawn {
        name: name.to_owned(),
        address,
        options: None,
    }
}

fn spawns_itself(task: &Task) {
    let mut peer = Peer::begin(task);
    for address in [peer.address, peer.parent] {
        peer.say(None, spawn("hello", address));
    }
    harmless(peer)
}

fn kills_strangers(task: &Task) {
    let mut peer = Peer::begin(task);
    for to in [
        Some(peer.parent),
        Some(peer.address),
        Address::new(77),
        None,
    ] {
        peer.say(to, Body::Kill);
    }
    harmless(peer)
}

fn writes_to_strangers(task: &Task) {
    let mut peer = Peer::begin(task);
    for to in [Some(peer.address), Address::new(77)] {
        peer.say(to, Body::Data("hello".into()));
        peer.say(to, Body::HalfClose);
        peer.say(to, Body::Credit(1));
    }
    harmless(peer)
}

fn goes_on(task: &Task) {
    let mut peer = Peer::begin(task);
    peer.answer();
    peer.say(None, Body::Exit(Ending::exit(0)));
    let data = Body::Data(vec![0; 1000].into());
    without_end(|| peer.say(Some(peer.parent), data.clone()))
}

fn hangs_up(task: &Task) {
    Peer::begin(task).hang_up();
    stay()
}

fn claims(task: &Task) {
    let mut peer = Peer::begin(task);
    peer.say(None, Body::Exit(Ending::new(Reason::Shutdown, "said so")));
    stay()
}

fn floods_strangers(task: &Task) {
    let mut peer = Peer::begin(task);
    let to = Address::new(77);
    without_end(|| peer.say(to, Body::Data("x".into())))
}

fn floods_spawns(task: &Task) {
    let mut peer = Peer::begin(task);
    let mut number = 1000;
    without_end(|| {
        number += 1;
        peer.say(None, spawn("nobody", Address::new(number).unwrap()))
    })
}

fn floods_half_closes(task: &Task) {
    let mut peer = Peer::begin(task);
    without_end(|| peer.say(Some(peer.parent), Body::HalfClose))
}

fn floods_kills(task: &Task) {
    let mut peer = Peer::begin(task);
    without_end(|| peer.say(Address::new(77), Body::Kill))
}

/// As much as fits into a frame, as fast as the socket takes it.
fn floods_large_lines(task: &Task) {
    let mut peer = Peer::begin(task);
    let body = Body::Log {
        stream: 1,
        severity: None,
        line: "x".repeat(300_000),
    };
    without_end(|| peer.say(None, body.clone()))
}

fn floods_names(task: &Task) {
    let mut peer = Peer::begin(task);
    let body = Body::Register {
        name: "x".repeat(300_000),
        release: false,
    };
    without_end(|| peer.say(None, body.clone()))
}

/// Valid frames in any order to anybody, and an end of any kind.
fn any(task: &Task, seed: u64) {
    let mut peer = Peer::begin(task);
    let mut dice = StdRng::seed_from_u64(seed);
    let mut known = vec![peer.parent, peer.address, Address::new(77).unwrap()];
    for _ in 0..dice.random_range(0..200) {
        let to = Some(known[dice.random_range(0..known.len())]);
        let body = match dice.random_range(0..1000) {
            0..400 => Body::Data(vec![b'x'; dice.random_range(1..600)].into()),
            400..500 => Body::Credit(dice.random_range(1..100)),
            500..700 => {
                let address = Address::new(dice.random()).unwrap();
                known.push(address);
                spawn(
                    ["hello", "nobody", "embly/none"][dice.random_range(0..3)],
                    address,
                )
            }
            700..800 => Body::Kill,
            800..980 => Body::Log {
                stream: 1,
                severity: None,
                line: "a line".to_owned(),
            },
            980..990 => Body::HalfClose,
            990..995 => Body::Data(vec![b'x'; dice.random_range(1..MAX_WINDOW as usize)].into()),
            995..997 => Body::Exit(Ending::exit(dice.random_range(-1..3))),
            997 => Body::Error(Errno::AGAIN),
            998 => startup(),
            _ => Body::Ending(Ending::exit(0)),
        };
        peer.say(to, body);
    }
    match dice.random_range(0..5) {
        0 => harmless(peer),
        1 => std::process::abort(),
        2 => peer.hang_up(),
        3 => drop(peer.say(None, Body::Exit(Ending::exit(3)))),
        _ => {
            for_a_while(Duration::from_millis(50), || peer.hear().is_some());
            peer.write(&[9, 0, 0]);
        }
    }
}
