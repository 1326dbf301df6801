//! `isolation: function`: a process serves one invocation after the other, and none of them can
//! tell.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeSet;
use std::thread;

use rustix::process::Signal;

use support::client::{Response, pause, request, script, write};
use support::process::{Process, time_until_gone};
use support::{Embly, Project, Session, eventually, get};

const SLEPT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nslept";

fn run(guest: &str, keys: &str) -> Embly {
    let keys = format!("    isolation: function\n{keys}");
    Embly::run(&Project::new().guest_with(guest, &keys).http(guest))
}

/// The wrappers of a function, once they are so many and stay.
fn wrappers(embly: &Embly, function: &str, count: usize) -> Vec<Process> {
    let mut found = Vec::new();
    eventually("so many processes", || {
        found = embly.wrappers(function);
        pause(20, "one may be about to end");
        found.len() == count && found == embly.wrappers(function)
    });
    found
}

fn ask(embly: &Embly, steps: &str) -> Response {
    request(embly.at("script"), script(steps))
}

#[test]
fn one_process_serves_one_request_after_the_other() {
    let embly = run("hello", "    parked: {min: 3, max: 3}");
    let mut session = Session::new(embly.at("hello"));
    session.get("/").unwrap();
    let before = wrappers(&embly, "hello", 3);
    for _ in 0..300 {
        assert_eq!(session.get("/").unwrap().status, 200);
    }
    // A client may be back before its last invocation has ended, and is served by another.
    let after = wrappers(&embly, "hello", 3);
    assert!(before.iter().any(|process| after.contains(process)));
    let addresses: BTreeSet<_> = (0..300)
        .map(|n| embly.nth_event("invocation_ended", n, |_| true)["address"].to_string())
        .collect();
    assert_eq!(addresses.len(), 300, "each is an invocation of its own");
}

/// Looks at all that a guest can leave behind, says what it has found, and leaves it all behind.
const LEAVES_TRACES: &str = r#"(module
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (table $table 4 funcref)
  (global $global (mut i64) (i64.const 7))
  (data (i32.const 1024) "HTTP/1.1 200 OK\0d\0acontent-length: 5\0d\0a\0d\0afresh")
  (data $passive "\01\02\03\04")
  (elem declare func $write)
  (func $stale
    (i32.store (i32.const 1062) (i32.const 0x6c617473)))
  (func (export "_start") (local $at i32)
    ;; What one would have left.
    (if (i32.ne (memory.size) (i32.const 1)) (then (call $stale)))
    (if (i64.ne (global.get $global) (i64.const 7)) (then (call $stale)))
    (if (i32.eqz (ref.is_null (table.get $table (i32.const 2)))) (then (call $stale)))
    (if (i32.ne (table.size $table) (i32.const 4)) (then (call $stale)))
    (local.set $at (i32.const 4096))
    (loop $next
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (call $stale)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 65536))))
    ;; The CPU time of this process, which has used more than that after a few of them.
    (drop (call $clock (i32.const 2) (i64.const 0) (i32.const 256)))
    (if (i64.gt_u (i64.load (i32.const 256)) (i64.const 5000000)) (then (call $stale)))
    ;; It traps where the segment was dropped.
    (memory.init $passive (i32.const 512) (i32.const 0) (i32.const 4))
    (drop (call $write (i32.const 1) (i32.const 1024) (i32.const 43) (i32.const 0)))
    ;; What this one leaves.
    (drop (memory.grow (i32.const 20)))
    (memory.fill (i32.const 0) (i32.const 0xaa) (i32.const 1000000))
    (global.set $global (i64.const 9))
    (table.set $table (i32.const 2) (ref.func $write))
    (drop (table.grow $table (ref.null func) (i32.const 100)))
    (data.drop $passive)))"#;

#[test]
fn nothing_of_an_invocation_is_found_by_the_next() {
    is_always_fresh(LEAVES_TRACES);
}

/// The room that is reserved beforehand is for one memory and one table.
#[test]
fn nothing_is_found_either_where_there_are_several_memories_and_tables() {
    let more = LEAVES_TRACES
        .replace(
            "(table $table 4 funcref)",
            "(table $table 4 funcref) (table $more 4 funcref) (memory $more 1)",
        )
        .replace(
            "(local.set $at (i32.const 4096))",
            "(local.set $at (i32.const 4096))
             (if (i32.load $more (i32.const 0)) (then (call $stale)))
             (if (i32.eqz (ref.is_null (table.get $more (i32.const 1)))) (then (call $stale)))
             (i32.store $more (i32.const 0) (i32.const 1))
             (table.set $more (i32.const 1) (ref.func $write))",
        );
    is_always_fresh(&more);
}

fn is_always_fresh(text: &str) {
    let keys = "    isolation: function\n    parked: {max: 1}";
    let project = Project::new().wat_with("traces", text, keys);
    let embly = Embly::run(&project.http("traces"));
    let mut session = Session::new(embly.at("traces"));
    for _ in 0..200 {
        assert_eq!(session.get("/").unwrap().text(), "fresh");
    }
    for _ in 0..5 {
        let process = wrappers(&embly, "traces", 1);
        assert_eq!(session.get("/").unwrap().text(), "fresh");
        assert_eq!(wrappers(&embly, "traces", 1), process, "it was this one");
    }
}

#[test]
fn after_any_ending_but_an_exit_with_0_the_process_is_another() {
    let embly = run("script", "    parked: {max: 1}");
    let answer = write(SLEPT);
    assert_eq!(ask(&embly, &answer).text(), "slept");
    for (steps, reason) in [
        ("trap".to_owned(), "trap"),
        ("panic no luck".to_owned(), "trap"),
        (format!("{answer}; exit 3"), "exit"),
        (format!("{answer}; trap"), "trap"),
        ("eat".to_owned(), "memory"),
    ] {
        let before = wrappers(&embly, "script", 1);
        ask(&embly, &steps);
        let ended = embly.event("invocation_ended", |event| event["reason"] == reason);
        assert_eq!(ended["function"], "script");
        time_until_gone(&before);
        assert_eq!(ask(&embly, &answer).text(), "slept", "after {steps}");
    }
}

#[test]
fn a_process_is_replaced_after_so_many_invocations_and_at_its_age() {
    for reuse in ["{invocations: 3}", "{age: 300ms}"] {
        let embly = run(
            "hello",
            &format!("    reuse: {reuse}\n    parked: {{max: 1}}"),
        );
        get(embly.at("hello"), "/");
        let first = wrappers(&embly, "hello", 1);
        get(embly.at("hello"), "/");
        assert_eq!(wrappers(&embly, "hello", 1), first);
        pause(300, "it gets old");
        get(embly.at("hello"), "/");
        time_until_gone(&first);
        assert_eq!(get(embly.at("hello"), "/").status, 200);
    }
}

#[test]
fn limits_and_accounts_begin_anew_with_each_invocation() {
    let embly = run("script", "    limits: {cpu: 200ms}\n    parked: {max: 1}");
    let answer = write(SLEPT);
    assert_eq!(ask(&embly, &answer).text(), "slept");
    let process = wrappers(&embly, "script", 1);
    for n in 1..=8 {
        let steps = format!("burn 100; {answer}");
        assert_eq!(ask(&embly, &steps).text(), "slept");
        let ended = embly.nth_event("invocation_ended", n, |_| true);
        let cpu = ended["cpu_us"].as_u64().unwrap();
        assert!((5_000..190_000).contains(&cpu), "{cpu} µs of CPU time");
    }
    assert_eq!(wrappers(&embly, "script", 1), process, "it was one process");
    let ended = ask(&embly, "burn 5000");
    assert_eq!((ended.status, ended.reason()), (504, "cpu"));
    assert_eq!(ask(&embly, &answer).text(), "slept");
}

#[test]
fn each_invocation_that_runs_has_a_process_and_a_kill_takes_one_along() {
    let embly = run("sleeps", "");
    let at = embly.at("sleeps");
    get(at, "/0");
    let answers: Vec<_> = (0..6)
        .map(|_| thread::spawn(move || get(at, "/700")))
        .collect();
    embly.nth_event("log", 6, |event| event["line"] == "begun");
    let begun = embly.wrappers("sleeps");
    assert!(begun.len() >= 6, "{begun:?}");
    // One of them, or one that waits.
    begun[0].signal(Signal::KILL);
    let killed = answers
        .into_iter()
        .map(|answer| answer.join().unwrap())
        .filter(|answer| answer.status != 200)
        .map(|answer| assert_eq!(answer.reason(), "killed"))
        .count();
    assert!(killed <= 1);
    for _ in 0..20 {
        assert_eq!(get(at, "/0").text(), "slept");
    }
}

#[test]
fn what_was_meant_for_the_last_invocation_does_not_reach_the_next() {
    // It leaves a child that says something all the time, and a request body that it has not read.
    let keys = "    isolation: function\n    parked: {max: 1}";
    let project = Project::new()
        .guest_with("leaves-a-child", keys)
        .guest("loops")
        .guest_with("script", keys)
        .http("leaves-a-child")
        .http("script");
    let embly = Embly::run(&project);
    for _ in 0..20 {
        assert_eq!(get(embly.at("leaves-a-child"), "/").text(), "left");
    }
    let answer = write(SLEPT);
    let body = "x".repeat(100_000);
    let head = script(&answer).replace("x-do", &format!("content-length: {}\r\nx-do", body.len()));
    for _ in 0..50 {
        let unread = request(embly.at("script"), format!("{head}{body}"));
        assert_eq!(unread.text(), "slept");
        // It reads to the end of what it is sent, which is nothing more.
        let reads = ask(&embly, &format!("read; {answer}"));
        assert_eq!(reads.text(), "slept");
    }
}

#[test]
fn a_stopped_master_leaves_none_of_them() {
    let mut embly = run("hello", "    parked: {min: 4}");
    for _ in 0..50 {
        get(embly.at("hello"), "/");
    }
    embly.stops_with_nothing_left();
}
