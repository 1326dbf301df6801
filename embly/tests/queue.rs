//! Requests over the limit `concurrency`: they wait, as long as the limit `queue` allows.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::client::{self, Connection, Response, connect, get, pause, script, write};
use support::{Embly, Project, eventually};

/// A master whose function `script` runs once at a time.
fn one_at_a_time(queue: &str) -> Embly {
    let limits = format!("    limits: {{concurrency: 1, queue: {queue}}}");
    Embly::run(&Project::new().guest_with("script", &limits).http("script"))
}

/// The steps that answer with this text.
fn answers(text: &str) -> String {
    let length = text.len();
    write(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}"
    ))
}

/// Sends a request, and returns when its function runs.
fn runs(embly: &Embly, steps: &str) -> Connection {
    let mut connection = Connection::new(embly.at("script"));
    connection.send(script(&format!("say begun; {steps}")));
    embly.event("log", |event| event["line"] == "begun");
    connection
}

/// The answer to a request that is answered at once; one that waits is taken back.
fn at_once(at: SocketAddr) -> Option<Response> {
    let mut stream = connect(at);
    let soon = Some(Duration::from_millis(300));
    stream.set_read_timeout(soon).unwrap();
    stream.write_all(script("exit 0").as_bytes()).unwrap();
    let mut bytes = vec![0; 4096];
    let Ok(length) = stream.read(&mut bytes) else {
        client::reset(stream);
        return None;
    };
    Some(client::parse(&bytes[..length]))
}

#[test]
fn requests_over_concurrency_wait_and_are_answered_first_in_first_out() {
    let embly = one_at_a_time("{}");
    let first = runs(&embly, &format!("sleep 700; {}", answers("0")));
    let waiting: Vec<_> = (1..4)
        .map(|n| {
            let mut connection = Connection::new(embly.at("script"));
            connection.send(script(&format!("say turn {n}; {}", answers("1"))));
            pause(
                100,
                "for the order in which they come to be that of the queue",
            );
            connection
        })
        .collect();
    assert_eq!(first.rest().0.last(), Some(&b'0'));
    for connection in waiting {
        assert_eq!(client::parse(&connection.rest().0).status, 200);
    }
    let turns: Vec<_> = (0..3)
        .map(|n| {
            let turn =
                |event: &serde_json::Value| event["line"].as_str().unwrap().starts_with("turn");
            embly.nth_event("log", n, turn)["line"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(turns, ["turn 1", "turn 2", "turn 3"]);
    let queued = |n| {
        embly.nth_event("invocation_ended", n, |_| true)["queue_us"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(queued(0), 0);
    assert!(queued(1) > 100_000, "{} µs", queued(1));
}

#[test]
fn a_full_queue_is_answered_at_once_and_a_client_that_resets_frees_its_place() {
    let embly = one_at_a_time("{length: 1, wait: 1m}");
    let at = embly.at("script");
    let first = runs(&embly, "sleep 60000");
    let mut both = None;
    eventually("the queue is full", || {
        let mut second = Connection::new(at);
        second.send(script(&answers("second")));
        pause(50, "so that it is likely to be the first; if not, again");
        match at_once(at) {
            Some(answer) => both = Some((second, answer)),
            // The other one came first.
            None => client::reset(second.stream),
        }
        both.is_some()
    });
    let (second, full) = both.unwrap();
    assert_eq!((full.status, full.reason()), (503, "overloaded"));
    assert_eq!(full.header("retry-after"), Some("1"));
    client::reset(second.stream);
    eventually("its place is free", || at_once(at).is_none());
    // One that waits now gets the room of the first, which goes as well.
    let mut third = Connection::new(at);
    third.send(script(&answers("third")));
    client::reset(first.stream);
    assert_eq!(client::parse(&third.rest().0).text(), "third");
}

#[test]
fn a_request_whose_wait_is_over_answers_503() {
    let embly = one_at_a_time("{wait: 300ms}");
    let first = runs(&embly, &format!("sleep 1500; {}", answers("first")));
    let since = Instant::now();
    let second = client::request(embly.at("script"), script("exit 0"));
    let waited = since.elapsed();
    assert_eq!((second.status, second.reason()), (503, "overloaded"));
    assert_eq!(second.header("retry-after"), Some("1"));
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
    assert_eq!(client::parse(&first.rest().0).text(), "first");
    assert_eq!(
        client::request(embly.at("script"), script(&answers("next"))).text(),
        "next",
        "who has left holds no room"
    );
}

#[test]
fn a_developer_reads_of_a_busy_function_what_runs_and_what_waits() {
    let cases = [
        ("{length: 1, wait: 1m}", "1 wait (`queue: {length: 1}`)"),
        (
            "{wait: 100ms}",
            "none has ended within 100ms (`queue: {wait: 100ms}`)",
        ),
    ];
    for (queue, why) in cases {
        let limits = format!("    limits: {{concurrency: 1, queue: {queue}}}");
        let embly = Embly::dev(&Project::new().guest_with("script", &limits).http("script"));
        let at = embly.at("script");
        let _first = runs(&embly, "sleep 60000");
        let mut answer = None;
        let mut waiting = Vec::new();
        eventually("one that is refused", || {
            answer = at_once(at);
            let mut next = Connection::new(at);
            next.send(script("exit 0"));
            waiting.push(next);
            answer.is_some()
        });
        let refused = answer.unwrap();
        assert_eq!((refused.status, refused.reason()), (503, "overloaded"));
        let said = format!("function `script` is busy: 1 run (`concurrency: 1`), and {why}");
        assert!(refused.text().contains(&said), "{}", refused.text());
    }
}

#[test]
fn a_request_that_waits_gets_the_room_of_the_new_code() {
    let limits = "    limits: {concurrency: 1, queue: {wait: 1m}}";
    let project = Project::new()
        .guest_with("script", limits)
        .gateway("script", "http", "script");
    let embly = Embly::start_detached("run", &project);
    let first = runs(&embly, "sleep 60000");
    let mut second = Connection::new(embly.at("script"));
    second.send(script(&answers("second")));
    pause(
        200,
        "for the request to wait; if it does not, it gets the new code as well",
    );
    project.edit("limits: {", "limits: {depth: 3, ");
    embly.signal(Signal::HUP);
    assert_eq!(client::parse(&second.rest().0).text(), "second");
    drop(first);
}

#[test]
fn what_waits_is_answered_503_when_the_master_stops() {
    let mut embly = one_at_a_time("{wait: 1m}");
    let first = runs(&embly, &format!("sleep 1000; {}", answers("first")));
    let mut second = Connection::new(embly.at("script"));
    second.send(script("exit 0"));
    pause(
        200,
        "for the request to wait; if it does not, it is refused as well",
    );
    embly.signal(Signal::TERM);
    let second = client::parse(&second.rest().0);
    assert_eq!((second.status, second.reason()), (503, "shutdown"));
    assert_eq!(client::parse(&first.rest().0).text(), "first");
    assert_eq!(embly.wait().code(), Some(0));
}

#[test]
fn after_its_response_a_function_takes_no_room_and_ends_at_the_limit_background() {
    let limits = "    limits: {concurrency: 1, background: 1s}";
    let project = Project::new().guest_with("script", limits).http("script");
    let embly = Embly::run(&project);
    let at = embly.at("script");
    let steps = format!("{}; say on; sleep 60000", answers("done"));
    let since = Instant::now();
    assert_eq!(client::request(at, script(&steps)).text(), "done");
    // The first is in the background by now, or about to be.
    assert_eq!(client::request(at, script(&answers("next"))).text(), "next");
    let ended = embly.event("invocation_ended", |event| event["reason"] == "wall");
    let detail = ended["detail"].as_str().unwrap();
    assert!(
        detail.contains("limit `background` reached: 1s"),
        "{detail}"
    );
    assert!(since.elapsed() >= Duration::from_secs(1));
    assert_eq!(get(at, "/").status, 500, "nothing to do, but there is room");
}
