//! Wrappers that wait for a request: there when one comes, used once, gone when nobody comes.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use rustix::process::Signal;

use support::client::{Response, pause};
use support::process::{Process, descriptors, time_until_gone};
use support::{Done, Embly, Project, Session, eventually, get};

fn sleeps(keys: &str) -> Embly {
    let keys = format!("    isolation: invocation\n{keys}");
    Embly::run(&Project::new().guest_with("sleeps", &keys).http("sleeps"))
}

fn get_meanwhile(at: SocketAddr, path: &'static str) -> JoinHandle<Response> {
    thread::spawn(move || get(at, path))
}

/// Waits until there are so many wrappers of `sleeps`, and stay.
fn parked(embly: &Embly, count: usize) -> Vec<Process> {
    let mut found = Vec::new();
    eventually("as many wrappers wait as are to", || {
        found = embly.wrappers("sleeps");
        pause(20, "one may be about to end");
        found.len() == count && found == embly.wrappers("sleeps")
    });
    found
}

#[test]
fn a_request_is_served_by_a_wrapper_that_waited_and_that_serves_no_other() {
    let embly = sleeps("    parked: {min: 3, max: 3}");
    assert_eq!(get(embly.at("sleeps"), "/0").text(), "slept");
    for begun in 1..=5 {
        let waited = parked(&embly, 3);
        let answer = get_meanwhile(embly.at("sleeps"), "/300");
        embly.nth_event("log", begun, |event| event["line"] == "begun");
        // One of them was taken, and another has come.
        let all = parked(&embly, 4);
        assert!(waited.iter().all(|process| all.contains(process)));
        assert_eq!(answer.join().unwrap().text(), "slept");
        let left = parked(&embly, 3);
        let used = waited.iter().filter(|process| !left.contains(process));
        assert_eq!(used.count(), 1);
    }
}

#[test]
fn as_many_wait_as_a_burst_has_taken() {
    let embly = sleeps("    parked: {max: 12}");
    get(embly.at("sleeps"), "/0");
    let answers: Vec<_> = (0..8)
        .map(|_| get_meanwhile(embly.at("sleeps"), "/200"))
        .collect();
    for answer in answers {
        assert_eq!(answer.join().unwrap().text(), "slept");
    }
    // Of eight threads on a busy machine at least some come together.
    eventually("that some more wait", || {
        embly.wrappers("sleeps").len() >= 3
    });
    pause(100, "more would be forked");
    assert!(embly.wrappers("sleeps").len() <= 12);
}

#[test]
fn what_only_a_burst_has_needed_is_given_up_after_it() {
    let embly = sleeps("    parked: {min: 1, max: 12, after: none}");
    let burst = |requests: usize| {
        let answers: Vec<_> = (0..requests)
            .map(|_| get_meanwhile(embly.at("sleeps"), "/200"))
            .collect();
        for answer in answers {
            assert_eq!(answer.join().unwrap().text(), "slept");
        }
    };
    burst(1);
    burst(12);
    eventually("some more wait", || embly.wrappers("sleeps").len() >= 3);
    // It is remembered for 10 s.
    parked(&embly, 1);
}

#[test]
fn a_function_that_nobody_calls_has_no_process_at_all_and_comes_back() {
    let embly = sleeps("    parked: {min: 2, after: 1s}");
    assert!(embly.processes().is_empty(), "nobody has come yet");
    for _ in 0..2 {
        assert_eq!(get(embly.at("sleeps"), "/0").text(), "slept");
        assert!(!embly.processes().is_empty());
        eventually("that all are gone", || embly.processes().is_empty());
    }
}

#[test]
fn one_that_is_never_put_away_stays() {
    let embly = sleeps("    parked: {min: 2, max: 2, after: none}");
    get(embly.at("sleeps"), "/0");
    let before = parked(&embly, 2);
    pause(2500, "it would be put away");
    assert_eq!(embly.wrappers("sleeps"), before);
}

#[test]
fn a_new_version_is_never_served_by_what_waited_for_the_old_one() {
    let says = support::project::answering;
    let project = Project::new()
        .wat_with("says", &says("old"), "    parked: {min: 5}")
        .http("says");
    let embly = Embly::start_detached("run", &project);
    assert_eq!(get(embly.at("says"), "/").text(), "old");
    let mut waited = Vec::new();
    eventually("some wait", || {
        waited = embly.wrappers("says");
        waited.len() == 5
    });
    project.write("says.wat", &says("new"));
    embly.signal(Signal::HUP);
    time_until_gone(&waited);
    assert_eq!(get(embly.at("says"), "/").text(), "new");
}

#[test]
fn no_request_is_lost_while_wrappers_that_wait_are_killed() {
    let embly = sleeps("    parked: {min: 4}");
    let done = Done::default();
    thread::scope(|scope| {
        let at_end = done.at_end();
        let client = scope.spawn(|| {
            let mut session = Session::new(embly.at("sleeps"));
            let mut served = 0;
            while !done.is_set() {
                let answer = session.get("/0").unwrap();
                // One that runs may be hit as well, which its client is told.
                match (answer.status, answer.reason()) {
                    (200, _) => served += 1,
                    (status, reason) => assert_eq!((status, reason), (500, "killed")),
                }
            }
            served
        });
        for _ in 0..100 {
            for process in embly.wrappers("sleeps") {
                process.signal(Signal::KILL);
            }
            pause(5, "others are forked");
        }
        drop(at_end);
        assert!(client.join().unwrap() > 20);
    });
    for _ in 0..20 {
        let waiting = embly.wrappers("sleeps");
        waiting
            .iter()
            .for_each(|process| process.signal(Signal::KILL));
        time_until_gone(&waiting);
        // Nobody runs, so nobody is told: all of them only waited.
        assert_eq!(get(embly.at("sleeps"), "/0").text(), "slept");
    }
}

#[test]
fn those_that_wait_need_no_fork_server() {
    let embly = sleeps("    parked: {min: 4, max: 4}");
    get(embly.at("sleeps"), "/0");
    parked(&embly, 4);
    let server = embly.fork_server("sleeps");
    server.signal(Signal::STOP);
    for _ in 0..4 {
        assert_eq!(get(embly.at("sleeps"), "/0").text(), "slept");
    }
    // The next one has to wait for a fork.
    let waits = get_meanwhile(embly.at("sleeps"), "/0");
    pause(200, "it would have been answered");
    assert!(!waits.is_finished());
    server.signal(Signal::CONT);
    assert_eq!(waits.join().unwrap().text(), "slept");
}

#[test]
fn a_master_that_stops_or_dies_leaves_none_that_waits() {
    let mut embly = sleeps("    parked: {min: 5, max: 5}");
    get(embly.at("sleeps"), "/0");
    parked(&embly, 5);
    embly.stops_with_nothing_left();

    let embly = sleeps("    parked: {min: 5, max: 5}");
    get(embly.at("sleeps"), "/0");
    let mut all = parked(&embly, 5);
    all.push(embly.fork_server("sleeps"));
    embly.signal(Signal::KILL);
    time_until_gone(&all);
}

#[test]
fn those_that_wait_leave_room_for_those_that_run() {
    // Room for 50 invocations, so 6 may wait.
    let project = Project::new()
        .guest_with(
            "sleeps",
            "    isolation: invocation\n    parked: {min: 30, max: 60}",
        )
        .http("sleeps");
    let embly = Embly::limited(&project, "ulimit -n 100");
    get(embly.at("sleeps"), "/0");
    let few = parked(&embly, 6).len();
    // With their clients they take 40.
    let answers: Vec<_> = (0..20)
        .map(|_| get_meanwhile(embly.at("sleeps"), "/1000"))
        .collect();
    for answer in answers {
        assert_eq!(answer.join().unwrap().text(), "slept");
    }
    eventually("no more wait than before", || {
        embly.wrappers("sleeps").len() <= few && descriptors(embly.pid()) < 60
    });
}
