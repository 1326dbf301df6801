//! Functions that start functions.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use support::client::{self, Connection, Response, get, pause, post, write};
use support::process::peak_memory;
use support::{Embly, Project, eventually, wrappers};

/// A master whose function `spawns` starts the one that the path names.
fn spawns(child: &str, keys: &str) -> Embly {
    let project = Project::new().guest("spawns").guest_with(child, keys);
    Embly::run(&project.http("spawns"))
}

/// What `spawns` says of the child `script` with these steps.
fn child_does(embly: &Embly, steps: &str) -> String {
    let task = format!("x-do: {steps}\r\n\r\n");
    let response = post(embly.at("spawns"), "/script", task.as_bytes());
    assert_eq!(response.status, 200, "{}", response.text());
    response.text()
}

fn number(response: &Response) -> (u64, String) {
    let text = response.text();
    let (number, rest) = text.split_once(' ').unwrap_or_else(|| panic!("{text}"));
    (number.parse().unwrap(), rest.to_owned())
}

#[test]
fn a_child_answers_its_parent() {
    let embly = spawns("greets", "");
    let text = post(embly.at("spawns"), "/greets", b"").text();
    assert_eq!(
        text,
        "answer: Embly\n\nwritten: ok\nread: ok\nstatus: ok 0 \n"
    );
    let parent = embly.ending("spawns");
    let child = embly.event("invocation_started", |event| event["function"] == "greets");
    assert_eq!(child["parent"], parent["address"]);
    // The child belongs to the same request.
    assert_eq!(child["request_id"], parent["request_id"]);
    assert_eq!(child["gateway"], serde_json::Value::Null);
    assert_eq!(embly.ending("greets")["reason"], "ok");
}

#[test]
fn whoever_starts_a_function_that_was_never_built_is_told_so() {
    let project = Project::new().guest("spawns").wat("half", "(module");
    let embly = Embly::start("dev", &project.http("spawns"), &[]);
    let text = post(embly.at("spawns"), "/half", b"").text();
    let what = "status: refused 44 `half` was not built: `embly build` says why";
    assert!(text.contains(what), "{text}");
    let text = post(embly.at("spawns"), "/helf", b"").text();
    assert!(text.contains("the project has `half`, `spawns`"), "{text}");
}

#[test]
fn an_unknown_name_is_refused_and_the_log_names_those_that_are_known() {
    let embly = spawns("greets", "");
    for (name, what) in [
        (
            "greet",
            "there is no function `greet`; the project has `greets`, `spawns`",
        ),
        ("embly/nothing", "there is no service `embly/nothing`"),
    ] {
        let text = post(embly.at("spawns"), &format!("/{name}"), b"").text();
        assert!(
            text.contains(&format!("status: refused 44 {what}")),
            "{text}"
        );
        assert!(
            text.contains("read: the other side ended: refused"),
            "{text}"
        );
        let said = embly.event("message", |event| {
            event["text"].as_str().unwrap().contains(what)
        });
        assert!(
            said["text"].as_str().unwrap().starts_with("spawns "),
            "{said}"
        );
    }
}

#[test]
fn a_name_that_is_none_is_refused_at_once() {
    let embly = spawns("greets", "");
    let text = post(embly.at("spawns"), "/", b"").text();
    assert!(
        text.starts_with("not spawned: ") && text.contains("errno 28"),
        "{text}"
    );
    let text = post(embly.at("spawns"), &format!("/{}", "x".repeat(200)), b"").text();
    assert!(
        text.starts_with("not spawned: ") && text.contains("errno 37"),
        "{text}"
    );
}

#[test]
fn the_limit_children_refuses_with_eagain() {
    let project = Project::unparked()
        .guest_with("crowds", "    limits: {children: 3}")
        .guest("script")
        .http("crowds");
    let embly = Embly::run(&project);
    let (children, why) = number(&get(embly.at("crowds"), "/"));
    assert_eq!(children, 3);
    assert!(why.contains("(errno 6)"), "{why}");
    eventually("its children end with it", || wrappers(&embly).is_empty());
}

#[test]
fn the_limit_concurrency_refuses_with_eagain() {
    let project = Project::new()
        .guest("crowds")
        .guest_with("script", "    limits: {concurrency: 2}")
        .http("crowds");
    let embly = Embly::run(&project);
    let (children, why) = number(&get(embly.at("crowds"), "/"));
    assert_eq!(children, 2);
    assert!(
        why.contains("refused (code 6): limit `concurrency` of `script` reached"),
        "{why}"
    );
}

#[test]
fn a_function_that_starts_itself_ends_at_the_limit_depth_with_eperm() {
    let project = Project::new()
        .guest_with("nests", "    limits: {depth: 5}")
        .http("nests");
    let embly = Embly::run(&project);
    let response = get(embly.at("nests"), "/");
    assert_eq!(response.status, 200);
    let (levels, why) = number(&response);
    assert_eq!(levels, 5);
    assert!(
        why.contains("too many levels") && why.contains("(errno 63)"),
        "{why}"
    );
}

#[test]
fn a_parent_sees_how_its_child_ended() {
    let embly = spawns("script", "    limits: {memory: 4MiB, wall: 300ms}");
    for (steps, status) in [
        ("exit 0", "ok 0 "),
        ("exit 3", "exit 3 "),
        ("trap", "trap 0 wasm `unreachable` instruction executed"),
        ("panic no luck", "trap 0 panicked at "),
        ("eat", "memory 0 limit `memory` reached: "),
        ("sleep 60000", "wall 0 limit `wall` reached: 300ms"),
    ] {
        let text = child_does(&embly, steps);
        assert!(
            text.contains(&format!("\nstatus: {status}")),
            "{steps}: {text}"
        );
        let read = if steps == "exit 0" {
            "read: ok"
        } else {
            "read: the other side ended: "
        };
        assert!(text.contains(read), "{steps}: {text}");
    }
}

#[test]
fn the_data_of_a_child_that_traps_comes_before_the_error() {
    let embly = spawns("script", "");
    let text = child_does(&embly, &format!("{}; trap", write("so far")));
    assert!(text.starts_with("answer: so far\n"), "{text}");
    assert!(text.contains("read: the other side ended: trap"), "{text}");
}

#[test]
fn children_end_with_their_parent() {
    let project = Project::unparked()
        .guest("abandons")
        .guest("script")
        .http("abandons");
    let embly = Embly::run(&project);
    assert_eq!(get(embly.at("abandons"), "/").text(), "gone");
    assert_eq!(embly.ending("script")["reason"], "parent_ended");
    eventually("no process is left", || wrappers(&embly).is_empty());
}

#[test]
fn a_whole_tree_ends_when_its_client_goes() {
    // A chain of `spawns`, the last of which starts a `script` that stays.
    let project = Project::unparked()
        .guest("spawns")
        .guest("script")
        .http("spawns");
    let embly = Embly::run(&project);
    let mut connection = Connection::new(embly.at("spawns"));
    let mut task = "x-do: sleep 60000\r\n\r\n".to_owned();
    for name in ["script", "spawns", "spawns"] {
        let length = task.len();
        task = format!("POST /{name} HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{task}");
    }
    connection.send(task.replacen("HTTP/1.1\r\n", "HTTP/1.1\r\nhost: x\r\n", 1));
    embly.event("invocation_started", |event| event["function"] == "script");
    eventually("four run", || wrappers(&embly).len() == 4);
    client::reset(connection.stream);
    eventually("no process is left", || wrappers(&embly).is_empty());
    assert_eq!(embly.ending("script")["reason"], "parent_ended");
    embly.event("invocation_ended", |event| {
        event["function"] == "spawns" && event["reason"] == "client_gone"
    });
}

#[test]
fn writing_to_a_child_that_has_ended_is_an_error_and_nothing_worse() {
    let project = Project::new()
        .guest("writes-to-the-dead")
        .guest("greets")
        .http("writes-to-the-dead");
    let embly = Embly::run(&project);
    let at = embly.at("writes-to-the-dead");
    let clients: Vec<_> = (0..4)
        .map(|_| std::thread::spawn(move || get(at, "/")))
        .collect();
    for client in clients {
        let response = client.join().unwrap();
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "100 failed")
        );
    }
    let odd =
        |event: &serde_json::Value| event["event"] == "invocation_ended" && event["reason"] != "ok";
    assert!(!embly.events().iter().any(odd));
    assert_eq!(get(at, "/").status, 200, "the master is well");
}

#[test]
fn two_children_at_once_take_as_long_as_the_slower_one() {
    let project = Project::new().guest("joins").guest("script").http("joins");
    let embly = Embly::run(&project);
    let text = get(embly.at("joins"), "/").text();
    let (answers, milliseconds) = text.split_once(' ').unwrap_or_else(|| panic!("{text}"));
    assert_eq!(answers, "ab");
    let milliseconds: u64 = milliseconds.parse().unwrap();
    assert!((1200..1750).contains(&milliseconds), "{milliseconds} ms");
}

#[test]
fn ten_megabytes_come_back_from_a_child_while_they_are_written() {
    let project = Project::new().guest("feeds").guest("echo").http("feeds");
    let embly = Embly::run(&project);
    let response = get(embly.at("feeds"), "/?1,10485760");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "10485760")
    );
}

#[test]
fn sixty_four_children_are_fed_and_read_at_once() {
    let project = Project::unparked()
        .guest("feeds")
        .guest("echo")
        .http("feeds");
    let embly = Embly::run(&project);
    let response = get(embly.at("feeds"), "/?64,100000");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "6400000")
    );
    eventually("no process is left", || wrappers(&embly).is_empty());
}

#[test]
fn a_parent_may_start_any_number_of_children_that_it_reads() {
    let project = Project::new()
        .guest("asks-many")
        .guest("script")
        .http("asks-many");
    let embly = Embly::run(&project);
    // More than the number of ended streams that may be left unread.
    let response = get(embly.at("asks-many"), "/?1100");
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "1100 answers")
    );
}

#[test]
fn what_a_parent_leaves_unread_is_bounded() {
    let project = Project::new()
        .guest_with("ignores", "    limits: {memory: none}")
        .guest("script")
        .http("ignores");
    let embly = Embly::run(&project);
    get(embly.at("ignores"), "/?1,exit+0");
    let before = peak_memory(embly.pid());
    // 16,000 bytes each, so 16 MiB are reached with about 1,050 children and 1,024 streams first.
    let (children, why) = number(&get(embly.at("ignores"), "/?5000,fill+16000"));
    assert_eq!(children, 1024, "{why}");
    assert!(
        why.contains("refused (code 6)") && why.contains("not read"),
        "{why}"
    );
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < 32 << 20, "{more} bytes more");
}

#[test]
fn a_child_that_nobody_reads_is_held_back() {
    let project = Project::unparked()
        .guest("ignores")
        .guest("script")
        .http("ignores");
    let embly = Embly::run(&project);
    let mut connection = Connection::new(embly.at("ignores"));
    let before = peak_memory(embly.pid());
    connection.send("GET /?1,fill+1000000000 HTTP/1.1\r\nhost: x\r\n\r\n");
    eventually("both run", || wrappers(&embly).len() == 2);
    pause(300, "for a child that is not held back to go far");
    let more = peak_memory(embly.pid()).saturating_sub(before);
    assert!(more < 4 << 20, "{more} bytes more");
    client::reset(connection.stream);
    let child = embly.ending("script");
    assert!(child["bytes_out"].as_u64().unwrap() <= 16 << 10, "{child}");
}

#[test]
fn many_trees_at_once_leave_nothing_behind() {
    let project = Project::unparked()
        .guest("feeds")
        .guest("echo")
        .http("feeds");
    let embly = Embly::run(&project);
    let at = embly.at("feeds");
    let clients: Vec<_> = (0..6)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..5 {
                    assert_eq!(get(at, "/?5,2000").text(), "10000");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    eventually("no process is left", || wrappers(&embly).is_empty());
    let count = |kind: &str| embly.events().iter().filter(|e| e["event"] == kind).count();
    eventually("each that started is reported", || {
        count("invocation_ended") == 180
    });
    assert_eq!(count("invocation_started"), 180);
}
