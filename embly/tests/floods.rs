//! Functions that send as much as they can of what costs others: they are held back, and nobody
//! else is.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::time::{Duration, Instant};

use support::client::{Connection, pause};
use support::process::peak_memory;
use support::{Embly, Project, eventually, get, wrappers};

/// Starts `nobody`, whether it exists or not, for ever, and reads what comes of it.
const KNOCKS: &str = r#"(module
  (import "embly" "_spawn" (func $spawn (param i32 i32 i32) (result i32)))
  (import "embly" "_events"
    (func $events (param i32 i64 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "nobody")
  (func (export "_start")
    (loop $on
      (if (call $spawn (i32.const 0) (i32.const 6) (i32.const 64))
        (then (drop (call $events
          (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 128) (i32.const 64) (i32.const 72)))))
      (br $on))))"#;

/// Starts five children, and writes single bytes to them, for ever.
const PELTS: &str = r#"(module
  (import "embly" "_spawn" (func $spawn (param i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "sleeps-on")
  (func (export "_start") (local $id i32)
    (local.set $id (i32.const 5))
    (loop $more
      (drop (call $spawn (i32.const 0) (i32.const 9) (i32.const 64)))
      (br_if $more (local.tee $id (i32.sub (local.get $id) (i32.const 1)))))
    (loop $on
      (local.set $id (i32.const 2))
      (loop $each
        (drop (call $write (local.get $id) (i32.const 0) (i32.const 1) (i32.const 64)))
        (local.set $id (i32.add (local.get $id) (i32.const 1)))
        (br_if $each (i32.lt_u (local.get $id) (i32.const 7))))
      (br $on))))"#;

/// Two that send each other single bytes as fast as they can.
const CHATS: &str = r#"(module
  (import "embly" "_spawn" (func $spawn (param i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "echoes")
  (func (export "_start")
    (drop (call $spawn (i32.const 0) (i32.const 6) (i32.const 64)))
    (loop $on
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 64)))
      (drop (call $read (i32.const 2) (i32.const 128) (i32.const 65536) (i32.const 64)))
      (br $on))))"#;

/// The other one: reads all there is, and writes single bytes.
const ECHOES: &str = r#"(module
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $on
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))
      (drop (call $read (i32.const 1) (i32.const 128) (i32.const 65536) (i32.const 64)))
      (br $on))))"#;

/// Sends a request that nobody waits for.
fn begin(embly: &Embly, function: &str) -> Connection {
    let mut connection = Connection::new(embly.at(function));
    connection.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    embly.event("invocation_started", |event| event["function"] == function);
    connection
}

#[test]
fn refused_spawns_without_end_are_held_back_and_hardly_reported() {
    let limits = "    limits: {cpu: none}";
    let project = Project::new()
        .wat_with("knocks", KNOCKS, limits)
        .http("knocks");
    let embly = Embly::start("run", &project, &["--admin-listen", "127.0.0.1:0"]);
    let listening = embly.event("admin_listening", |_| true);
    let url = listening["url"].as_str().unwrap();
    let metrics = url.strip_prefix("http://").unwrap().parse().unwrap();
    let refusals = || -> f64 {
        let text = get(metrics, "/metrics").text();
        let name = "embly_messages_refused_total{function=\"knocks\"} ";
        let mut counts = text.lines().filter_map(|line| line.strip_prefix(name));
        counts.next().unwrap().parse().unwrap()
    };
    let before = peak_memory(embly.pid());
    let since = Instant::now();
    let flood = begin(&embly, "knocks");
    pause(3000, "for a flood that is not held back to go far");
    // Not what it costs, which depends on the machine: 50,000 frames a second are taken, a spawn is as much as 16 of
    // them, and as many may come at once as in the fifth part of a second. Without that there are several times as many.
    let count = refusals();
    let most = (since.elapsed().as_secs_f64() + 0.2) * 50_000.0 / 16.0;
    assert!(count > 1_000.0 && count < 1.1 * most, "{count} of {most}");
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < 8 << 20, "{more} bytes more");
    let refused = |event: &&serde_json::Value| {
        event["event"] == "message" && event["text"].as_str().unwrap().contains("was refused")
    };
    let reported = embly.events().iter().filter(refused).count();
    assert!((10..100).contains(&reported), "{reported} lines");
    drop(flood);
}

#[test]
fn single_bytes_to_children_that_do_not_read_take_bounded_memory() {
    let limits = "    limits: {cpu: none}";
    let project = Project::unparked()
        .wat_with("pelts", PELTS, limits)
        .guest("sleeps-on");
    let embly = Embly::run(&project.http("pelts"));
    let before = peak_memory(embly.pid());
    let flood = begin(&embly, "pelts");
    eventually("six run", || wrappers(&embly).len() == 6);
    pause(1000, "for a flood that is not held back to go far");
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < 8 << 20, "{more} bytes more");
    drop(flood);
}

#[test]
fn neighbours_are_answered_during_a_flood() {
    let limits = "    limits: {cpu: none}";
    let project = Project::new()
        .wat_with("chats", CHATS, limits)
        .wat_with("echoes", ECHOES, limits)
        .wat(
            "nobody",
            r#"(module (memory (export "memory") 1) (func (export "_start")))"#,
        )
        .wat("bombs", KNOCKS)
        .guest("hello");
    let project = project.http("chats").http("bombs").http("hello");
    let embly = Embly::run(&project);
    get(embly.at("hello"), "/");
    let floods = [begin(&embly, "chats"), begin(&embly, "bombs")];
    // Neither the floods nor a loaded machine make it this slow; a thread that is kept busy does.
    let most = Duration::from_secs(2);
    for _ in 0..50 {
        let since = Instant::now();
        assert_eq!(get(embly.at("hello"), "/").text(), "hello");
        assert!(since.elapsed() < most, "{:?}", since.elapsed());
    }
    drop(floods);
}
