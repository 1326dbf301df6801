//! A process that is stopped and continued goes on where it was, whatever it waits for.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::client::connect;
use super::support::project::WAITS;
use super::support::{EMBLY, Embly, PATIENCE, Project, get};
use super::who::{Who, me};

/// Waits on a clock for two seconds, then answers.
const SLEEPS: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "HTTP/1.1 200 OK\0d\0aContent-Length: 4\0d\0a\0d\0adone")
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 2000000000))
    (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 1) (i32.const 256)))
    (drop (call $write (i32.const 1) (i32.const 512) (i32.const 42) (i32.const 256)))))"#;

/// Waits for events with a timeout of two seconds each, twice.
const EVENTS: &str = r#"(module
  (import "embly" "_events"
    (func $events (param i32 i64 i32 i32 i32 i32) (result i32)))
  (import "embly" "_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "HTTP/1.1 200 OK\0d\0aContent-Length: 4\0d\0a\0d\0adone")
  (func (export "_start")
    (drop (call $read (i32.const 1) (i32.const 2048) (i32.const 1024) (i32.const 256)))
    (drop (call $events (i32.const 0) (i64.const 1) (i32.const 0)
      (i32.const 0) (i32.const 4) (i32.const 64)))
    (drop (call $events (i32.const 0) (i64.const 2) (i32.const 0)
      (i32.const 0) (i32.const 4) (i32.const 64)))
    (drop (call $write (i32.const 1) (i32.const 512) (i32.const 42) (i32.const 256)))))"#;

/// Works for a while, growing its memory, then answers.
const WORKS: &str = r#"(module
  (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "HTTP/1.1 200 OK\0d\0aContent-Length: 4\0d\0a\0d\0adone")
  (func (export "_start") (local $n i64)
    (loop $again
      (local.set $n (i64.add (local.get $n) (i64.const 1)))
      (if (i64.eqz (i64.and (local.get $n) (i64.const 0x3ffffff)))
        (then (drop (memory.grow (i32.const 1)))))
      (br_if $again (i64.lt_u (local.get $n) (i64.const 2000000000))))
    (drop (call $write (i32.const 1) (i32.const 512) (i32.const 42) (i32.const 256)))))"#;

/// Answers after a while, though it is stopped and continued all the time.
fn answers_through_stops(embly: &Embly, requests: &[(&str, &str, &str)]) {
    let done = AtomicUsize::new(0);
    let stops = std::thread::scope(|scope| {
        for (function, path, answer) in requests {
            let (at, done) = (embly.at(function), &done);
            scope.spawn(move || {
                let _count = Count(done);
                let response = get(at, path);
                let came = (response.status, response.text());
                assert_eq!(came, (200, (*answer).to_owned()), "{function}");
            });
        }
        let (mut stops, mut pause) = (0, 1);
        let began = Instant::now();
        while done.load(Ordering::Relaxed) < requests.len() {
            assert!(began.elapsed() < PATIENCE);
            let processes = embly.processes();
            for process in &processes {
                process.signal(Signal::STOP);
            }
            // Different lengths meet different moments.
            std::thread::sleep(Duration::from_micros(pause * 97 % 1000));
            for process in &processes {
                process.signal(Signal::CONT);
                stops += 1;
            }
            std::thread::sleep(Duration::from_micros(pause * 89 % 3000));
            pause += 1;
        }
        stops
    });
    assert!(stops > 300, "{stops}");
    // Nobody was ended by it, fork servers neither.
    let ended = embly
        .events()
        .into_iter()
        .filter(|event| event["event"] == "invocation_ended" && event["reason"] != "ok");
    assert_eq!(ended.collect::<Vec<_>>(), Vec::<serde_json::Value>::new());
}

pub fn stop_and_cont_at_any_moment_end_nothing() {
    let project = Project::unparked()
        .wat("sleeps", SLEEPS)
        .wat("events", EVENTS)
        .wat("works", WORKS)
        .wat("waits", WAITS)
        .http("sleeps")
        .http("events")
        .http("works")
        .http("waits");
    let who = Who::me();
    let embly = who.run(Path::new(EMBLY), &project, &[]);
    let mut open = connect(embly.at("waits"));
    open.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let requests = ["sleeps", "events", "works"].map(|function| (function, "/", "done"));
    answers_through_stops(&embly, &requests);
}

pub fn a_wait_that_the_kernel_restarts_goes_on() {
    let project = Project::unparked().wat("hostile", WAITS).http("hostile");
    let who = Who::me();
    let embly = who.run(&me(), &project, &[]);
    let timed_out = format!("Err({})", libc::ETIMEDOUT);
    answers_through_stops(&embly, &[("hostile", "/futex", &timed_out)]);
}

struct Count<'a>(&'a AtomicUsize);

impl Drop for Count<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
