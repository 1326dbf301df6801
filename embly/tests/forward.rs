//! A function that chooses another one for the rest of its request.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::Write;

use support::client::{connect, get, read_response};
use support::{Embly, Project};

fn project() -> Project {
    Project::new()
        .guest("forwards")
        .guest("hello")
        .guest("measures")
        .guest("shows")
        .guest_with("beats", "    env: {CODE: nap}")
        .http("forwards")
}

#[test]
fn the_other_function_answers_and_knows_who_asks() {
    let embly = Embly::run(&project());
    let at = embly.at("forwards");
    let hello = get(at, "/hello");
    assert_eq!((hello.status, &*hello.text()), (200, "hello"));
    let shown = get(at, "/shows?a=b");
    let text = shown.text().to_lowercase();
    assert!(text.starts_with("get /shows?a=b http/1.1\r\n"), "{text}");
    assert!(text.contains("\r\nembly-client: 127.0.0.1\r\n"), "{text}");
    let id = shown.header("x-request-id").unwrap();
    assert!(
        text.contains(&format!("\r\nx-request-id: {id}\r\n")),
        "{text}"
    );
    // Both are invocations of one request.
    let child = embly.event("invocation_ended", |event| event["function"] == "shows");
    assert_eq!(child["request_id"], id);
}

#[test]
fn a_long_body_passes_through_both() {
    let embly = Embly::run(&project());
    let mut client = connect(embly.at("forwards"));
    let length = 8 << 20;
    let head = format!(
        "POST /measures HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(&vec![b'x'; length]).unwrap();
    let response = read_response(client);
    assert_eq!(response.text(), length.to_string());
}

#[test]
fn it_is_held_to_the_limits_that_the_chooser_has_lowered_and_failures_are_told() {
    let embly = Embly::run(&project());
    let at = embly.at("forwards");
    // It would take 2.5 s.
    assert_eq!(get(at, "/beats").status, 500);
    assert_eq!(embly.ending("beats")["reason"], "wall");
    assert_eq!(get(at, "/nobody").status, 500);
    assert_eq!(get(at, "/hello").status, 200);
}
