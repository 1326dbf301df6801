//! A function in front of what requests ask for.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use rustix::process::Signal;
use support::client::{Connection, Response, connect, request};
use support::websocket::{Raw, handshake};
use support::{Embly, Project, eventually};

const ROUTES: &str = "    port: 0
    before: guards
    routes:
      - {path: '/shows/{id}', function: shows, env: {OF_ROUTE: secret}}
      - {path: '/files/{file...}', files: {root: ./public}}
      - {path: /redirect, redirect: {to: /function}}
      - {path: /socket, function: socket, websocket: true}
      - {path: /open, function: shows, before: none}
      - {path: /other, function: shows, before: guards-too}
      - {path: /200, function: shows, before: goes-astray}
      - {path: /204, function: shows, before: goes-astray}
      - {path: /302, function: shows, before: goes-astray}
      - {path: /broken, function: shows, before: fails}
";

fn project() -> Project {
    let mut project = Project::new();
    for name in [
        "guards",
        "guards-too",
        "goes-astray",
        "fails",
        "shows",
        "socket",
    ] {
        project = project.guest(name);
    }
    let project = project.gateway_with("web", ROUTES);
    project.write("public/a.txt", "file");
    project
}

fn serve() -> (Embly, Project) {
    let project = project();
    (Embly::run(&project), project)
}

fn ask(embly: &Embly, line: &str, more: &str) -> Response {
    let head = format!("{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{more}\r\n");
    request(embly.at("web"), head)
}

/// Invocations of others than this function.
fn started_beside(embly: &Embly, name: &str) -> usize {
    let events = embly.events();
    let others = events
        .iter()
        .filter(|event| event["event"] == "invocation_started" && event["function"] != name);
    others.count()
}

#[test]
fn what_passes_has_the_headers_of_the_function_in_front_and_its_own_body() {
    let (embly, _project) = serve();
    let head = "POST /shows/7?a=b HTTP/1.1\r\nhost: test\r\nconnection: close, x-user, x-by\r\nx-key: ann\r\nx-user: root\r\nx-user: toor\r\n";
    for (framing, sent, seen) in [
        ("content-length: 5", "hello", "hello"),
        (
            "transfer-encoding: chunked",
            "5\r\nhello\r\n0\r\nx-user: root\r\nx-end: yes\r\n\r\n",
            "5\r\nhello\r\n0\r\nx-end: yes\r\n\r\n",
        ),
    ] {
        let answer = request(embly.at("web"), format!("{head}{framing}\r\n\r\n{sent}"));
        let text = answer.text();
        assert_eq!(answer.status, 200, "{text}");
        let (got, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(got.starts_with("POST /shows/7?a=b HTTP/1.1\r\n"), "{got}");
        assert_eq!(got.matches("x-user: ").count(), 1, "{got}");
        for line in [
            "x-user: ann",
            "x-by: guards",
            "embly-param-id: 7",
            "host: test",
            framing,
        ] {
            assert!(got.lines().any(|other| other == line), "{line}: {got}");
        }
        assert!(!got.contains("embly-before"), "{got}");
        assert_eq!(body, seen);
    }
    // One request, of which the access event names what answered.
    let id = |event: &serde_json::Value| event["request_id"].as_str().map(str::to_owned);
    let guard = embly.event("invocation_ended", |event| event["function"] == "guards");
    let shows = embly.event("invocation_ended", |event| {
        event["function"] == "shows" && id(event) == id(&guard)
    });
    let access = embly.event("access", |event| id(event) == id(&guard));
    assert_eq!(access["function"], "shows");
    assert_eq!(access["address"], shows["address"]);
}

#[test]
fn what_does_not_pass_gets_its_answer_whatever_would_have_answered() {
    let (embly, _project) = serve();
    for (line, more) in [
        ("GET /shows/7", ""),
        ("GET /files/a.txt", ""),
        ("GET /redirect", ""),
        ("GET /nothing", ""),
        ("DELETE /redirect", ""),
        ("GET /socket", "upgrade: websocket\r\n"),
    ] {
        let answer = ask(&embly, line, more);
        assert_eq!(answer.status, 401, "{line}");
        assert_eq!(answer.header("www-authenticate"), Some("Key"), "{line}");
        assert_eq!(answer.header("embly-before"), None, "{line}");
        assert!(answer.text().starts_with(line), "{line}: {}", answer.text());
        let path = line.split_once(' ').unwrap().1;
        let access = embly.event("access", |event| {
            event["path"] == path && event["method"] == line.split_once(' ').unwrap().0
        });
        assert_eq!(access["function"], "guards", "{line}");
        assert!(access["address"].is_string(), "{line}");
    }
    assert_eq!(started_beside(&embly, "guards"), 0);
    for (line, status) in [
        ("GET /files/a.txt", 200),
        ("GET /redirect", 308),
        ("GET /nothing", 404),
        ("DELETE /redirect", 308),
    ] {
        let answer = ask(&embly, line, "x-key: ann\r\n");
        assert_eq!(answer.status, status, "{line}");
    }
}

#[test]
fn the_function_in_front_gets_the_head_and_what_the_gateway_tells_but_no_body() {
    let (embly, _project) = serve();
    // It answers before there is a body: nobody waits for one.
    let mut client = Connection::new(embly.at("web"));
    client.send("PUT /shows/7?a=b HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\nx-of: client\r\nembly-user: root\r\n\r\n");
    let answer = client.response();
    let text = answer.text();
    assert_eq!(answer.status, 401);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "PUT /shows/7?a=b");
    assert_eq!(lines.last(), Some(&"0 bytes"));
    for line in [
        "host: test",
        "x-of: client",
        "embly-route: /shows/{id}",
        "embly-param-id: 7",
        "embly-client: 127.0.0.1",
        "embly-scheme: http",
    ] {
        assert!(lines.contains(&line), "{line}: {text}");
    }
    for name in ["content-length", "embly-user", "secret"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
}

#[test]
fn a_route_has_another_one_or_none() {
    let (embly, _project) = serve();
    let open = ask(&embly, "GET /open", "x-user: root\r\n");
    assert_eq!(open.status, 200);
    assert!(open.text().contains("x-user: root\r\n"));
    let other = ask(&embly, "GET /other", "x-key: ann\r\n").text();
    assert!(other.contains("x-by: guards-too\r\n"), "{other}");
}

#[test]
fn it_cannot_change_for_whom_a_request_is_nor_where_it_ends() {
    let (embly, _project) = serve();
    let answer = ask(
        &embly,
        "POST /204",
        "content-length: 0\r\ncontent-type: text/own\r\nx-kept: yes\r\nx-a: 0\r\n",
    );
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    for line in [
        "x-a: 1",
        "x-a: 2",
        "host: test",
        "content-type: text/own",
        "content-length: 0",
        "x-kept: yes",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
    for name in [
        "x-a: 0",
        "elsewhere",
        "embly-user",
        "x-forwarded-for",
        "expect",
        "sec-websocket",
        "mine",
    ] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    // An answer that has a body may yet fail, so it is one to the client.
    for status in [200, 302] {
        let answer = ask(&embly, &format!("GET /{status}"), "");
        assert_eq!(
            (answer.status, answer.header("embly-before")),
            (status, None)
        );
    }
}

#[test]
fn if_it_fails_the_request_does_not_pass() {
    let (embly, _project) = serve();
    let answer = ask(&embly, "GET /broken", "");
    assert_eq!(answer.status, 500);
    assert_eq!(embly.ending("fails")["reason"], "exit");
    assert_eq!(started_beside(&embly, "fails"), 0);
}

#[test]
fn a_websocket_passes_it_as_well() {
    let (embly, _project) = serve();
    let mut socket = Raw::open_with(embly.at("web"), "/socket", "x-key: ann\r\n");
    socket.say("hello");
    assert!(!socket.text().is_empty());
    let refused = request(
        embly.at("web"),
        handshake("/socket", "connection: close\r\n"),
    );
    assert_eq!(refused.status, 401);
}

#[test]
fn a_client_that_leaves_meanwhile_ends_it() {
    let project = Project::new().guest("script").guest("shows").gateway_with(
        "web",
        "    port: 0\n    function: shows\n    before: script\n",
    );
    let embly = Embly::run(&project);
    let mut client = connect(embly.at("web"));
    std::io::Write::write_all(
        &mut client,
        b"GET / HTTP/1.1\r\nhost: test\r\nx-do: say up; sleep 60000\r\n\r\n",
    )
    .unwrap();
    embly.event("log", |event| event["line"] == "up");
    support::client::reset(client);
    assert_eq!(embly.ending("script")["reason"], "client_gone");
    let access = embly.event("access", |_| true);
    assert_eq!(
        (&access["status"], &access["function"]),
        (&499.into(), &"script".into())
    );
}

#[test]
fn a_reload_puts_another_one_in_front() {
    let project = Project::new()
        .guest("guards")
        .guest("guards-too")
        .guest("shows")
        .gateway_with(
            "web",
            "    port: 0\n    function: shows\n    before: guards\n",
        );
    let embly = Embly::run(&project);
    let by = || {
        let text = ask(&embly, "GET /", "x-key: ann\r\n").text();
        let by = text.lines().find_map(|line| line.strip_prefix("x-by: "));
        by.map(str::to_owned)
    };
    assert_eq!(by().as_deref(), Some("guards"));
    project.edit("before: guards", "before: guards-too");
    embly.signal(Signal::HUP);
    eventually("the other one is asked", || {
        by().as_deref() == Some("guards-too")
    });
}
