//! HTTP, as a client sees it.

mod support;

use support::{Embly, Project, get};

#[test]
fn a_function_answers_a_request() {
    let embly = Embly::run(&Project::unparked().guest("hello").http("hello"));
    let response = get(embly.at("hello"), "/");
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(embly.ending("hello")["reason"], "ok");
}

#[test]
fn a_panic_answers_500_and_its_message_and_place_are_in_the_report() {
    let embly = Embly::run(&Project::unparked().guest("panics").http("panics"));
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

#[test]
fn a_wrapper_that_was_not_forked_connects_to_the_masters_socket() {
    let project = Project::unparked().guest("hello").http("hello");
    let embly = Embly::start("run", &project, &["--wrappers", "exec"]);
    for _ in 0..3 {
        assert_eq!(get(embly.at("hello"), "/").text(), "hello");
    }
    support::eventually("no wrapper is left", || embly.processes().is_empty());
}

#[test]
fn who_connects_to_the_wrapper_socket_without_a_reserved_slot_is_turned_away() {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    let embly = Embly::run(&Project::unparked().guest("hello").http("hello"));
    let folder = embly.runtime.path().join("embly");
    let master = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap();
    let mut stream = UnixStream::connect(master.path().join("wrapper.sock")).unwrap();
    stream.write_all(&1u64.to_le_bytes()).unwrap();
    assert_eq!(
        stream.read(&mut [0; 8]).unwrap(),
        0,
        "the connection is closed"
    );
    embly.event("message", |event| {
        event["text"]
            .as_str()
            .unwrap()
            .contains("slot 1 is not reserved")
    });
    assert_eq!(get(embly.at("hello"), "/").text(), "hello");
}
