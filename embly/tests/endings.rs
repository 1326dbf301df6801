//! How a child ends, as its parent sees it: one test over all that can happen to one.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::thread;

use rustix::process::Signal;

use support::client::post;
use support::{Embly, Project};

/// A parent in front of a child for each kind of ending.
fn family() -> Embly {
    let project = Project::unparked()
        .guest("spawns")
        .guest_with("script", "    limits: {memory: 4MiB, cpu: 300ms}")
        .guest_with("beats", "    limits: {wall: 300ms}\n    env: {CODE: stay}")
        .guest_with("sleeps-on", "    limits: {idle: 300ms}")
        .guest_with("crashes", "    env: {UNTIL_MS: \"99999999999999\"}")
        .http("spawns");
    Embly::run(&project)
}

/// The line `status:` of what `spawns` says of a child: reason, code, detail.
fn status(embly: &Embly, child: &str, steps: &str) -> (String, i32, String) {
    let task = format!("x-do: {steps}\r\n\r\n");
    let response = post(embly.at("spawns"), &format!("/{child}"), task.as_bytes());
    assert_eq!(response.status, 200, "{}", response.text());
    let text = response.text();
    let status = text
        .lines()
        .find_map(|line| line.strip_prefix("status: "))
        .unwrap_or_else(|| panic!("{child} {steps}: {text}"));
    let mut parts = status.splitn(3, ' ');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (reason, code, detail) = (next(), next(), next());
    // Reading fails with the same ending, unless it is a good one.
    let read = text.lines().find_map(|line| line.strip_prefix("read: "));
    let expected = match reason.as_str() {
        "ok" => "ok".to_owned(),
        reason => format!("the other side ended: {reason}"),
    };
    assert!(read.unwrap().starts_with(&expected), "{text}");
    (reason, code.parse().unwrap(), detail)
}

#[test]
fn each_reason_that_a_child_can_have_reaches_its_parent_with_code_and_detail() {
    let embly = family();
    for (child, steps, reason, code, detail) in [
        ("script", "exit 0", "ok", 0, ""),
        ("script", "exit 3", "exit", 3, ""),
        ("script", "exit -1", "exit", -1, ""),
        (
            "script",
            "trap",
            "trap",
            0,
            "wasm `unreachable` instruction",
        ),
        ("script", "panic no luck", "trap", 0, "panicked at "),
        ("script", "eat", "memory", 0, "limit `memory` reached: "),
        ("script", "spin", "cpu", 0, ""),
        ("beats", "", "wall", 0, "limit `wall` reached: 300ms"),
        ("sleeps-on", "", "idle", 0, "limit `idle` reached: 300ms"),
        ("nobody", "", "refused", 44, "there is no function `nobody`"),
        (
            "embly/none",
            "",
            "refused",
            44,
            "there is no service `embly/none`",
        ),
    ] {
        let found = status(&embly, child, steps);
        assert_eq!(
            (found.0.as_str(), found.1),
            (reason, code),
            "{child} {steps}"
        );
        assert!(found.2.contains(detail), "{child} {steps}: {}", found.2);
    }
}

#[test]
fn a_child_that_is_killed_or_cannot_be_started_says_so_to_its_parent() {
    let embly = family();
    // By a signal.
    thread::scope(|scope| {
        let parent = scope.spawn(|| status(&embly, "sleeps-on", ""));
        embly.event("log", |event| event["function"] == "sleeps-on");
        embly.wrapper("sleeps-on").signal(Signal::KILL);
        let (reason, code, detail) = parent.join().unwrap();
        assert_eq!((reason.as_str(), code), ("killed", 0));
        assert!(detail.contains("signal 9"), "{detail}");
    });
    // Crashes at each start.
    for _ in 0..5 {
        assert_eq!(status(&embly, "crashes", "").0, "trap");
    }
    let (reason, code, detail) = status(&embly, "crashes", "");
    assert_eq!((reason.as_str(), code), ("backoff", 1));
    assert!(detail.contains("the database is not there"), "{detail}");
}

#[test]
fn a_child_whose_code_is_damaged_is_starting_to_its_parent() {
    let project = Project::unparked()
        .guest("spawns")
        .wat(
            "gone",
            "(module (memory (export \"memory\") 1) (func (export \"_start\")))",
        )
        .http("spawns");
    let cache = tempfile::tempdir().unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let mut command =
        support::environment(std::process::Command::new(support::EMBLY), runtime.path());
    command
        .args(support::arguments("run", project.path()))
        .env("XDG_CACHE_HOME", cache.path());
    let embly = Embly::spawn(command, runtime, 1);
    assert_eq!(status(&embly, "spawns", "").0, "ok");
    for entry in std::fs::read_dir(cache.path().join("embly/artefacts")).unwrap() {
        let path = entry.unwrap().path();
        // The fork server of `spawns` has loaded its own.
        std::fs::remove_file(path).unwrap();
    }
    let (reason, code, detail) = status(&embly, "gone", "");
    assert_eq!((reason.as_str(), code), ("starting", 0));
    assert!(detail.contains("cannot load the function"), "{detail}");
}
