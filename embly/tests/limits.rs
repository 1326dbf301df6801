//! Limits that hold back whom they are meant for, and nobody else.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::Write;

use support::client::{self, Connection, connect};
use support::process::{descriptors, peak_memory};
use support::{Embly, Project, eventually, get};

#[test]
fn a_client_that_takes_nothing_is_given_up_at_idle() {
    let idle = "    limits: {idle: 500ms}";
    let project = Project::unparked().guest_with("pours", idle);
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

#[test]
fn the_limit_total_ends_a_connection_and_a_child_whatever_they_do() {
    let total = "    limits: {total: 500ms}";
    let project = Project::new().guest("spawns").guest_with("script", total);
    let embly = Embly::run(&project.http("spawns").tcp("script"));
    let mut connection = Connection::new(embly.at("script"));
    connection.send("x-do: sleep 60000\r\n\r\n");
    let task = b"x-do: sleep 60000\r\n\r\n";
    let text = client::post(embly.at("spawns"), "/script", task).text();
    assert!(
        text.contains("\nstatus: wall 0 limit `total` reached: 500ms"),
        "{text}"
    );
    assert!(!connection.rest().1, "the connection is reset");
    assert_eq!(embly.ending("script")["reason"], "wall");
}

#[test]
fn a_response_over_the_limit_response_body_is_413_before_its_head_and_cut_after_it() {
    let limit = "    limits: {response_body: 10B}";
    let project = Project::new().guest_with("script", limit).http("script");
    let embly = Embly::run(&project);
    let answer = |head: &str, body: &str| {
        let steps = client::write(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}"));
        client::request(embly.at("script"), client::script(&steps))
    };
    let fits = answer("content-length: 10\r\n", "0123456789");
    assert_eq!((fits.status, fits.text().as_str()), (200, "0123456789"));
    let long = answer("content-length: 11\r\n", "0123456789a");
    assert_eq!((long.status, long.reason()), (413, "too_large"));
    let chunked = "transfer-encoding: chunked\r\n";
    let cut = answer(chunked, "5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n");
    assert_eq!((cut.status, cut.complete), (200, false));
    let reason = |n| embly.nth_event("access", n, |_| true)["reason"].clone();
    assert_eq!(
        (reason(1), reason(2)),
        ("too_large".into(), "too_large".into())
    );
}

#[test]
fn the_limit_tree_refuses_with_eperm() {
    let project = Project::new()
        .guest_with("crowds", "    limits: {tree: 5}")
        .guest("script")
        .http("crowds");
    let embly = Embly::run(&project);
    let text = get(embly.at("crowds"), "/").text();
    assert!(text.starts_with("5 "), "{text}");
    assert!(
        text.contains("refused (code 63): limit `tree` reached"),
        "{text}"
    );
}

#[test]
fn the_smallest_window_is_enough_for_any_amount_on_either_side() {
    let small = "    limits: {window: 4KiB}";
    for (parent, child) in [(small, small), (small, ""), ("", small)] {
        let project = Project::new()
            .guest_with("feeds", parent)
            .guest_with("echo", child);
        let embly = Embly::run(&project.http("feeds"));
        assert_eq!(get(embly.at("feeds"), "/?2,300000").text(), "600000");
    }
}

#[test]
fn lines_over_the_limit_log_are_dropped_and_counted() {
    let limits = "    limits: {log: {lines: 10/s, line: 100}}";
    let steps = (0..200).map(|n| format!("say {n} {}", "x".repeat(150)));
    let steps: Vec<_> = steps.collect();
    let project = Project::new().guest_with("script", limits).http("script");
    let embly = Embly::run(&project);
    let head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-do: {}\r\n\r\n",
        steps.join("; ")
    );
    client::request(embly.at("script"), head);
    embly.ending("script");
    let lines: Vec<String> = embly
        .events()
        .iter()
        .filter(|event| event["event"] == "log")
        .map(|event| event["line"].as_str().unwrap().to_owned())
        .collect();
    let (notes, said): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line.starts_with("embly: "));
    assert!(said.iter().all(|line| line.len() <= 100));
    let dropped: usize = notes
        .iter()
        .map(|note| note.split(' ').nth(1).unwrap().parse::<usize>().unwrap())
        .sum();
    // Each line is cut in two.
    assert_eq!(said.len() + dropped, 400, "{notes:?}");
    assert!(said.len() < 100, "{} lines", said.len());
}

#[test]
fn a_flood_of_lines_ends_with_its_reason_and_500() {
    let floods = r#"(module
      (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\10\00\00\00\04\00\00\00")
      (data (i32.const 16) "wet\n")
      (func (export "_start")
        (loop $on
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
          (br $on))))"#;
    let limits = "    limits: {log: {lines: 50/s}}";
    let project = Project::new()
        .wat_with("floods", floods, limits)
        .http("floods");
    let embly = Embly::run(&project);
    let response = get(embly.at("floods"), "/");
    assert_eq!((response.status, response.reason()), (500, "flood"));
    let ended = embly.ending("floods");
    assert_eq!(ended["reason"], "flood");
    let detail = ended["detail"].as_str().unwrap();
    assert!(detail.contains("50 lines/s"), "{detail}");
    let ran = ended["run_us"].as_u64().unwrap();
    assert!((5_000_000..8_000_000).contains(&ran), "{ran} µs");
}

#[test]
fn a_table_without_end_is_a_trap_with_the_reason_memory() {
    let bomb = r#"(module
      (memory (export "memory") 1)
      (table $t 1 funcref)
      (func (export "_start")
        (loop $on
          (br_if $on (i32.ne (i32.const -1)
            (table.grow $t (ref.null func) (i32.const 10000)))))
        unreachable))"#;
    let embly = Embly::run(&Project::new().wat("bomb", bomb).http("bomb"));
    let response = get(embly.at("bomb"), "/");
    assert_eq!((response.status, response.reason()), (500, "memory"));
}

/// Answers with single bytes, for ever.
const DRIPS: &str = r#"(module
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_events"
    (func $events (param i32 i64 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "HTTP/1.1 200 OK\r\n\r\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 19) (i32.const 64)))
    (loop $on
      (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64))
        (then (drop (call $events
          (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 72) (i32.const 8) (i32.const 68)))))
      (br $on))))"#;

/// A client that has the head of the answer and reads no more.
fn drip(at: std::net::SocketAddr) -> Connection {
    let mut client = Connection::new(at);
    client.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(client.head().status, 200);
    client
}

#[test]
fn single_bytes_that_nobody_reads_take_bounded_memory() {
    let embly = Embly::run(&Project::new().wat("drips", DRIPS).http("drips"));
    let at = embly.at("drips");
    drip(at);
    let before = peak_memory(embly.pid());
    let clients: Vec<_> = (0..8).map(|_| drip(at)).collect();
    client::pause(2000, "for functions that are not held back to go far");
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < 16 << 20, "{more} bytes more");
    drop(clients);
}

#[test]
fn more_invocations_than_open_files_allow_are_refused() {
    let limits = "    limits: {children: none}";
    let project = Project::new().guest_with("crowds", limits).guest("script");
    let embly = Embly::limited(&project.http("crowds"), "ulimit -n 60");
    let text = get(embly.at("crowds"), "/").text();
    // The first two of the 30 are the client and the parent.
    assert!(text.starts_with("28 "), "{text}");
    let why = "refused (code 6): the machine has no room: its limit on open files allows 30";
    assert!(text.contains(why), "{text}");
}

#[test]
fn more_clients_than_open_files_allow_are_told_so() {
    let project = Project::unparked().guest("echo").guest("script");
    let project = project.tcp("echo").http("script");
    let embly = Embly::limited(&project, "ulimit -n 60");
    // Each takes two of the 30, itself and its invocation.
    let mut live: Vec<_> = (0..15)
        .map(|_| {
            let mut client = Connection::new(embly.at("echo"));
            client.send("x");
            assert_eq!(client.exactly(1), b"x");
            client
        })
        .collect();
    let (_, in_order) = Connection::new(embly.at("echo")).rest();
    assert!(!in_order, "one more is reset");
    let answer = get(embly.at("script"), "/");
    assert_eq!((answer.status, answer.reason()), (503, "overloaded"));
    live.pop();
    eventually("a request fits again", || {
        get(embly.at("script"), "/").status != 503
    });
}

#[test]
fn a_host_call_that_works_for_long_is_ended_from_outside() {
    // 768 MiB of random numbers in one call, again and again.
    let digs = r#"(module
      (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
      (memory (export "memory") 12288)
      (func (export "_start")
        (loop $on
          (drop (call $random (i32.const 0) (i32.const 805306368)))
          (br $on))))"#;
    let limits = "    limits: {memory: 1GiB, cpu: 50ms}";
    let embly = Embly::run(&Project::new().wat_with("digs", digs, limits).http("digs"));
    let response = get(embly.at("digs"), "/");
    assert_eq!((response.status, response.reason()), (504, "cpu"));
    let ended = embly.ending("digs");
    let detail = ended["detail"].as_str().unwrap();
    assert!(detail.contains("seen from outside"), "{ended}");
    let used = ended["cpu_us"].as_u64().unwrap();
    assert!((80_000..150_000).contains(&used), "{used} µs");
}
