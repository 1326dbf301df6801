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
fn what_the_rules_have_settled_no_client_takes_back() {
    let (embly, _project) = serve(
        "headers: {request: {set: {x-tier: gold}, remove: [x-role]}}",
        &ALL,
    );
    // Neither by what is for the next hop only, nor behind the body.
    let text = request(
        embly.at("web"),
        "POST /function HTTP/1.1\r\nhost: test\r\nconnection: close, x-tier\r\n\
         x-hop: 1\r\nconnection: X-Hop\r\ntransfer-encoding: chunked\r\n\r\n\
         2\r\nhi\r\n0\r\nx-tier: lead\r\nx-role: root\r\nx-end: yes\r\n\r\n",
    )
    .text();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("x-tier: gold"), "{text}");
    assert!(!head.contains("x-hop"), "{text}");
    assert_eq!(body, "2\r\nhi\r\n0\r\nx-end: yes\r\n\r\n");
    // Nobody has so much to list.
    let long = format!("connection: {}\r\n", "a,".repeat(3000));
    let refused = request(
        embly.at("web"),
        format!("GET /function HTTP/1.1\r\nhost: test\r\n{long}\r\n"),
    );
    assert_eq!(refused.status, 400);
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

/// An answer of the function `script` with these header lines and this body, as its steps.
fn says(headers: &str, body: &str) -> String {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}");
    format!("x-do: {}", support::client::write(head))
}

#[test]
fn a_client_that_asks_too_often_gets_429_and_when_to_come_back() {
    let (embly, _project) = serve(
        "rate: {requests: 2/h, burst: 3}",
        &[
            ALL[0],
            ALL[1],
            "path: /free, function: shows, rate: none",
            "path: /own, function: shows, rate: {requests: 1/h}",
        ],
    );
    let at = embly.at("web");
    // One count for all that have the rule from the gateway.
    for path in ["/function", "/files/a.txt", "/nothing"] {
        assert_ne!(get(at, path, &[]).status, 429, "{path}");
    }
    for path in ["/function", "/files/a.txt", "/nothing"] {
        let late = get(at, path, &[]);
        assert_eq!(late.status, 429, "{path}");
        let after: u64 = late.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=1800).contains(&after), "{after}");
    }
    assert_eq!(get(at, "/free", &[]).status, 200);
    assert_eq!(get(at, "/own", &[]).status, 200);
    assert_eq!(get(at, "/own", &[]).status, 429);
}

#[test]
fn counts_go_on_after_a_reload_unless_the_rate_has_changed() {
    let keys = "    port: 8080\n    rate: {requests: 1/h, burst: 2}\n    function: shows";
    let project = Project::new().guest("shows").gateway_with("web", keys);
    let embly = Embly::run(&project);
    let at = embly.at("web");
    let reload = |old: &str, new: &str, times: usize| {
        project.edit(old, new);
        embly.signal(rustix::process::Signal::HUP);
        support::eventually("the reload", || embly.messages("reloaded") == times);
    };
    assert_eq!(get(at, "/", &[]).status, 200);
    reload(
        "port: 8080",
        "port: 8080\n    headers: {set: {x-new: 'yes'}}",
        1,
    );
    let second = get(at, "/", &[]);
    assert_eq!((second.status, second.header("x-new")), (200, Some("yes")));
    assert_eq!(get(at, "/", &[]).status, 429);
    reload("burst: 2", "burst: 1", 2);
    assert_eq!(get(at, "/", &[]).status, 200);
    assert_eq!(get(at, "/", &[]).status, 429);
}

#[test]
fn a_browsers_question_before_a_request_is_answered_by_the_gateway() {
    let (embly, _project) = serve(
        "cors: {origins: ['https://a.test'], methods: [GET, PUT], headers: [x-a], credentials: true, max_age: 1h}\nauth: {bearer: ['sha256:0000000000000000000000000000000000000000000000000000000000000000']}",
        &[
            "path: /a, methods: [GET], function: shows",
            "path: /none, function: shows, cors: none, auth: none",
        ],
    );
    let at = embly.at("web");
    let question = [
        "origin: https://a.test",
        "access-control-request-method: GET",
        "access-control-request-headers: x-a",
    ];
    let answer = ask(at, "OPTIONS /a", &question);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    for (name, value) in [
        ("access-control-allow-origin", "https://a.test"),
        ("access-control-allow-methods", "GET,PUT"),
        ("access-control-allow-headers", "x-a"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "3600"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(answer.header("vary").unwrap().contains("origin"));
    for origin in [
        "null",
        "https://a.test.evil",
        "https://b.test",
        "http://a.test",
    ] {
        let origin = format!("origin: {origin}");
        let answer = ask(at, "OPTIONS /a", &[&origin, question[1]]);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
    }
    // Not such a question: the route's own methods.
    assert_eq!(ask(at, "OPTIONS /a", &[question[0]]).status, 401);
    // A route without the rule has the question for itself.
    assert_eq!(ask(at, "OPTIONS /none", &question).status, 200);
    assert!(
        ask(at, "OPTIONS /none", &question)
            .text()
            .starts_with("OPTIONS")
    );
    // Errors can be read by the page as well.
    let refused = get(at, "/a", &["origin: https://a.test"]);
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        Some("https://a.test")
    );
}

#[test]
fn a_question_before_a_request_lets_nothing_pass_that_its_route_protects() {
    let (embly, _project) = serve(
        "",
        &[
            "path: /a, methods: [GET], function: shows",
            "path: /a, methods: [OPTIONS], function: shows, ip: {deny: [127.0.0.1]}",
        ],
    );
    let question = [
        "origin: https://a.test",
        "access-control-request-method: GET",
    ];
    assert_eq!(ask(embly.at("web"), "OPTIONS /a", &question).status, 403);
}

#[test]
fn pages_of_listed_sites_read_answers_and_a_function_does_not_widen_that() {
    let (embly, _project) = serve(
        "cors: {origins: ['https://a.test'], expose: [etag]}",
        &[
            "path: /, function: script",
            "path: /all, function: script, cors: {origins: ['*']}",
            ALL[1],
        ],
    );
    let at = embly.at("web");
    let own = says(
        "access-control-allow-origin: *\r\naccess-control-allow-credentials: true\r\nvary: cookie\r\n",
        "x",
    );
    let header = |answer: &Response| {
        answer
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    for (origin, allowed) in [
        ("https://a.test", true),
        ("https://b.test", false),
        ("null", false),
    ] {
        let answer = get(at, "/", &[&own, &format!("origin: {origin}")]);
        assert_eq!(
            header(&answer),
            allowed.then(|| origin.to_owned()),
            "{origin}"
        );
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        let vary = answer.headers.iter().filter(|(name, _)| name == "vary");
        let vary: Vec<_> = vary.map(|(_, value)| value.as_str()).collect();
        assert_eq!(vary, ["cookie", "origin"]);
    }
    assert_eq!(header(&get(at, "/", &[&own])), None);
    assert_eq!(
        header(&get(at, "/all", &[&own, "origin: null"])).as_deref(),
        Some("*")
    );
    let file = get(at, "/files/a.txt", &["origin: https://a.test"]);
    assert_eq!(header(&file).as_deref(), Some("https://a.test"));
    assert_eq!(file.header("access-control-expose-headers"), Some("etag"));
}

fn unpacked(answer: &Response) -> String {
    let mut text = String::new();
    let bytes = answer.body.as_slice();
    let read = match answer.header("content-encoding") {
        Some("gzip") => {
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(bytes), &mut text)
        }
        Some("br") => {
            let mut read = brotli_decompressor::Decompressor::new(bytes, 4096);
            std::io::Read::read_to_string(&mut read, &mut text)
        }
        _ => return answer.text(),
    };
    read.unwrap();
    text
}

#[test]
fn text_is_compressed_for_who_takes_it_and_everything_else_is_left() {
    let (embly, project) = serve(
        "compress: {least: 100B}",
        &["path: /, function: script", ALL[1]],
    );
    let text = "0123456789".repeat(1000);
    project.write("public/long.txt", &text);
    project.write("public/long.bin", &text);
    project.write("public/ready.txt", &text);
    project.write("public/ready.txt.gz", "ready");
    let at = embly.at("web");
    let (gzip, br) = ("accept-encoding: gzip", "accept-encoding: gzip;q=0.5, br");
    for (accept, encoding) in [
        (gzip, Some("gzip")),
        (br, Some("br")),
        ("accept-encoding: identity", None),
        ("accept-encoding: *;q=0", None),
        ("x: y", None),
    ] {
        let file = get(at, "/files/long.txt", &[accept]);
        assert_eq!((file.status, file.complete), (200, true), "{accept}");
        assert_eq!(file.header("content-encoding"), encoding, "{accept}");
        assert_eq!(unpacked(&file), text);
        assert_eq!(file.header("vary"), Some("accept-encoding"));
        let tag = file.header("etag").unwrap();
        assert_eq!(tag.starts_with("W/\""), encoding.is_some(), "{tag}");
        assert_eq!(file.header("content-length").is_none(), encoding.is_some());
        let again = get(
            at,
            "/files/long.txt",
            &[accept, &format!("if-none-match: {tag}")],
        );
        assert_eq!(again.status, 304, "{accept}");
        // The head alone says the same.
        let head = ask(at, "HEAD /files/long.txt", &[accept]);
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in ["content-encoding", "content-length", "etag", "vary"] {
            assert_eq!(head.header(name), file.header(name), "{name} {accept}");
        }
    }
    let range = get(at, "/files/long.txt", &[gzip, "range: bytes=0-499"]);
    assert_eq!((range.status, range.body.len()), (206, 500));
    assert_eq!(range.header("content-encoding"), None);
    let ready = get(at, "/files/ready.txt", &[gzip]);
    assert_eq!(
        (ready.header("content-encoding"), ready.text().as_str()),
        (Some("gzip"), "ready")
    );
    for (path, header) in [("/files/long.bin", "x: y"), ("/files/a.txt", "x: y")] {
        assert_eq!(
            get(at, path, &[gzip, header]).header("content-encoding"),
            None,
            "{path}"
        );
    }
    for (headers, packed) in [
        ("content-type: application/json\r\n", true),
        ("content-type: TEXT/html; charset=utf-8\r\n", true),
        (
            "content-type: text/html\r\ncontent-encoding: x-own\r\n",
            false,
        ),
        (
            "content-type: text/html\r\ncache-control: no-transform\r\n",
            false,
        ),
        ("content-type: text/event-stream\r\n", false),
        ("content-type: image/png\r\n", false),
        ("", false),
    ] {
        let answer = get(at, "/", &[gzip, &says(headers, &text)]);
        let encoded = answer.header("content-encoding") == Some("gzip");
        assert_eq!(encoded, packed, "{headers}");
        assert_eq!(unpacked(&answer), text, "{headers}");
    }
    // What was sent is what is logged.
    let sent = get(at, "/files/long.txt?logged", &[gzip]).body.len();
    let event = embly.event("access", |event| event["path"] == "/files/long.txt?logged");
    assert_eq!(event["bytes"], sent);
    assert!(sent < 1000, "{sent}");
}

#[test]
fn what_a_function_has_written_is_sent_on_at_once_compressed_or_not() {
    let (embly, _project) = serve("compress: true", &["path: /, function: script"]);
    for kind in ["text/html", "text/event-stream"] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\ndata: first\n\n");
        let mut client = support::client::Connection::new(embly.at("web"));
        // It sleeps for longer than the test waits, so the first words do not wait for the end.
        client.send(format!(
            "GET / HTTP/1.1\r\nhost: test\r\naccept-encoding: gzip\r\nx-do: {}; sleep 40000\r\n\r\n",
            support::client::write(head)
        ));
        let answer = client.head();
        let packed = answer.header("content-encoding") == Some("gzip");
        assert_eq!(packed, kind == "text/html");
        let mut bytes = Vec::new();
        let mut text = Vec::new();
        while text != b"data: first\n\n" {
            bytes.extend(client.chunk().expect("more"));
            text.clear();
            match packed {
                // It breaks off, as the rest is not there yet.
                true => {
                    let mut read = flate2::read::GzDecoder::new(&*bytes);
                    let _ = std::io::Read::read_to_end(&mut read, &mut text);
                }
                false => text.clone_from(&bytes),
            }
        }
    }
}
