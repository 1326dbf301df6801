//! What a function gets from its surroundings, and what keeps a module from running.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::fs;
use std::process::Output;
use std::time::{SystemTime, UNIX_EPOCH};

use support::{Embly, Project, command, get};

/// What the guest `tells` says of `what`.
fn told<'a>(text: &'a str, what: &str) -> &'a str {
    let mut lines = text.lines();
    lines
        .find_map(|line| line.strip_prefix(what))
        .unwrap_or_else(|| panic!("no {what} in {text}"))
}

#[test]
fn a_function_gets_its_name_its_environment_clocks_and_nothing_else() {
    let keys = "    env: {PLAIN: value, FROM: \"${EMBLY_TEST_VALUE}!\"}";
    let project = Project::new().guest_with("tells", keys).http("tells");
    let runtime = tempfile::tempdir().unwrap();
    let mut command = command(&support::arguments("run", project.path()), runtime.path());
    command.env("EMBLY_TEST_VALUE", "outside");
    let embly = Embly::spawn(command, runtime, 1);
    let text = get(embly.at("tells"), "/").text();
    assert_eq!(told(&text, "args="), "tells");
    let env: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("env "))
        .collect();
    assert_eq!(env, ["env FROM=outside!", "env PLAIN=value"]);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let time: u64 = told(&text, "time=").parse().unwrap();
    assert!(now.abs_diff(time) < 60, "{time}");
    let slept: u64 = told(&text, "slept=").parse().unwrap();
    assert!((20..2000).contains(&slept), "{slept} ms");
    assert_eq!(told(&text, "stdin="), "0");
}

#[test]
fn files_and_sockets_are_refused() {
    let embly = Embly::run(&Project::new().guest("tells").http("tells"));
    let text = get(embly.at("tells"), "/").text();
    for what in ["open=", "create=", "list="] {
        assert!(told(&text, what).starts_with("Some("), "{text}");
    }
    assert_eq!(told(&text, "connect="), "true");
}

#[test]
fn every_call_on_files_answers_ebadf() {
    // path_open below descriptor 3, and fd_prestat_get of it: both say 8, and the function traps
    // if they do not.
    let text = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_get"
            (func $prestat (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
        (import "wasi_snapshot_preview1" "sock_recv"
            (func $recv (param i32 i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func $is (param i32 i32) (if (i32.ne (local.get 0) (local.get 1)) (then unreachable)))
        (func (export "_start")
            (call $is (i32.const 8) (call $prestat (i32.const 3) (i32.const 0)))
            (call $is (i32.const 8) (call $close (i32.const 3)))
            (call $is (i32.const 8) (call $open (i32.const 3) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
            (call $is (i32.const 52) (call $recv (i32.const 3) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0)))))"#;
    let embly = Embly::run(&Project::new().wat("files", text).http("files"));
    assert_eq!(get(embly.at("files"), "/").reason(), "no_response");
}

#[test]
fn two_invocations_have_different_randomness() {
    let embly = Embly::run(&Project::new().guest("tells").http("tells"));
    let random = || told(&get(embly.at("tells"), "/").text(), "random=").to_owned();
    assert_ne!(random(), random());
}

#[test]
fn what_a_function_prints_is_its_log() {
    let embly = Embly::run(&Project::new().guest("tells").http("tells"));
    let response = get(embly.at("tells"), "/");
    for (stream, line) in [
        ("stdout", "to the log"),
        ("stderr", "to the log as an error"),
        ("stdout", "without an end of line"),
    ] {
        let log = embly.event("log", |event| event["line"] == line);
        assert_eq!(log["function"], "tells");
        assert_eq!(log["stream"], stream);
        assert_eq!(log["request_id"], response.header("x-request-id").unwrap());
    }
}

#[test]
fn a_bad_pointer_traps() {
    let text = r#"(module
        (import "embly" "_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (drop (call $write (i32.const 1) (i32.const -8) (i32.const 100) (i32.const 0)))))"#;
    let embly = Embly::run(&Project::new().wat("bad", text).http("bad"));
    assert_eq!(get(embly.at("bad"), "/").reason(), "trap");
    let detail = embly.ending("bad")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("100 bytes at 0xfffffff8"), "{detail}");
}

/// What `embly build` says of a project with this one function.
fn built(project: &Project) -> (Option<i32>, String) {
    let runtime = tempfile::tempdir().unwrap();
    let arguments = ["build", project.path().to_str().unwrap()];
    let Output { status, stderr, .. } = command(&arguments, runtime.path()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn modules_that_cannot_run_are_refused_by_name_with_a_hint() {
    let import = |module: &str, name: &str| {
        format!(r#"(module (import "{module}" "{name}" (func)) (func (export "_start")))"#)
    };
    for (text, words) in [
        (
            import("env", "missing"),
            vec!["`env::missing`", "undefined when linking"],
        ),
        (
            import("wasi_unstable", "fd_write"),
            vec!["`wasi_unstable::fd_write`", "wasm32-wasip1"],
        ),
        (
            import("wasi:io/poll@0.2.0", "poll"),
            vec!["`wasi:io/poll@0.2.0::poll`", "preview 2"],
        ),
        (
            import("embly", "_fly"),
            vec!["`embly::_fly`", "newer Embly"],
        ),
        (
            r#"(module (import "a" "b" (func)) (import "c" "d" (func)) (func (export "_start")))"#
                .to_owned(),
            vec!["`a::b`", "`c::d`"],
        ),
        (
            "(module)".to_owned(),
            vec!["no function `_start`", "`main`"],
        ),
        (
            r#"(module (func (export "go")))"#.to_owned(),
            vec!["`entry:`", "`go`"],
        ),
        (
            r#"(module (func (export "_start") (param i32)))"#.to_owned(),
            vec!["`_start` must take and return nothing"],
        ),
        (
            "(module (func (export \"_start\") i32.add))".to_owned(),
            vec!["type mismatch"],
        ),
        ("(module\n  (fun))".to_owned(), vec!["bad.wat:2:4"]),
    ] {
        let (code, said) = built(&Project::new().wat("bad", &text));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("`bad` was not built"), "{said}");
        for word in words {
            assert!(said.contains(word), "{word} is not in: {said}");
        }
    }
}

#[test]
fn a_component_is_refused_with_a_hint() {
    let project = Project::new().wat("bad", "(module)");
    project.edit("bad.wat", "bad.wasm");
    let file = project.path().join("bad.wasm");
    for (bytes, words) in [
        (
            &b"\0asm\x0d\0\x01\0"[..],
            "it is a component (WASI preview 2)",
        ),
        (&b"\x7fELF"[..], "does not begin with `\\0asm`"),
        (&b"\0asm\x01\0\0\0\xff"[..], "not valid WebAssembly"),
        (&b""[..], "does not begin with `\\0asm`"),
    ] {
        fs::write(&file, bytes).unwrap();
        let (code, said) = built(&project);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn another_export_can_be_the_entry() {
    let text = support::project::answering("gone").replace("_start", "go");
    let project = Project::new().wat_with("goes", &text, "    entry: go");
    let embly = Embly::run(&project.http("goes"));
    assert_eq!(get(embly.at("goes"), "/").text(), "gone");
}

#[test]
fn a_start_section_is_guest_code_and_runs_under_the_limits() {
    let text = "(module (func $spin (loop (br 0))) (start $spin) (func (export \"_start\")))";
    let project = Project::new().wat_with("spins", text, "    limits: {cpu: 100ms}");
    let embly = Embly::run(&project.http("spins"));
    assert_eq!(get(embly.at("spins"), "/").reason(), "cpu");
}
