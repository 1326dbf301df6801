//! Functions that keep processors busy until they are ended for it: confined to half of the
//! processors, everybody else to the other half, until they were quiet for a while.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;

use rustix::process::Signal;

use support::client::pause;
use support::project::answering;
use support::{Embly, Project, eventually, get, skipped};

/// The processors that a process may use, as the kernel writes them.
fn processors(pid: i32) -> Vec<usize> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let number = |text: &str| text.trim().parse::<usize>().unwrap();
    let ranges = line.into_iter().flat_map(|line| line.split(','));
    ranges
        .flat_map(|range| match range.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => number(range)..=number(range),
        })
        .collect()
}

/// Those of the fork server of a function, which its wrappers inherit.
fn of(embly: &Embly, function: &str) -> Vec<usize> {
    processors(embly.fork_server(function).pid)
}

fn project() -> Project {
    let project = Project::unparked()
        .guest_with("loops", "    limits: {cpu: 50ms}")
        .wat("hello", &answering("hello"));
    project.http("loops").http("hello")
}

fn busy() -> (Embly, Vec<usize>) {
    let embly = Embly::run(&project());
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    let all = processors(embly.pid());
    (embly, all)
}

fn offend(embly: &Embly) {
    assert_eq!(get(embly.at("loops"), "/").reason(), "cpu");
}

#[test]
fn who_is_ended_for_its_use_of_processors_is_confined_until_it_is_quiet() {
    let (embly, all) = busy();
    if all.len() < 2 {
        return skipped("two processors");
    }
    for _ in 0..2 {
        offend(&embly);
    }
    assert_eq!(of(&embly, "loops"), all);
    offend(&embly);
    let (ours, theirs) = all.split_at(all.len().div_ceil(2));
    eventually("the halves are apart", || of(&embly, "loops") == theirs);
    eventually("the others keep off", || {
        processors(embly.pid()) == ours && of(&embly, "hello") == ours
    });
    let said = |event: &serde_json::Value| {
        let text = event["text"].as_str().unwrap_or_default();
        text.contains("`loops` keeps processors busy until a limit ends it")
    };
    assert_eq!(embly.event("message", said)["level"], "warn");
    // A new fork server is confined as well.
    let server = embly.fork_server("loops");
    server.signal(Signal::KILL);
    eventually("it has gone", || server.is_gone());
    offend(&embly);
    eventually("the new one is confined", || of(&embly, "loops") == theirs);
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    pause(9000, "it is quiet, not for long enough");
    assert_eq!(processors(embly.pid()), ours);
    pause(1500, "it is quiet for long enough");
    eventually("it is forgiven", || {
        of(&embly, "loops") == all && of(&embly, "hello") == all && processors(embly.pid()) == all
    });
    // It begins anew.
    offend(&embly);
    assert_eq!(of(&embly, "loops"), all);
}

#[test]
fn who_waits_until_it_is_ended_is_not_confined() {
    let project = Project::unparked().guest_with("sleeps", "    limits: {wall: 100ms}");
    let embly = Embly::run(&project.http("sleeps"));
    let all = processors(embly.pid());
    for _ in 0..4 {
        assert_eq!(get(embly.at("sleeps"), "/5000").reason(), "wall");
    }
    assert_eq!(processors(embly.pid()), all);
    assert_eq!(of(&embly, "sleeps"), all);
}

/// As in a container: functions run as another user there, whose processes root may not move.
#[test]
fn a_master_that_may_not_confine_says_so_and_confines_nobody() {
    if !rustix::process::geteuid().is_root() {
        return skipped("root");
    }
    let without = "exec setpriv --bounding-set -sys_nice \"$@\"";
    let embly = Embly::limited(&project(), without);
    let all = processors(embly.pid());
    if all.len() < 2 {
        return skipped("two processors");
    }
    for _ in 0..4 {
        offend(&embly);
    }
    let said = |event: &serde_json::Value| {
        let text = event["text"].as_str().unwrap_or_default();
        text.contains("CAP_SYS_NICE")
    };
    assert_eq!(embly.event("message", said)["level"], "warn");
    assert_eq!(processors(embly.pid()), all);
    assert_eq!(of(&embly, "loops"), all);
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    assert_eq!(of(&embly, "hello"), all);
}
