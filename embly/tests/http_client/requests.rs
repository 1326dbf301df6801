//! What is asked, and what is not let through.

use http_body_util::BodyExt;

use super::servers::{Plain, Site, Speaks, answer, head};
use super::support::Embly;
use super::support::client::post;
use super::{Ask, assert_fails, get, project};

/// A server that answers with what it was asked.
fn mirror(speaks: Speaks) -> Site {
    Site::new(speaks, |request| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut text = format!("{} {}\n", head.method, head.uri.path_and_query().unwrap());
        for (name, value) in &head.headers {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        text += &format!("\n{}", String::from_utf8_lossy(&body));
        let mut answer = answer(203, text);
        let headers = answer.headers_mut();
        headers.append("x-several", "one".parse().unwrap());
        headers.append("x-several", "two".parse().unwrap());
        headers.insert("keep-alive", "timeout=5".parse().unwrap());
        answer
    })
}

#[test]
fn methods_headers_and_bodies_go_there_and_come_back() {
    for speaks in [Speaks::One, Speaks::Two] {
        let site = mirror(speaks);
        let url = site.url("/");
        let embly = Embly::run(&project(&format!("\"{url}\""), ""));
        let version = if speaks == Speaks::Two { "2" } else { "1" };
        for method in [
            "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND",
        ] {
            for mode in ["", "whole", "stream"] {
                let body: &[u8] = if mode.is_empty() { b"" } else { b"the body" };
                let ask = Ask::new(&embly, method, &site.url("/a%20b/?q=1&q=2#fragment"));
                let ask = ask.header("x-version", version).header("x-h-x-own", "v v");
                let response = ask.with(body, mode).send();
                assert_eq!(response.status, 203, "{method} {mode} {}", response.text());
                let text = response.text();
                assert!(
                    text.starts_with(&format!("{method} /a%20b/?q=1&q=2\n")),
                    "{text}"
                );
                assert!(text.contains("x-own: v v\n"), "{text}");
                assert!(
                    text.contains("accept-encoding: gzip, deflate, br\n"),
                    "{text}"
                );
                assert!(
                    text.ends_with(&format!("\n\n{}", String::from_utf8_lossy(body))),
                    "{text}"
                );
                let several: Vec<_> = response
                    .headers
                    .iter()
                    .filter(|(name, _)| name == "r-x-several")
                    .collect();
                assert_eq!(several.len(), 2);
                assert_eq!(response.header("r-keep-alive"), None);
                assert_eq!(
                    response.header("x-final"),
                    Some(&*site.url("/a%20b/?q=1&q=2"))
                );
                let spoken = if speaks == Speaks::Two {
                    "HTTP/2.0"
                } else {
                    "HTTP/1.1"
                };
                assert_eq!(response.header("x-version"), Some(spoken));
            }
        }
    }
}

#[test]
fn a_head_has_no_body_and_an_empty_body_is_one() {
    let server = Plain::new(|mut stream, _| {
        while let Some(asked) = head(&mut stream) {
            use std::io::Write;
            let answer: &[u8] = if asked.starts_with("HEAD") {
                b"HTTP/1.1 200 OK\r\ncontent-length: 12345\r\ncontent-encoding: gzip\r\n\r\n"
            } else if asked.contains("/204") {
                b"HTTP/1.1 204 No Content\r\n\r\n"
            } else if asked.contains("/304") {
                b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"
            } else {
                b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            };
            stream.write_all(answer).unwrap();
        }
    });
    let embly = Embly::run(&project(&format!("\"{}\"", server.url("/")), ""));
    let response = Ask::new(&embly, "HEAD", &server.url("/")).send();
    assert_eq!(
        (response.status, response.header("r-content-length")),
        (200, Some("12345"))
    );
    assert_eq!(response.header("r-content-encoding"), Some("gzip"));
    assert!(response.body.is_empty());
    for (path, status) in [("/204", 204), ("/304", 304), ("/", 200)] {
        let response = get(&embly, &server.url(path));
        assert_eq!(
            (response.status, &*response.body),
            (status, &b""[..]),
            "{path}"
        );
    }
    // One connection for all of them: no end of a body was missed.
    assert_eq!(
        server.connections.load(std::sync::atomic::Ordering::SeqCst),
        1
    );
}

#[test]
fn interim_responses_and_trailers_are_not_handed_on() {
    let server = Plain::answering(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n\
         HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
         4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n",
    );
    let embly = Embly::run(&project(&format!("\"{}\"", server.url("/")), ""));
    let response = get(&embly, &server.url("/"));
    assert_eq!((response.status, response.text().as_str()), (200, "body"));
    assert_eq!(response.header("r-link"), None);
    assert_eq!(response.header("r-trailer"), None);
    assert!(response.complete);
}

#[test]
fn a_function_asks_only_what_the_project_file_allows_and_the_error_names_the_line() {
    let site = mirror(Speaks::One);
    let other = mirror(Speaks::One);
    let allow = format!("\"{}\"", site.url("/v1/"));
    let project = project(&allow, "").guest("asks-too").http("asks-too");
    let embly = Embly::run(&project);
    assert_eq!(get(&embly, &site.url("/v1/x")).status, 203);
    for url in [
        site.url("/"),
        site.url("/v2/"),
        site.url("/v1/..%2Fv2/"),
        site.url("/v1/../v2/"),
        other.url("/v1/"),
    ] {
        let (kind, text) = Ask::new(&embly, "GET", &url).fails();
        assert_eq!(kind, "NotAllowed", "{text}");
        let host = &url[..url[7..].find('/').unwrap() + 7];
        let line = format!("write `http: [{allow}, \"{host}/\"]` under `allow` of function `asks`");
        assert!(text.contains(&line), "{text}");
    }
    // Nothing is allowed by default.
    let (kind, text) = Ask::by(embly.at("asks-too"), "GET", &site.url("/v1/x")).fails();
    assert_eq!(kind, "NotAllowed");
    let line = format!(
        "add `http: [\"{}\"]` under `allow` of function `asks-too`",
        site.url("/")
    );
    assert!(text.contains(&line), "{text}");
    assert_eq!((site.seen.requests(), other.seen.connections()), (1, 0));
}

#[test]
fn what_cannot_be_sent_is_refused_and_nobody_is_asked() {
    let site = mirror(Speaks::One);
    let embly = Embly::run(&project(&format!("\"{}\"", site.url("/")), ""));
    for name in [
        "host",
        "connection",
        "transfer-encoding",
        "te",
        "upgrade",
        "expect",
        "proxy-authorization",
    ] {
        let ask = Ask::new(&embly, "GET", &site.url("/")).header(&format!("x-h-{name}"), "x");
        assert_fails(ask, "Invalid", "leave it out");
    }
    let url = |text: &str| Ask::new(&embly, "GET", text);
    assert_fails(url("ftp://127.0.0.1/"), "Invalid", "does not begin with");
    assert_fails(
        url(&format!("http://user:secret@{}/", site.at)),
        "Invalid",
        "a user name or a password",
    );
    assert_fails(
        Ask::new(&embly, "CONNECT", &site.url("/")),
        "Invalid",
        "a tunnel",
    );
    let wrong = Ask::new(&embly, "POST", &site.url("/")).header("x-h-content-length", "5");
    assert_fails(wrong.whole(b"1234567"), "Invalid", "says 5");
    assert_eq!(site.seen.connections(), 0);
}

#[test]
fn a_caller_that_speaks_no_protocol_is_told_so() {
    let embly = Embly::run(&project("\"https://example.com/\"", ""));
    for (bytes, says) in [
        (&b""[..], "ended before a request"),
        (b"\x05\0\0\0abc", "within a message"),
        (b"\xff\xff\xff\xff", "too long"),
        (b"\x03\0\0\0\xff\xff\xff", "cannot be read"),
        (b"\0\0\0\0", "not a method"),
    ] {
        let answer = post(embly.at("spawns"), "/embly/http", bytes).text();
        assert!(answer.contains("status: refused 28"), "{answer}");
        assert!(answer.contains(says), "{answer}");
    }
}

#[test]
fn no_proxy_and_no_cookie_is_ever_used_unasked() {
    let site = Site::new(Speaks::One, |request| async move {
        let mut answer = answer(200, format!("{:?}", request.headers().get("cookie")));
        answer
            .headers_mut()
            .insert("set-cookie", "a=b".parse().unwrap());
        answer
    });
    let project = project(&format!("\"{}\"", site.url("/")), "");
    let runtime = tempfile::tempdir().unwrap();
    let mut command = super::support::command(&[], runtime.path());
    // Nobody listens there.
    for name in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"] {
        command.env(name, "http://127.0.0.1:1");
    }
    command.args(super::support::arguments("run", project.path()));
    let embly = Embly::spawn(command, runtime, project.gateways());
    for _ in 0..2 {
        let response = get(&embly, &site.url("/"));
        assert_eq!(
            (response.text().as_str(), response.header("r-set-cookie")),
            ("None", Some("a=b"))
        );
    }
}
