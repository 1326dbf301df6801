//! HTTP, as a client sees it.

mod support;

use support::{Embly, Project, get};

#[test]
fn a_function_answers_a_request() {
    let embly = Embly::run(&Project::new().guest("hello").http("hello"));
    let response = get(embly.at("hello"), "/");
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(embly.ending("hello")["reason"], "ok");
}

#[test]
fn a_panic_answers_500_and_its_message_and_place_are_in_the_report() {
    let embly = Embly::run(&Project::new().guest("panics").http("panics"));
    let response = get(embly.at("panics"), "/");
    assert_eq!((response.status, response.reason()), (500, "trap"));
    assert!(
        !response.text().contains("no luck"),
        "clients are not told what went wrong"
    );
    let ending = embly.ending("panics");
    let detail = ending["detail"].as_str().unwrap();
    assert!(
        detail.contains("panicked at src/main.rs:") && detail.contains("no luck"),
        "{detail}"
    );
}
