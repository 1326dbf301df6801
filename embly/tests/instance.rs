//! Each invocation has an instance of its own, whenever it was made.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::{Embly, Project, get};

/// Counts in a global and in memory, and answers with both digits. `start` is a start section,
/// or nothing; `pages` is the memory that it begins with.
fn counter(start: &str, pages: u32) -> String {
    format!(
        r#"(module
          (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") {pages})
          (global $count (mut i32) (i32.const 48))
          (data (i32.const 1024) "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n00")
          (func $first (global.set $count (i32.const 52)))
          {start}
          (func (export "_start")
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (i32.store8 (i32.const 1062) (global.get $count))
            (i32.store8 (i32.const 1063)
              (i32.add (i32.load8_u (i32.const 1063)) (i32.const 1)))
            (drop (call $write (i32.const 1) (i32.const 1024) (i32.const 40) (i32.const 0)))))"#
    )
}

#[test]
fn no_invocation_sees_what_another_has_written() {
    let embly = Embly::run(
        &Project::new()
            .wat("counter", &counter("", 1))
            .http("counter"),
    );
    for _ in 0..5 {
        assert_eq!(get(embly.at("counter"), "/").text(), "11");
    }
}

#[test]
fn a_start_section_runs_once_in_each_invocation() {
    let module = counter("(start $first)", 1);
    let embly = Embly::run(&Project::new().wat("starts", &module).http("starts"));
    for _ in 0..5 {
        assert_eq!(get(embly.at("starts"), "/").text(), "51");
    }
}

#[test]
fn a_start_section_can_call_the_host() {
    let module = r#"(module
        (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 1024) "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
        (func $first
            (drop (call $write (i32.const 1) (i32.const 1024) (i32.const 43) (i32.const 0))))
        (start $first)
        (func (export "_start")))"#;
    let embly = Embly::run(&Project::new().wat("early", module).http("early"));
    for _ in 0..2 {
        assert_eq!(get(embly.at("early"), "/").text(), "early");
    }
}

#[test]
fn a_start_section_that_traps_is_a_trap_of_its_invocation() {
    let module = r#"(module (func $f unreachable) (start $f) (func (export "_start")))"#;
    let embly = Embly::run(&Project::new().wat("traps", module).http("traps"));
    for _ in 0..2 {
        let response = get(embly.at("traps"), "/");
        assert_eq!((response.status, response.reason()), (500, "trap"));
    }
}

#[test]
fn a_module_that_begins_with_more_memory_than_allowed_does_not_run() {
    let limit = "    limits: {memory: 128KiB}";
    for start in ["", "(start $first)"] {
        let module = counter(start, 3);
        let embly = Embly::run(
            &Project::new()
                .wat_with("large", &module, limit)
                .http("large"),
        );
        let response = get(embly.at("large"), "/");
        assert_eq!(
            (response.status, response.reason()),
            (500, "memory"),
            "{start}"
        );
    }
}

#[test]
fn data_outside_of_the_memory_is_a_trap_of_its_invocation() {
    let module = r#"(module (memory (export "memory") 1)
        (data (i32.const 65536) "x") (func (export "_start")))"#;
    let embly = Embly::run(&Project::new().wat("outside", module).http("outside"));
    for _ in 0..2 {
        let response = get(embly.at("outside"), "/");
        assert_eq!((response.status, response.reason()), (500, "trap"));
    }
}

#[test]
fn a_stack_that_overflows_is_a_trap_of_its_invocation() {
    let module = r#"(module (func $f (call $f) (call $f)) (export "_start" (func $f)))"#;
    let embly = Embly::run(&Project::new().wat("deep", module).http("deep"));
    for _ in 0..2 {
        let response = get(embly.at("deep"), "/");
        assert_eq!((response.status, response.reason()), (500, "trap"));
    }
    let detail = embly.ending("deep")["detail"].to_string();
    assert!(detail.contains("stack"), "{detail}");
}
