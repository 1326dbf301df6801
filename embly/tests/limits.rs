//! Limits that hold back whom they are meant for, and nobody else.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::Write;

use support::client::{Connection, connect};
use support::process::descriptors;
use support::{Embly, Project, eventually, get};

#[test]
fn a_client_that_takes_nothing_is_given_up_at_idle() {
    let idle = "    limits: {idle: 500ms}";
    let project = Project::new().guest_with("pours", idle);
    let project = project
        .gateway("web", "http", "pours")
        .gateway("raw", "tcp", "pours");
    let embly = Embly::run(&project);
    get(embly.at("web"), "/?1");
    let before = descriptors(embly.pid());
    let stuck: Vec<_> = ["web", "raw", "web", "raw"]
        .map(|gateway| {
            let mut client = connect(embly.at(gateway));
            client
                .write_all(b"GET /?50000000 HTTP/1.1\r\nhost: x\r\n\r\n")
                .unwrap();
            client
        })
        .into();
    eventually("all have been started", || {
        descriptors(embly.pid()) >= before + stuck.len()
    });
    // The clients are there all the time, and hold nothing.
    eventually("their connections are closed", || {
        descriptors(embly.pid()) <= before
    });
    drop(stuck);
}

/// `_spawn_with` with so many bytes of options; answers with the errno, as three digits.
fn spawns_with(bytes: u32) -> String {
    format!(
        r#"(module
          (import "embly" "_spawn_with" (func $spawn (param i32 i32 i32) (result i32)))
          (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 8)
          (data (i32.const 0) "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n000")
          (func (export "_start") (local $errno i32)
            (local.set $errno (call $spawn (i32.const 1024) (i32.const {bytes}) (i32.const 512)))
            (i32.store8 (i32.const 40) (i32.add (i32.const 48)
              (i32.rem_u (local.get $errno) (i32.const 10))))
            (i32.store8 (i32.const 39) (i32.add (i32.const 48)
              (i32.div_u (local.get $errno) (i32.const 10))))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 41) (i32.const 512)))))"#
    )
}

#[test]
fn options_that_are_too_long_are_an_errno_of_the_caller() {
    let project = Project::new()
        .wat("long", &spawns_with(32 * 1024 + 1))
        .wat("broken", &spawns_with(3))
        .http("long")
        .http("broken");
    let embly = Embly::run(&project);
    assert_eq!(get(embly.at("long"), "/").text(), "001", "E2BIG");
    assert_eq!(get(embly.at("broken"), "/").text(), "028", "EINVAL");
}

#[test]
fn a_host_that_connection_names_is_still_a_host() {
    let embly = Embly::run(&Project::new().guest("shows").http("shows"));
    let mut connection = Connection::new(embly.at("shows"));
    connection.send("GET / HTTP/1.1\r\nhost: example\r\nconnection: close, host\r\n\r\n");
    let (bytes, _) = connection.rest();
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    assert!(text.contains("host: example"), "{text}");
}

#[test]
fn a_parent_that_is_busy_is_not_blamed_for_children_that_write_single_bytes() {
    let child = r#"(module
      (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start") (local $left i32)
        (local.set $left (i32.const 16384))
        (loop $next
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
          (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))"#;
    // Starts 60 children, computes until the clock says that 3 s are over, and answers.
    let parent = r#"(module
      (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (import "embly" "_spawn" (func $spawn (param i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "clock_time_get"
        (func $clock (param i32 i64 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "child")
      (data (i32.const 64) "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
      (func (export "_start") (local $left i32) (local $until i64)
        (local.set $left (i32.const 60))
        (loop $next
          (drop (call $spawn (i32.const 0) (i32.const 5) (i32.const 32)))
          (br_if $next (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 40)))
        (local.set $until (i64.add (i64.load (i32.const 40)) (i64.const 3000000000)))
        (loop $busy
          (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 40)))
          (br_if $busy (i64.lt_u (i64.load (i32.const 40)) (local.get $until))))
        (drop (call $write (i32.const 1) (i32.const 64) (i32.const 42) (i32.const 32)))))"#;
    let project = Project::new().wat("child", child).wat("parent", parent);
    let embly = Embly::run(&project.http("parent"));
    assert_eq!(get(embly.at("parent"), "/").text(), "fine");
    assert_eq!(embly.ending("parent")["reason"], "ok");
}
