//! Routes: which function, or answer, a request gets.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::net::SocketAddr;

use support::client::{Response, get, request};
use support::{Embly, Project, eventually};

/// A gateway `web` with these routes, each of which shows the request that it gets, or tells its
/// environment.
fn serve(more: &str, routes: &[&str]) -> Embly {
    let routes: Vec<String> = routes
        .iter()
        .map(|route| format!("      - {{{route}}}"))
        .collect();
    let keys = format!("    port: 0\n{more}    routes:\n{}", routes.join("\n"));
    let project = Project::new()
        .guest("shows")
        .guest_with("tells", "    env: {OWN: own, BOTH: function}")
        .gateway_with("web", &keys);
    Embly::run(&project)
}

fn ask(at: SocketAddr, method: &str, target: &str) -> Response {
    let head = format!("{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    request(at, head)
}

/// The first line of the request that the function got, and a header of it.
fn shown(answer: &Response, header: &str) -> (String, Option<String>) {
    let text = answer.text();
    let line = text.lines().next().unwrap_or_default().to_owned();
    let value = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        (name == header).then(|| value.to_owned())
    });
    (line, value)
}

#[test]
fn a_function_is_told_its_route_and_the_parameters_of_the_path() {
    let embly = serve(
        "",
        &[
            "path: '/users/{id}', name: user, function: shows",
            "path: '/users/me', function: shows",
            "path: '/files/{folder}/{rest...}', function: shows",
        ],
    );
    let at = embly.at("web");
    for (target, route, header, value) in [
        ("/users/7", "user", "embly-param-id", Some("7")),
        (
            "/users/a%20b%2Fc",
            "user",
            "embly-param-id",
            Some("a%20b%2Fc"),
        ),
        ("/users/me", "/users/me", "embly-param-id", None),
        (
            "/files/x/a/b",
            "/files/{folder}/{rest...}",
            "embly-param-rest",
            Some("a/b"),
        ),
        (
            "/files/x/",
            "/files/{folder}/{rest...}",
            "embly-param-rest",
            Some(""),
        ),
    ] {
        let answer = ask(at, "GET", target);
        assert_eq!(
            shown(&answer, "embly-route").1.as_deref(),
            Some(route),
            "{target}"
        );
        assert_eq!(shown(&answer, header).1.as_deref(), value, "{target}");
        assert_eq!(
            shown(&answer, "embly-client").1.as_deref(),
            Some("127.0.0.1")
        );
        assert_eq!(shown(&answer, "embly-scheme").1.as_deref(), Some("http"));
    }
}

#[test]
fn a_function_gets_the_path_that_was_matched_and_no_header_that_a_client_made_up() {
    let embly = serve("", &["path: '/a/{b}', function: shows"]);
    let at = embly.at("web");
    for (target, line) in [
        ("/%61/%7e?q=%61", "GET /a/~?q=%61 HTTP/1.1"),
        ("/x/../a/./b", "GET /a/b HTTP/1.1"),
        ("/%2e%2e/a/b", "GET /a/b HTTP/1.1"),
    ] {
        assert_eq!(shown(&ask(at, "GET", target), "").0, line, "{target}");
    }
    let answer = request(
        at,
        "GET /a/b HTTP/1.1\r\nhost: test\r\nembly-route: mine\r\nembly-param-b: mine\r\n\
         Embly-Client: 1.1.1.1\r\nconnection: close\r\n\r\n",
    );
    assert!(!answer.text().contains("mine") && !answer.text().contains("1.1.1.1"));
    assert_eq!(ask(at, "GET", "/a/%zz").status, 400);
}

#[test]
fn what_no_route_takes_goes_to_the_function_beside_them_or_is_not_found() {
    let embly = serve("", &["path: /a, function: shows"]);
    let at = embly.at("web");
    let missing = ask(at, "GET", "/b");
    assert_eq!((missing.status, missing.reason()), (404, ""));
    assert!(missing.text().contains("404 Not Found"));
    assert!(missing.header("x-request-id").is_some());
    // Slash and case count.
    assert_eq!(ask(at, "GET", "/a/").status, 404);
    assert_eq!(ask(at, "GET", "/A").status, 404);
    let event = embly.event("access", |event| event["path"] == "/b");
    assert_eq!(
        (&event["function"], &event["status"]),
        (&"-".into(), &404.into())
    );
    let embly = serve("    function: shows\n", &["path: /a, function: tells"]);
    let answer = ask(embly.at("web"), "GET", "/b/../c");
    assert_eq!(
        shown(&answer, "embly-route"),
        ("GET /c HTTP/1.1".to_owned(), None)
    );
}

#[test]
fn a_method_that_no_route_takes_is_answered_with_those_that_one_does() {
    let embly = serve(
        "    function: tells\n",
        &[
            "path: /a, methods: [GET], function: shows",
            "path: /a, methods: [PUT, DELETE], function: shows",
            "path: /b, function: shows",
            "path: /c, methods: [OPTIONS, HEAD], function: shows",
        ],
    );
    let at = embly.at("web");
    let wrong = ask(at, "POST", "/a");
    assert_eq!(wrong.status, 405);
    assert_eq!(
        wrong.header("allow"),
        Some("DELETE, GET, HEAD, OPTIONS, PUT")
    );
    let options = ask(at, "OPTIONS", "/a");
    assert_eq!((options.status, options.body.len()), (204, 0));
    assert_eq!(
        options.header("allow"),
        Some("DELETE, GET, HEAD, OPTIONS, PUT")
    );
    // What a route claims it gets.
    assert_eq!(
        shown(&ask(at, "OPTIONS", "/b"), "").0,
        "OPTIONS /b HTTP/1.1"
    );
    assert_eq!(
        shown(&ask(at, "OPTIONS", "/c"), "").0,
        "OPTIONS /c HTTP/1.1"
    );
    assert_eq!(shown(&ask(at, "DELETE", "/a"), "").0, "DELETE /a HTTP/1.1");
}

#[test]
fn head_is_made_of_get_where_a_route_does_not_take_it() {
    let embly = serve("", &["path: /a, methods: [GET], function: shows"]);
    let at = embly.at("web");
    let full = ask(at, "GET", "/a");
    let head = ask(at, "HEAD", "/a");
    assert_eq!((head.status, head.body.len()), (200, 0));
    // The function has answered the same GET.
    assert_eq!(head.header("content-length"), full.header("content-length"));
}

#[test]
fn a_redirect_keeps_parameters_and_query_and_never_leads_to_another_host() {
    let embly = serve(
        "",
        &[
            "path: '/old/{rest...}', redirect: {to: '/new/{rest}'}",
            "path: '/moved', redirect: {to: 'https://other.test/x?a=b', status: 301}",
            "path: '/to/{rest...}', redirect: {to: '/{rest}', status: 302}",
        ],
    );
    let at = embly.at("web");
    for (target, status, location) in [
        ("/old/a/b%20c?q=1", 308, "/new/a/b%20c?q=1"),
        ("/old/", 308, "/new/"),
        ("/moved?c=d", 301, "https://other.test/x?a=b"),
        ("/to//evil.test/x", 302, "/evil.test/x"),
        ("/to/%5C%5Cevil.test", 302, "/%5C%5Cevil.test"),
        ("/to/a%0d%0aset-cookie:x", 302, "/a%0D%0Aset-cookie:x"),
    ] {
        let answer = ask(at, "GET", target);
        assert_eq!(
            (answer.status, answer.header("location")),
            (status, Some(location)),
            "{target}"
        );
        assert_eq!(answer.header("set-cookie"), None);
    }
}

#[test]
fn env_of_a_route_is_on_top_of_the_functions_own() {
    let embly = serve(
        "",
        &[
            "path: /a, function: tells, env: {BOTH: route, MORE: more}",
            "path: /b, function: tells",
        ],
    );
    let a = get(embly.at("web"), "/a").text();
    assert!(
        a.contains("env BOTH=route\n") && a.contains("env MORE=more\n"),
        "{a}"
    );
    assert!(a.contains("env OWN=own\n"), "{a}");
    let b = get(embly.at("web"), "/b").text();
    assert!(
        b.contains("env BOTH=function\n") && !b.contains("MORE"),
        "{b}"
    );
}

#[test]
fn gateways_that_share_a_port_are_told_apart_by_the_host() {
    let gateway = |hosts: &str, name: &str| {
        format!("    port: 8080\n{hosts}    routes: [{{path: /, name: {name}, function: shows}}]")
    };
    let project = Project::new()
        .guest("shows")
        .gateway_with("one", &gateway("    hosts: [one.test]\n", "one"))
        .gateway_with(
            "below",
            &gateway("    hosts: [\"*.one.test\", \"*.test\"]\n", "below"),
        )
        .gateway_with(
            "deep",
            &gateway("    hosts: [\"*.deep.one.test\"]\n", "deep"),
        );
    let mut embly = Embly::run(&project);
    let at = embly.at("one");
    assert_eq!(embly.at("deep"), at);
    let route = |target: &str, host: &str| {
        let answer = request(
            at,
            format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
        );
        match answer.status {
            200 => shown(&answer, "embly-route").1.unwrap(),
            status => status.to_string(),
        }
    };
    assert_eq!(route("/", "one.test"), "one");
    assert_eq!(route("/", "ONE.test:80"), "one");
    assert_eq!(route("/", "a.one.test"), "below");
    assert_eq!(route("/", "x.deep.one.test"), "deep");
    assert_eq!(route("/", "other.test"), "below");
    assert_eq!(route("/", "example.org"), "421");
    // The target of a request counts more than its header.
    assert_eq!(route("http://one.test/", "x.deep.one.test"), "one");
    embly.stops_with_nothing_left();
}

#[test]
fn a_reload_changes_routes_and_hosts_for_the_next_request_of_an_open_connection() {
    let keys = "    port: 8080\n    routes: [{path: /a, name: first, function: shows}]";
    let project = Project::new().guest("shows").gateway_with("web", keys);
    let embly = Embly::run(&project);
    let mut client = support::client::Connection::new(embly.at("web"));
    assert!(client.get("/a").text().contains("embly-route: first"));
    project.edit("path: /a, name: first", "path: /b, name: second");
    embly.signal(rustix::process::Signal::HUP);
    eventually("the reload", || embly.messages("reloaded") == 1);
    assert_eq!(client.get("/a").status, 404);
    assert!(client.get("/b").text().contains("embly-route: second"));
}
