//! Whatever happens to requests, nothing of them stays.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use support::client::{connect, pause};
use support::process::{children_and_zombies, descriptors, resident};
use support::{Embly, Project, Session, eventually, get};

/// What a master has while it is idle.
struct Idle {
    descriptors: usize,
    resident: u64,
}

impl Idle {
    fn of(embly: &Embly) -> Self {
        eventually("that no wrapper is left, not even to be reaped", || {
            let processes = children_and_zombies(embly.pid());
            processes
                .iter()
                .all(|process| process.leads() && process.state != 'Z')
        });
        let mut before = 0;
        eventually("that descriptors stay the same", || {
            let now = descriptors(embly.pid());
            pause(20, "connections are closed after their last byte");
            std::mem::replace(&mut before, now) == now
        });
        Self {
            descriptors: before,
            resident: resident(embly.pid()),
        }
    }
}

/// The master has what it had, and when it stops nothing is left at all.
fn assert_nothing_left(mut embly: Embly, before: &Idle) {
    let after = Idle::of(&embly);
    assert_eq!(after.descriptors, before.descriptors, "descriptors");
    // The allocator keeps some of what was used at the busiest moment.
    let grown = after.resident.saturating_sub(before.resident);
    assert!(grown < 8 << 20, "the master has grown by {grown} bytes");
    embly.stops_with_nothing_left();
}

/// So many requests, on a few connections at once.
fn load(at: SocketAddr, requests: usize) {
    const CONNECTIONS: usize = 4;
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut session = Session::new(at);
                for _ in 0..requests / CONNECTIONS {
                    let answer = session.get("/").unwrap();
                    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
                }
            });
        }
    });
}

#[test]
fn twenty_thousand_requests_leave_nothing() {
    let embly = Embly::run(&Project::unparked().guest("hello").http("hello"));
    load(embly.at("hello"), 1000);
    let before = Idle::of(&embly);
    load(embly.at("hello"), 20_000);
    assert_nothing_left(embly, &before);
}

#[test]
fn endings_of_every_kind_leave_nothing() {
    let project = Project::unparked()
        .guest("hello")
        .guest("exits")
        .guest("panics-late")
        .guest("chain");
    let project = project
        .guest("link")
        .guest("sleeps")
        .guest("streams")
        .guest("killed")
        .guest_with("slow", "    limits: {wall: 20ms}");
    let functions = [
        "hello",
        "exits",
        "panics-late",
        "chain",
        "sleeps",
        "streams",
        "slow",
        "killed",
    ];
    let project = functions
        .iter()
        .fold(project, |project, function| project.http(function));
    let embly = Embly::run(&project);
    let round = |number: usize| {
        for (function, path, status) in [
            ("hello", "/", 200),
            ("exits", "/", 500),
            ("panics-late", "/", 500),
            ("chain", "/6", 200),
            // Deeper than the limit `depth`: the last link is refused, and all of them fail.
            ("chain", "/20", 500),
            ("slow", "/", 504),
        ] {
            assert_eq!(
                get(embly.at(function), path).status,
                status,
                "{function} {path}"
            );
        }
        for function in ["sleeps", "streams"] {
            // The client leaves, once before and once after its request was read.
            for wait in [0, 5] {
                leave(embly.at(function), wait);
            }
        }
        thread::scope(|scope| {
            let answer = scope.spawn(|| get(embly.at("killed"), "/5000"));
            // One that has not begun would be repeated.
            embly.nth_event("log", number, |event| event["function"] == "killed");
            embly.wrapper("killed").signal(Signal::KILL);
            assert_eq!(answer.join().unwrap().reason(), "killed");
        });
    };
    for function in ["sleeps", "streams"] {
        // Where clients leave too soon there may be no fork server yet.
        let mut client = connect(embly.at(function));
        client
            .write_all(b"GET /0 HTTP/1.1\r\nhost: test\r\n\r\n")
            .unwrap();
        assert!(client.read(&mut [0; 1000]).unwrap() > 0);
    }
    (0..3).for_each(round);
    let before = Idle::of(&embly);
    (3..33).for_each(round);
    assert_nothing_left(embly, &before);
}

/// A client that resets its connection so many milliseconds after its request.
fn leave(at: SocketAddr, wait: u64) {
    let mut client = connect(at);
    client
        .write_all(b"GET /5000 HTTP/1.1\r\nhost: test\r\n\r\n")
        .unwrap();
    pause(
        wait,
        "somewhere between the first byte and the first answer",
    );
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
}

#[test]
fn clients_that_leave_while_a_fork_server_starts_leave_no_process() {
    let embly = Embly::run(&Project::unparked().guest("sleeps").http("sleeps"));
    get(embly.at("sleeps"), "/0");
    let before = Idle::of(&embly);
    for round in 0..60 {
        for server in embly.fork_servers("sleeps") {
            server.signal(Signal::KILL);
        }
        leave(embly.at("sleeps"), round % 8);
    }
    assert_eq!(get(embly.at("sleeps"), "/0").text(), "slept");
    assert_nothing_left(embly, &before);
}

#[test]
fn without_descriptors_clients_wait_or_get_503_and_later_all_is_well() {
    let project = Project::unparked().guest("sleeps").http("sleeps");
    let mut embly = Embly::limited(&project, "ulimit -n 40");
    get(embly.at("sleeps"), "/0");
    let before = Idle::of(&embly);
    let at = embly.at("sleeps");
    // Connections that say nothing take what requests need.
    let silent: Vec<_> = (0..30).map(|_| connect(at)).collect();
    pause(300, "the master meets its limit again and again");
    let busy = support::process::cpu_time(embly.pid());
    pause(500, "a master that spins would use all of it");
    let busy = support::process::cpu_time(embly.pid()) - busy;
    assert!(
        busy < Duration::from_millis(200),
        "{busy:?} of CPU time in 500 ms"
    );
    drop(silent);
    assert_full_and_well_again(&embly, 40);
    assert_eq!(Idle::of(&embly).descriptors, before.descriptors);
    embly.stops_with_nothing_left();
}

#[test]
fn without_processes_clients_get_503_and_later_all_is_well() {
    let Some(user) = support::user::Limited::find() else {
        return;
    };
    let project = Project::new().guest("sleeps").http("sleeps");
    let mut embly = user.run(&project, 20);
    assert_full_and_well_again(&embly, 40);
    embly.stops_with_nothing_left();
}

/// More requests at once than there is room for: some are answered, the others are told to come
/// back, and when they do they are answered.
fn assert_full_and_well_again(embly: &Embly, requests: usize) {
    let at = embly.at("sleeps");
    let clients: Vec<_> = (0..requests)
        .map(|_| thread::spawn(move || get(at, "/1000")))
        .collect();
    let answers: Vec<_> = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .collect();
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status != 200)
        .collect();
    assert!(
        !refused.is_empty() && refused.len() < requests,
        "{} of {requests}",
        refused.len()
    );
    for answer in refused {
        assert_eq!(answer.status, 503);
        assert!(
            ["starting", "overloaded"].contains(&answer.reason()),
            "{}",
            answer.reason()
        );
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!(get(at, "/0").text(), "slept");
}
