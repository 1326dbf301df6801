//! Functions that are kept running, and those that crash again and again.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::Value;

use support::client::{get, pause, post};
use support::process::time_until_gone;
use support::{Embly, Project, eventually};

/// A project with `beats`, which ends as `code` says and is started again as `restart` says.
fn beats(code: &str, restart: &str) -> Project {
    let keys = format!("    start: true\n    restart: {restart}\n    env: {{CODE: \"{code}\"}}");
    Project::unparked().guest_with("beats", &keys)
}

fn count(embly: &Embly, kind: &str, function: &str) -> usize {
    let of = |event: &&Value| event["event"] == kind && event["function"] == function;
    embly.events().iter().filter(of).count()
}

/// The words of a message that has these.
fn said(embly: &Embly, words: &str) -> String {
    let event = embly.event("message", |event| {
        event["text"].as_str().unwrap().contains(words)
    });
    event["text"].as_str().unwrap().to_owned()
}

fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
}

#[test]
fn a_function_with_start_runs_without_a_client_and_again_as_restart_says() {
    for (code, restart, how) in [
        ("trap", "on-failure", "trap: "),
        ("3", "on-failure", "exit 3"),
        ("3", "always", "exit 3"),
        ("0", "always", "ok"),
    ] {
        let project = beats(code, restart);
        let embly = Embly::run(&project);
        embly.nth_event("log", 2, |event| event["line"] == "beat");
        let text = said(&embly, "started again in 100ms");
        assert!(
            text.starts_with(&format!("`beats` has ended ({how}")),
            "{text}"
        );
        // The pauses grow.
        said(&embly, "started again in 200ms");
        let started = embly.event("invocation_started", |_| true);
        assert_eq!(started["gateway"], Value::Null);
        assert_eq!(started["request_id"], Value::Null);
    }
}

#[test]
fn one_that_is_done_is_left_alone() {
    for (code, restart, how) in [
        ("0", "on-failure", "ok"),
        ("0", "never", "ok"),
        ("3", "never", "exit 3"),
        ("trap", "never", "trap: "),
    ] {
        let project = beats(code, restart);
        let embly = Embly::run(&project);
        let text = said(&embly, "leaves it");
        assert!(
            text.starts_with(&format!("`beats` has ended ({how}")),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("`restart: {restart}` leaves it")),
            "{text}"
        );
        pause(300, "another start would come by now");
        assert_eq!(count(&embly, "invocation_started", "beats"), 1);
    }
}

#[test]
fn one_that_is_killed_comes_back() {
    let project = beats("stay", "on-failure");
    let embly = Embly::run(&project);
    for n in 0..2 {
        embly.nth_event("log", n, |event| event["line"] == "beat");
        embly.wrapper("beats").signal(Signal::KILL);
        let ended = embly.nth_event("invocation_ended", n, |event| event["function"] == "beats");
        assert_eq!(ended["reason"], "killed");
    }
    embly.nth_event("log", 2, |event| event["line"] == "beat");
}

#[test]
fn nobody_writes_to_it_and_the_log_says_that_nobody_reads() {
    let project = beats("stay", "never");
    let embly = Embly::run(&project);
    embly.event("log", |event| event["line"] == "parent said 0");
    let text = said(&embly, "which reads nothing");
    assert!(text.contains("what it prints is its log"), "{text}");
}

#[test]
fn the_limit_wall_holds_where_it_is_set() {
    let project = Project::unparked().guest_with(
        "beats",
        "    start: true\n    env: {CODE: stay}\n    limits: {wall: 300ms}",
    );
    let embly = Embly::run(&project);
    assert_eq!(embly.ending("beats")["reason"], "wall");
    embly.nth_event("log", 1, |event| event["line"] == "beat");
}

#[test]
fn it_ends_with_the_master_once_all_others_have() {
    let project = beats("stay", "always").guest("sleeps").http("sleeps");
    let mut embly = Embly::run(&project);
    embly.event("log", |event| event["line"] == "beat");
    let at = embly.at("sleeps");
    let answer = std::thread::spawn(move || get(at, "/700"));
    embly.event("log", |event| event["line"] == "begun");
    let processes = embly.processes();
    let since = Instant::now();
    embly.signal(Signal::TERM);
    assert_eq!(answer.join().unwrap().text(), "slept");
    assert_eq!(embly.wait().code(), Some(0));
    assert!(
        since.elapsed() < Duration::from_secs(5),
        "{:?}",
        since.elapsed()
    );
    time_until_gone(&processes);
    let ending = embly.ending("beats");
    assert_eq!(ending["reason"], "shutdown");
    // The request was served to its end before.
    let events = embly.events();
    let place = |function: &str| {
        let is =
            |event: &Value| event["event"] == "invocation_ended" && event["function"] == function;
        events.iter().position(is).unwrap()
    };
    assert!(place("sleeps") < place("beats"));
    let stopped = embly.event("stopped", |_| true);
    assert_eq!(stopped["addresses"], 0, "{stopped}");
    assert_eq!(stopped["wrappers"], 0, "{stopped}");
}

#[test]
fn at_a_reload_what_has_changed_is_replaced_and_the_rest_goes_on() {
    let keys = "    start: true\n    restart: always\n    env: {CODE: stay, N: ONE}";
    let project = Project::unparked()
        .guest_with("beats", keys)
        .guest_with("beats-too", &keys.replace("ONE", "two"));
    let embly = Embly::start_detached("run", &project);
    let beat = |n, function: &'static str| {
        embly.nth_event("log", n, |event| {
            event["line"] == "beat" && event["function"] == function
        })
    };
    beat(0, "beats");
    beat(0, "beats-too");
    let other = embly.wrapper("beats-too");
    project.edit("ONE", "other");
    embly.signal(Signal::HUP);
    beat(1, "beats");
    let ending = embly.ending("beats");
    assert_eq!(ending["reason"], "replaced");
    assert_eq!(ending["detail"], "a newer version takes its place");
    assert_eq!(embly.wrapper("beats-too").pid, other.pid);
    // And one that is not started any more.
    project.edit(
        "    start: true\n    restart: always\n    env: {CODE: stay, N: two}",
        "",
    );
    embly.signal(Signal::HUP);
    let ending = embly.ending("beats-too");
    assert_eq!(ending["reason"], "replaced");
    time_until_gone(&[other]);
    assert_eq!(embly.wrappers("beats").len(), 1);
}

#[test]
fn a_new_version_takes_the_names_of_the_old_one() {
    let project = Project::unparked()
        .guest_with(
            "board",
            "    start: true\n    allow: {register: [board]}\n    env: {N: ONE}",
        )
        .guest_with("visits", "    allow: {reach: [board]}")
        .http("visits");
    let embly = Embly::start_detached("run", &project);
    embly.event("log", |event| event["line"] == "open");
    for n in 1..4 {
        let old = if n == 1 {
            "ONE".to_owned()
        } else {
            format!("N{}", n - 1)
        };
        project.edit(&old, &format!("N{n}"));
        embly.signal(Signal::HUP);
        embly.nth_event("log", n, |event| event["line"] == "open");
        let text = post(embly.at("visits"), "/board", b"hi").text();
        assert_eq!(text, "answer: hi\nstatus: ok 0 \n");
    }
    let refused = |event: &Value| {
        event["text"]
            .as_str()
            .is_some_and(|text| text.contains("refused"))
    };
    assert!(!embly.events().iter().any(refused));
}

#[test]
fn a_function_that_crashes_at_each_start_is_answered_503_until_it_is_well_again() {
    // Compiled before the clock runs.
    Embly::run(&Project::unparked().guest("hello").http("hello"));
    let well_at = now() + 6000;
    let project = Project::unparked()
        .guest_with("crashes", &format!("    env: {{UNTIL_MS: \"{well_at}\"}}"))
        .http("crashes");
    let embly = Embly::run(&project);
    let at = embly.at("crashes");
    let mut reasons = Vec::new();
    for _ in 0..5 {
        let answer = get(at, "/");
        reasons.push((answer.status, answer.reason().to_owned()));
    }
    assert_eq!(reasons, vec![(500, "trap".to_owned()); 5]);
    let answer = get(at, "/");
    assert_eq!((answer.status, answer.reason()), (503, "backoff"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    let text = said(&embly, "crashes at its start, 5 times in a row");
    assert!(text.contains("the database is not there"), "{text}");
    assert!(text.ends_with("it is started again in 1s"), "{text}");
    // Nobody does anything but ask.
    let mut statuses = Vec::new();
    eventually("it is well again", || {
        let answer = get(at, "/");
        statuses.push(answer.status);
        answer.status == 200
    });
    let started = count(&embly, "invocation_started", "crashes");
    assert!(
        started < 12,
        "{started} starts for {} requests",
        statuses.len()
    );
    said(&embly, "does not crash at its start any more");
    for _ in 0..10 {
        assert_eq!(get(at, "/").text(), "well");
    }
}

#[test]
fn a_request_that_crashes_a_function_does_not_turn_it_off_for_others() {
    let embly = Embly::run(&Project::unparked().guest("script").http("script"));
    let at = embly.at("script");
    let ask = |steps: &str| {
        let head =
            format!("GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-do: {steps}\r\n\r\n");
        support::client::request(at, head)
    };
    for steps in ["trap", "panic no luck", "exit 3"] {
        for _ in 0..12 {
            assert_eq!(ask(steps).status, 500, "{steps}");
        }
    }
    assert_eq!(ask("exit 0").reason(), "no_response");
}

#[test]
fn a_client_that_says_nothing_does_not_turn_a_function_off_for_others() {
    // Gives up, with exit 1, on a client that has sent nothing within 20 ms.
    let hasty = "(module
      (import \"embly\" \"_events\"
        (func $events (param i32 i64 i32 i32 i32 i32) (result i32)))
      (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))
      (memory (export \"memory\") 1)
      (func (export \"_start\")
        (drop (call $events (i32.const 0) (i64.const 0) (i32.const 20000000)
          (i32.const 64) (i32.const 4) (i32.const 128)))
        (if (i32.eqz (i32.load (i32.const 128))) (then (call $exit (i32.const 1))))))";
    let embly = Embly::run(&Project::unparked().wat("hasty", hasty).tcp("hasty"));
    for n in 0..12 {
        let client = support::client::connect(embly.at("hasty"));
        let ended = embly.nth_event("invocation_ended", n, |_| true);
        assert_eq!(ended["reason"], "exit", "{ended}");
        drop(client);
    }
}

#[test]
fn a_parent_sees_that_its_child_backs_off() {
    let project = Project::unparked()
        .guest_with(
            "crashes",
            &format!("    env: {{UNTIL_MS: \"{}\"}}", now() + 600_000),
        )
        .guest("spawns")
        .http("spawns");
    let embly = Embly::run(&project);
    let ask = || post(embly.at("spawns"), "/crashes", b"").text();
    for _ in 0..5 {
        let text = ask();
        assert!(text.contains("status: trap "), "{text}");
    }
    let text = ask();
    assert!(
        text.contains("status: backoff 1 `crashes` crashes at its start"),
        "{text}"
    );
}

#[test]
fn one_that_is_kept_running_and_crashes_backs_off_and_comes_back() {
    Embly::run(&Project::unparked().guest("hello").http("hello"));
    let well_at = now() + 1500;
    let project = Project::unparked().guest_with(
        "crashes",
        &format!("    start: true\n    env: {{UNTIL_MS: \"{well_at}\"}}"),
    );
    let embly = Embly::run(&project);
    // Well, as an HTTP function without a request can be: it is told that there is none.
    embly.event("invocation_ended", |event| event["reason"] != "trap");
    let started = count(&embly, "invocation_started", "crashes");
    assert!(started < 10, "{started} starts in 1.5 s");
}

#[test]
fn a_fork_server_that_fails_at_each_start_backs_off_and_comes_back() {
    let project = Project::unparked()
        .wat("says", &support::project::answering("hello"))
        .http("says");
    let cache = tempfile::tempdir().unwrap();
    let runtime = tempfile::tempdir().unwrap();
    let mut command =
        support::environment(std::process::Command::new(support::EMBLY), runtime.path());
    command
        .args(support::arguments("run", project.path()))
        .env("XDG_CACHE_HOME", cache.path());
    let embly = Embly::spawn(command, runtime, 1);
    let folder = cache.path().join("embly/artefacts");
    let artefact = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|end| end == "cwasm"))
        .unwrap();
    let hidden = folder.join("hidden");
    std::fs::rename(&artefact, &hidden).unwrap();
    let at = embly.at("says");
    let mut last = get(at, "/");
    assert_eq!((last.status, last.reason()), (503, "starting"));
    eventually("it backs off", || {
        last = get(at, "/");
        assert_eq!(last.status, 503);
        last.reason() == "backoff"
    });
    assert_eq!(last.header("retry-after"), Some("1"));
    let ending = embly.event("invocation_ended", |event| event["reason"] == "backoff");
    let detail = ending["detail"].as_str().unwrap();
    assert!(
        detail.contains("the fork server fails at each start"),
        "{detail}"
    );
    // Many requests are few attempts.
    let before = Instant::now();
    let mut refused = 0;
    while before.elapsed() < Duration::from_secs(1) {
        refused += usize::from(get(at, "/").reason() == "backoff");
    }
    assert!(refused > 50, "{refused}");
    std::fs::rename(&hidden, &artefact).unwrap();
    eventually("it comes back by itself", || get(at, "/").status == 200);
}

#[test]
fn a_spawner_that_gives_too_little_does_not_turn_a_function_off_for_others() {
    let project = Project::unparked().guest("starves").guest("hello");
    let embly = Embly::run(&project.http("starves").http("hello"));
    let endings = get(embly.at("starves"), "/").text();
    assert_eq!(endings, "memory ".repeat(8));
    let answer = get(embly.at("hello"), "/");
    assert_eq!((answer.status, answer.reason()), (200, ""));
}
