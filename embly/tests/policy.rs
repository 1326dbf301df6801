//! What a gateway or a route does to requests and answers, as clients see it.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::net::SocketAddr;

use support::client::{Response, request};
use support::{Embly, Project};

/// A project with a gateway `web` that has these keys and routes; the function `shows` answers with
/// the request that it gets, and there is a folder `public`.
fn project(keys: &str, routes: &[&str]) -> Project {
    let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
    let routes: String = routes
        .iter()
        .map(|route| format!("      - {{{route}}}\n"))
        .collect();
    let project = Project::new()
        .guest("shows")
        .guest("script")
        .gateway_with("web", &format!("    port: 0\n{keys}    routes:\n{routes}"));
    project.write("public/a.txt", "file");
    project
}

/// Served, as long as both are there.
fn serve(keys: &str, routes: &[&str]) -> (Embly, Project) {
    let project = project(keys, routes);
    (Embly::run(&project), project)
}

/// One of each that answers, and nothing for other paths.
const ALL: [&str; 3] = [
    "path: /function, function: shows",
    "path: '/files/{file...}', files: {root: ./public}",
    "path: /redirect, redirect: {to: /function}",
];

/// `ALL`, with the status that each has where nothing is in the way; and what nothing answers.
const TARGETS: [(&str, u16); 4] = [
    ("/function", 200),
    ("/files/a.txt", 200),
    ("/redirect", 308),
    ("/nothing", 404),
];

/// A request with these header lines.
fn ask(at: SocketAddr, line: &str, headers: &[&str]) -> Response {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    request(
        at,
        format!("{line} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n"),
    )
}

fn get(at: SocketAddr, path: &str, headers: &[&str]) -> Response {
    ask(at, &format!("GET {path}"), headers)
}

#[test]
fn who_may_not_ask_gets_403_whatever_would_answer() {
    let (embly, _project) = serve("ip: {deny: [127.0.0.0/8]}", &ALL);
    for (path, _) in TARGETS {
        let answer = get(embly.at("web"), path, &[]);
        assert_eq!((answer.status, answer.reason()), (403, ""), "{path}");
        let event = embly.event("access", |event| event["path"] == path);
        assert_eq!(
            (&event["status"], &event["function"], &event["bytes"]),
            (&403.into(), &"-".into(), &answer.body.len().into())
        );
    }
    let (embly, _project) = serve("ip: {allow: [127.0.0.1]}", &ALL);
    for (path, status) in TARGETS {
        assert_eq!(get(embly.at("web"), path, &[]).status, status, "{path}");
    }
}

#[test]
fn a_key_of_a_route_takes_the_place_of_its_gateways_and_none_switches_it_off() {
    let (embly, _project) = serve(
        "ip: {deny: [127.0.0.1]}\nheaders: {set: {x-of: gateway}}",
        &[
            "path: /inherits, function: shows",
            "path: /off, function: shows, ip: none",
            "path: /own, function: shows, ip: {allow: [127.0.0.1]}, headers: {set: {x-own: route}}",
        ],
    );
    let at = embly.at("web");
    for (path, status, of, own) in [
        ("/inherits", 403, Some("gateway"), None),
        ("/off", 200, Some("gateway"), None),
        ("/own", 200, None, Some("route")),
        ("/elsewhere", 403, Some("gateway"), None),
    ] {
        let answer = get(at, path, &[]);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-of"), of, "{path}");
        assert_eq!(answer.header("x-own"), own, "{path}");
    }
}

#[test]
fn headers_are_set_and_removed_on_every_answer_and_on_the_request() {
    let (embly, _project) = serve(
        "headers:\n  set: {x-frame-options: DENY, content-type: text/x-own}\n  remove: [etag, last-modified, server]\n  request: {set: {x-tier: gold}, remove: [cookie]}",
        &ALL,
    );
    let at = embly.at("web");
    for (path, status) in TARGETS {
        let answer = get(at, path, &["cookie: a=b", "x-tier: lead"]);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("content-type"), Some("text/x-own"), "{path}");
        assert_eq!(answer.header("etag"), None, "{path}");
        assert_eq!(answer.header("last-modified"), None, "{path}");
    }
    let text = get(at, "/function", &["cookie: a=b", "x-tier: lead"]).text();
    assert!(text.contains("x-tier: gold\r\n"), "{text}");
    assert!(!text.contains("lead") && !text.contains("cookie"), "{text}");
    // An error of the function as well.
    let (embly, _project) = serve("headers: {set: {x-a: b}}", &["path: /, function: script"]);
    let failed = get(embly.at("web"), "/", &["x-do: trap"]);
    assert_eq!((failed.status, failed.header("x-a")), (500, Some("b")));
}
