//! How a request ends when its function does not answer as it should: what the client gets,
//! and what the report says.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::time::{Duration, Instant};

use support::client::{self, Response, script, write};
use support::{Embly, Project, get};

const OK: &str = "HTTP/1.1 200 OK\r\n";

/// What the client of `script` with these steps gets, and how the invocation ended.
fn after(steps: &str) -> (Response, serde_json::Value) {
    after_with(steps, "")
}

fn after_with(steps: &str, keys: &str) -> (Response, serde_json::Value) {
    let embly = Embly::run(&Project::new().guest_with("script", keys).http("script"));
    let response = client::request(embly.at("script"), script(steps));
    (response, embly.ending("script"))
}

/// The step that writes a head for a body of this length, with the beginning of it.
fn begin(length: usize, body: &str) -> String {
    write(format!("{OK}content-length: {length}\r\n\r\n{body}"))
}

#[test]
fn a_trap_answers_500() {
    let embly = Embly::run(
        &Project::new()
            .wat(
                "traps",
                r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#,
            )
            .http("traps"),
    );
    let response = get(embly.at("traps"), "/");
    assert_eq!((response.status, response.reason()), (500, "trap"));
    let ending = embly.ending("traps");
    assert_eq!(ending["reason"], "trap");
    let detail = ending["detail"].as_str().unwrap();
    assert!(detail.contains("unreachable"), "{detail}");
}

#[test]
fn an_exit_code_answers_500_and_is_reported() {
    let (response, ending) = after("exit 3");
    assert_eq!((response.status, response.reason()), (500, "exit"));
    assert_eq!(
        (&ending["reason"], &ending["code"]),
        (&"exit".into(), &3.into())
    );
}

#[test]
fn more_memory_than_allowed_answers_500_with_its_reason() {
    let (response, ending) = after_with("eat", "    limits: {memory: 8MiB}");
    assert_eq!((response.status, response.reason()), (500, "memory"));
    let detail = ending["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("limit `memory` reached: 8MiB, "),
        "{detail}"
    );
}

#[test]
fn an_endless_loop_ends_at_the_limit_cpu_with_504() {
    let since = Instant::now();
    let (response, ending) = after_with("spin", "    limits: {cpu: 200ms}");
    assert_eq!((response.status, response.reason()), (504, "cpu"));
    assert_eq!(ending["reason"], "cpu");
    let used = ending["cpu_us"].as_u64().unwrap();
    assert!((150_000..1_500_000).contains(&used), "{used} µs");
    assert!(since.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_sleeping_function_ends_at_the_limit_wall_with_504() {
    let (response, ending) = after_with("sleep 60000", "    limits: {wall: 300ms}");
    assert_eq!((response.status, response.reason()), (504, "wall"));
    assert_eq!(ending["reason"], "wall");
    // It counts from the request, not from the process.
    let time = |field: &str| ending[field].as_u64().unwrap();
    let run = time("start_us") + time("run_us");
    assert!((250_000..2_000_000).contains(&run), "{run} µs");
}

#[test]
fn the_limit_wall_does_not_count_after_the_head() {
    let steps = format!("{}; sleep 500; {}", begin(4, "ab"), write("cd"));
    let (response, ending) = after_with(&steps, "    limits: {wall: 300ms}");
    assert_eq!((response.status, response.text().as_str()), (200, "abcd"));
    assert_eq!(ending["reason"], "ok");
}

#[test]
fn silence_after_the_head_ends_at_the_limit_idle_with_a_cut() {
    let steps = format!("{}; sleep 60000", begin(4, "ab"));
    let (response, ending) = after_with(&steps, "    limits: {idle: 300ms}");
    assert_eq!((response.status, response.complete), (200, false));
    assert_eq!(ending["reason"], "idle");
}

#[test]
fn no_output_answers_502() {
    for steps in ["exit 0", "close; sleep 60000"] {
        let (response, ending) = after(steps);
        assert_eq!((response.status, response.reason()), (502, "no_response"));
        assert_eq!(ending["reason"], "no_response", "{steps}");
    }
}

#[test]
fn half_a_head_answers_502() {
    for end in ["exit 0", "close; sleep 60000"] {
        let (response, ending) = after(&format!("{}; {end}", write(&OK[..14])));
        assert_eq!((response.status, response.reason()), (502, "bad_response"));
        assert_eq!(ending["reason"], "bad_response", "{end}");
    }
}

#[test]
fn a_body_shorter_than_its_length_cuts_the_connection() {
    for end in ["exit 0", "close; sleep 60000"] {
        let (response, ending) = after(&format!("{}; {end}", begin(9, "abc")));
        assert_eq!((response.status, response.complete), (200, false));
        assert_eq!(ending["reason"], "bad_response", "{end}");
    }
}

#[test]
fn a_chunked_body_without_its_last_chunk_cuts_the_connection() {
    let half = write(format!(
        "{OK}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
    ));
    let (response, ending) = after(&half);
    assert_eq!((response.status, response.complete), (200, false));
    assert_eq!(ending["reason"], "bad_response");
}

#[test]
fn what_is_not_http_answers_502() {
    for bytes in ["hello\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "\x16\x03\x01"] {
        let (response, ending) = after(&write(bytes));
        assert_eq!((response.status, response.reason()), (502, "bad_response"));
        assert_eq!(ending["reason"], "bad_response", "{bytes:?}");
    }
}

#[test]
fn a_trap_after_the_head_cuts_the_connection() {
    let chunked = write(format!(
        "{OK}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
    ));
    let until_the_end = write(format!("{OK}\r\nabc"));
    for head in [begin(9, "abc"), chunked, until_the_end] {
        // Time for the head to be sent on.
        let (response, ending) = after(&format!("{head}; sleep 100; trap"));
        assert_eq!((response.status, response.complete), (200, false), "{head}");
        assert_eq!(ending["reason"], "trap");
    }
}

#[test]
fn a_trap_after_the_head_shows_to_an_http_1_0_client() {
    let embly = Embly::run(&Project::new().guest("script").http("script"));
    let steps = format!("{}; sleep 100; trap", write(format!("{OK}\r\nabc")));
    let mut connection = client::Connection::new(embly.at("script"));
    connection.send(format!("GET / HTTP/1.0\r\nx-do: {steps}\r\n\r\n"));
    assert_eq!(connection.head().status, 200);
    let (_, in_order) = connection.rest();
    assert!(
        !in_order,
        "without a length, a close in order looks complete"
    );
}

#[test]
fn an_error_of_a_handler_answers_500_and_its_text_is_in_the_log() {
    let project = Project::new()
        .guest("fails")
        .guest("fails-caught")
        .http("fails")
        .http("fails-caught");
    let embly = Embly::run(&project);
    for (function, reason, ending) in [("fails", "exit", "exit"), ("fails-caught", "", "ok")] {
        let response = get(embly.at(function), "/");
        assert_eq!((response.status, response.reason()), (500, reason));
        assert!(!response.text().contains("dog"), "{}", response.text());
        assert_eq!(embly.ending(function)["reason"], ending);
        let log = embly.event("log", |event| event["function"] == function);
        assert_eq!(log["line"], "error: the dog ate it");
    }
}

#[test]
fn an_error_of_a_handler_after_the_head_cuts_the_connection() {
    let embly = Embly::run(&Project::new().guest("fails-late").http("fails-late"));
    let response = get(embly.at("fails-late"), "/");
    assert_eq!((response.status, response.complete), (200, false));
    assert_eq!(response.text(), "so far, so ");
}

#[test]
fn errors_are_json_or_a_page_for_who_asks_for_it_and_text_for_others() {
    let embly = Embly::run(&Project::new().guest("panics").http("panics"));
    let ask = |accept: &str| {
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{accept}\r\n");
        client::request(embly.at("panics"), head)
    };
    let json = ask("accept: application/json\r\n");
    assert_eq!(json.header("content-type"), Some("application/json"));
    let body: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(
        (&body["error"], &body["status"]),
        (&"trap".into(), &500.into())
    );
    assert_eq!(body["request_id"], json.header("x-request-id").unwrap());
    let page = "<h1>500 Internal Server Error</h1>";
    let text = "500 Internal Server Error\n\ntrap\nrequest ";
    for (accept, kind, begins) in [
        (
            "accept: text/html, application/json;q=0.5\r\n",
            "text/html",
            page,
        ),
        ("", "text/plain", text),
        ("accept: */*\r\n", "text/plain", text),
    ] {
        let answer = ask(accept);
        let kind = format!("{kind}; charset=utf-8");
        assert_eq!(answer.header("content-type"), Some(&*kind));
        let id = answer.header("x-request-id").unwrap();
        let text = answer.text();
        assert!(text.contains(begins) && text.contains(id), "{text}");
    }
}

#[test]
fn only_dev_tells_a_client_what_went_wrong() {
    let project = Project::new().guest("panics").http("panics");
    let shown = |embly: &Embly, accept: &str| {
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{accept}\r\n");
        client::request(embly.at("panics"), head)
            .text()
            .contains("no luck")
    };
    let (run, dev) = (Embly::run(&project), Embly::dev(&project));
    for accept in ["", "accept: application/json\r\n"] {
        assert!(!shown(&run, accept));
        assert!(shown(&dev, accept));
    }
}
