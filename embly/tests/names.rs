//! Invocations that are found by name.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};

use support::client::{connect, get, post};
use support::process::peak_memory;
use support::{Embly, Project, eventually, wrappers};

const BOARD: &str = "    start: true\n    restart: always\n    allow: {register: [board]}";
const VISITS: &str = "    allow: {reach: [board, nobody, registers]}";

/// A master with a `board` that is open, and `visits` in front of it.
fn board() -> Embly {
    let project = Project::unparked()
        .guest_with("board", BOARD)
        .guest_with("visits", VISITS)
        .http("visits");
    let embly = Embly::run(&project);
    opened(&embly, 0);
    embly
}

/// Waits until a host says that it is open, after so many times before.
fn opened(embly: &Embly, before: usize) {
    embly.nth_event("log", before, |event| event["line"] == "open");
}

fn visit(embly: &Embly, name: &str, line: &str) -> String {
    let answer = post(embly.at("visits"), &format!("/{name}"), line.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text()
}

/// The words of a message that has these.
fn said(embly: &Embly, words: &str) -> String {
    let event = embly.event("message", |event| {
        event["text"].as_str().unwrap().contains(words)
    });
    event["text"].as_str().unwrap().to_owned()
}

#[test]
fn who_takes_a_name_is_found_by_it_and_knows_what_others_have_said() {
    let embly = board();
    assert_eq!(
        visit(&embly, "board", "one\n"),
        "answer: one\n\nstatus: ok 0 \n"
    );
    assert_eq!(
        visit(&embly, "board", "two\n"),
        "answer: one\ntwo\n\nstatus: ok 0 \n"
    );
    // Many at once, each of them an invocation of its own.
    let at = embly.at("visits");
    let visitors: Vec<_> = (0..40)
        .map(|_| std::thread::spawn(move || post(at, "/board", b"x").text()))
        .collect();
    for visitor in visitors {
        let text = visitor.join().unwrap();
        assert!(text.ends_with("status: ok 0 \n"), "{text}");
    }
    let all = visit(&embly, "board", "");
    assert_eq!(all.matches('x').count(), 40, "{all}");
    assert_eq!(embly.wrappers("board").len(), 1);
}

#[test]
fn more_visitors_than_a_board_has_room_for_may_come_one_after_the_other() {
    let embly = board();
    // More than the streams that may end unread.
    for n in 0..1200 {
        let text = visit(&embly, "board", "");
        assert_eq!(text, "answer: \nstatus: ok 0 \n", "visit {n}");
    }
}

#[test]
fn a_taken_name_is_eexist_and_free_at_the_end() {
    let allowed = "    allow: {register: [mine]}";
    let project = Project::unparked()
        .guest_with("registers", allowed)
        .guest_with("registers-too", allowed)
        .http("registers")
        .http("registers-too");
    let embly = Embly::run(&project);
    let (one, two) = (embly.at("registers"), embly.at("registers-too"));
    let holder = std::thread::spawn(move || get(one, "/mine?800").text());
    let held =
        |event: &serde_json::Value| event["function"] == "registers" && event["line"] == "held";
    embly.event("log", held);
    let text = get(two, "/mine").text();
    assert!(
        text.contains("another invocation has it (errno 20)"),
        "{text}"
    );
    assert_eq!(holder.join().unwrap(), "mine");
    embly.ending("registers");
    assert_eq!(get(two, "/mine").text(), "mine");
    // Also when it is killed.
    eventually("the name is free", || wrappers(&embly).is_empty());
    let holder = std::thread::spawn(move || {
        let mut client = connect(one);
        client
            .write_all(b"GET /mine?60000 HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        // Cut, which is what this client expects.
        let _ = client.read_to_end(&mut Vec::new());
    });
    embly.nth_event("log", 1, held);
    assert_ne!(get(two, "/mine").text(), "mine");
    embly
        .wrapper("registers")
        .signal(rustix::process::Signal::KILL);
    holder.join().unwrap();
    assert_eq!(get(two, "/mine").text(), "mine");
}

#[test]
fn what_the_project_file_does_not_allow_is_eacces_and_the_log_says_what_to_add() {
    let project = Project::unparked()
        .guest("registers")
        .guest_with("visits", "    allow: {reach: [other]}")
        .guest_with("spawns", "    allow: {spawn: [visits]}")
        .guest("greets")
        .http("registers")
        .http("visits")
        .http("spawns");
    let embly = Embly::run(&project);
    let text = get(embly.at("registers"), "/board").text();
    assert!(
        text.contains("allow: {register") && text.contains("(errno 2)"),
        "{text}"
    );
    said(
        &embly,
        "add `register: [board]` under `allow` of function `registers`",
    );
    let text = visit(&embly, "board", "");
    assert!(text.contains("status: refused 2 "), "{text}");
    said(
        &embly,
        "write `reach: [other, board]` under `allow` of function `visits`",
    );
    let text = post(embly.at("spawns"), "/greets", b"").text();
    assert!(text.contains("status: refused 2 "), "{text}");
    let words = said(
        &embly,
        "write `spawn: [visits, greets]` under `allow` of function `spawns`",
    );
    assert!(words.starts_with("spawns "), "{words}");
}

#[test]
fn a_name_that_nobody_has_is_enoent_and_what_is_no_name_is_refused_at_once() {
    let embly = board();
    let text = visit(&embly, "nobody", "");
    assert!(
        text.contains("status: refused 44 nobody has this name"),
        "{text}"
    );
    let text = visit(&embly, "No_Name", "");
    assert!(
        text.starts_with("not looked up: ") && text.contains("errno 28"),
        "{text}"
    );
    let text = visit(&embly, &"a".repeat(64), "");
    assert!(text.contains("errno 37"), "{text}");
    // One that was given back.
    visit(&embly, "board", "do leave");
    assert!(visit(&embly, "board", "").contains("status: refused 44 "));
    assert_eq!(embly.wrappers("board").len(), 1);
}

#[test]
fn the_ending_of_who_was_found_reaches_the_visitor_and_the_next_one_can_be_found() {
    let embly = board();
    for (n, (step, status)) in [
        ("do trap", "status: trap 0 wasm `unreachable`"),
        ("do exit", "status: exit 3 "),
        ("do end", "status: ok 0 "),
        ("do panic", "status: trap 0 panicked at "),
    ]
    .into_iter()
    .enumerate()
    {
        let text = visit(&embly, "board", step);
        assert!(text.contains(status), "{step}: {text}");
        assert!(
            status.contains("ok") || text.contains("error: the other side ended"),
            "{text}"
        );
        // `restart: always`: another one opens under the same name.
        opened(&embly, n + 1);
        assert_eq!(
            visit(&embly, "board", "new"),
            "answer: new\nstatus: ok 0 \n"
        );
    }
}

#[test]
fn who_monitors_learns_of_the_end_after_the_visit() {
    let project = Project::unparked()
        .guest_with("board", BOARD)
        .guest_with("monitors", "    allow: {reach: [board]}")
        .http("monitors");
    let embly = Embly::run(&project);
    opened(&embly, 0);
    assert_eq!(get(embly.at("monitors"), "/").text(), "exit 3\nexit 3\n");
}

#[test]
fn a_parent_ends_its_child_and_nobody_else() {
    let project = Project::unparked()
        .guest_with("board", BOARD)
        .guest_with("kills", "    allow: {reach: [board]}")
        .guest("script")
        .http("kills");
    let embly = Embly::run(&project);
    opened(&embly, 0);
    assert_eq!(
        get(embly.at("kills"), "/").text(),
        "killed killed by its parent\nagain: killed\nboard: only a parent ends a child (errno 63)\n"
    );
    assert_eq!(embly.ending("script")["reason"], "killed");
    assert_eq!(embly.wrappers("board").len(), 1);
}

#[test]
fn a_detached_child_goes_on_when_its_parent_has_ended() {
    let project = Project::unparked()
        .guest("detaches")
        .guest_with("lingers", "    allow: {register: [lingers]}")
        .guest_with("visits", "    allow: {reach: [lingers]}")
        .http("detaches")
        .http("visits");
    let embly = Embly::run(&project);
    assert_eq!(get(embly.at("detaches"), "/").text(), "here");
    assert_eq!(embly.ending("detaches")["reason"], "ok");
    embly.event("log", |event| event["line"] == "parent: ok");
    let text = visit(&embly, "lingers", "");
    assert_eq!(text, "answer: parent: ok\nstatus: ok 0 \n");
    assert_eq!(embly.ending("lingers")["reason"], "ok");
    eventually("no process is left", || wrappers(&embly).is_empty());
}

#[test]
fn a_detached_child_ends_at_its_own_limits() {
    let project = Project::unparked()
        .guest("detaches")
        .guest_with(
            "lingers",
            "    limits: {wall: 500ms}\n    allow: {register: [lingers]}",
        )
        .http("detaches");
    let embly = Embly::run(&project);
    assert_eq!(get(embly.at("detaches"), "/").text(), "here");
    assert_eq!(embly.ending("lingers")["reason"], "wall");
    eventually("no process is left", || wrappers(&embly).is_empty());
}

#[test]
fn options_of_a_spawn_reach_the_child() {
    let project = Project::unparked().guest("opts").guest("bare").http("opts");
    let embly = Embly::run(&project);
    let text = get(embly.at("opts"), "/").text();
    assert!(
        text.starts_with("bare one two blue; cannot start function `bare`: too many levels"),
        "{text}"
    );
}

#[test]
fn ten_megabytes_go_to_a_host_and_back_in_bounded_memory() {
    let project = Project::unparked()
        .guest_with(
            "echo-host",
            "    start: true\n    allow: {register: [echo-host]}",
        )
        .guest_with("talks", "    allow: {reach: [echo-host]}")
        .http("talks");
    let embly = Embly::run(&project);
    opened(&embly, 0);
    assert_eq!(get(embly.at("talks"), "/?1").text(), "1");
    let before = peak_memory(embly.pid());
    assert_eq!(get(embly.at("talks"), "/?10485760").text(), "10485760");
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < 8 << 20, "{more} bytes more");
}

#[test]
fn names_leave_nothing_behind() {
    let mut embly = board();
    let at = embly.at("visits");
    let visitors: Vec<_> = (0..8)
        .map(|n| {
            std::thread::spawn(move || {
                for step in ["a", "do trap", "b", "do end", "c"] {
                    post(at, "/board", format!("{step}{n}").as_bytes());
                    post(at, "/board", step.as_bytes());
                }
            })
        })
        .collect();
    for visitor in visitors {
        visitor.join().unwrap();
    }
    embly.stops_with_nothing_left();
}
