//! Children that were started `detached`: they outlive their parent, not their own limits.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use rustix::process::Signal;
use support::{Embly, Project, eventually, get, wrappers};

/// `detached: true` in [`SpawnOptions`](protos::SpawnOptions).
const DETACHED: &str = "\\20\\01";

/// `limits: {wall: 500ms}`, which is 500,000 microseconds.
const WALL: &str = "\\2a\\04\\30\\a0\\c2\\1e";

/// Starts `child` with `_spawn_with` and these options, sends it `task`, answers, and ends.
fn leaves(child: &str, options: &str, task: &str) -> String {
    // The name is the first field. Each byte of the others is written with three characters.
    let options_len = 2 + child.len() + options.len() / 3;
    let options = format!("\\0a\\{:02x}{child}{options}", child.len());
    let task_len = task.len();
    let task = task.replace("\r\n", "\\0d\\0a");
    format!(
        r#"(module
          (import "embly" "_spawn_with" (func $spawn (param i32 i32 i32) (result i32)))
          (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "{options}")
          (data (i32.const 256) "{task}")
          (data (i32.const 512) "HTTP/1.1 200 OK\0d\0aContent-Length: 4\0d\0a\0d\0aleft")
          (func (export "_start")
            (if (call $spawn (i32.const 0) (i32.const {options_len}) (i32.const 1024))
              (then unreachable))
            (drop (call $write (i32.load (i32.const 1024))
              (i32.const 256) (i32.const {task_len}) (i32.const 1028)))
            (drop (call $write (i32.const 1)
              (i32.const 512) (i32.const 42) (i32.const 1028)))))"#
    )
}

#[test]
fn a_detached_child_outlives_its_parent_and_others_do_not() {
    let task = "x-do: say begun; sleep 1000; say still here\r\n\r\n";
    let project = Project::unparked()
        .wat("leaves", &leaves("script", DETACHED, task))
        .wat("abandons-it", &leaves("script", "", task))
        .guest("script");
    let embly = Embly::run(&project.http("leaves").http("abandons-it"));
    assert_eq!(get(embly.at("leaves"), "/").text(), "left");
    let parent = embly.ending("leaves");
    let child = embly.event("invocation_started", |event| event["function"] == "script");
    assert_eq!(child["parent"], parent["address"]);
    let said = embly.event("log", |event| event["line"] == "still here");
    assert_eq!(said["address"], child["address"]);
    assert_eq!(
        said["request_id"], parent["request_id"],
        "it is still of that request"
    );
    let ended = embly.event("invocation_ended", |event| {
        event["address"] == child["address"]
    });
    assert_eq!(ended["reason"], "ok");
    let after = |kind: &str, address: &serde_json::Value| {
        let is = |event: &serde_json::Value| event["event"] == kind && event["address"] == *address;
        embly.events().iter().position(is).unwrap()
    };
    let end = "invocation_ended";
    assert!(after(end, &child["address"]) > after(end, &parent["address"]));

    assert_eq!(get(embly.at("abandons-it"), "/").text(), "left");
    embly.event(end, |event| event["reason"] == "parent_ended");
    eventually("no process is left", || wrappers(&embly).is_empty());
}

#[test]
fn a_detached_child_ends_at_its_own_limits() {
    let task = "x-do: sleep 60000\r\n\r\n";
    let project = Project::unparked()
        .wat("leaves", &leaves("script", DETACHED, task))
        .guest_with("script", "    limits: {wall: 500ms, concurrency: 2}")
        .http("leaves");
    let embly = Embly::run(&project);
    for _ in 0..2 {
        assert_eq!(get(embly.at("leaves"), "/").text(), "left");
    }
    for n in 0..2 {
        let ended = embly.nth_event("invocation_ended", n, |event| event["function"] == "script");
        assert_eq!(ended["reason"], "wall", "{ended}");
    }
    eventually("no process is left", || wrappers(&embly).is_empty());
}

#[test]
fn a_spawner_lowers_the_time_of_a_child() {
    let task = "x-do: sleep 60000\r\n\r\n";
    let options = format!("{DETACHED}{WALL}");
    let project = Project::unparked()
        .wat("leaves", &leaves("script", &options, task))
        .guest_with("script", "    limits: {wall: 50s}");
    let embly = Embly::run(&project.http("leaves"));
    assert_eq!(get(embly.at("leaves"), "/").text(), "left");
    let ended = embly.ending("script");
    assert_eq!(ended["detail"], "limit `wall` reached: 500ms", "{ended}");
}

#[test]
fn a_child_that_computes_for_ever_ends_with_its_parent() {
    let task = "x-do: spin\r\n\r\n";
    let limits = "    limits: {cpu: none}";
    let project = Project::unparked()
        .wat("leaves", &leaves("script", "", task))
        .guest_with("script", limits);
    let embly = Embly::run(&project.http("leaves"));
    for n in 0..5 {
        assert_eq!(get(embly.at("leaves"), "/").text(), "left");
        let ended = embly.nth_event("invocation_ended", n, |event| event["function"] == "script");
        assert_eq!(ended["reason"], "parent_ended", "{ended}");
    }
    eventually("no process is left", || wrappers(&embly).is_empty());
}

#[test]
fn a_detached_child_ends_with_the_master() {
    let task = "x-do: say begun; sleep 60000\r\n\r\n";
    let project = Project::unparked()
        .wat("leaves", &leaves("script", DETACHED, task))
        .guest("script")
        .http("leaves");
    let mut embly = Embly::run(&project);
    assert_eq!(get(embly.at("leaves"), "/").text(), "left");
    embly.event("log", |event| event["line"] == "begun");
    embly.signal(Signal::INT);
    embly.event("message", |event| {
        event["text"].as_str().unwrap().starts_with("stopping: ")
    });
    embly.signal(Signal::INT);
    assert_eq!(embly.wait().code(), Some(0));
    assert_eq!(embly.ending("script")["reason"], "shutdown");
}
