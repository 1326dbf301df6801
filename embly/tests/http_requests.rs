//! A request as the function sees it.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::net::Shutdown;

use support::client::{self, Connection, Response, connect, post, read_response, reset, script};
use support::{Embly, Project, eventually, get, wrappers};

/// A master with the guest that answers with the bytes of its request.
fn shows() -> Embly {
    Embly::run(&Project::new().guest("shows").http("shows"))
}

/// What the function saw of these bytes: its lines up to the body, and the body.
fn seen(embly: &Embly, request: &str) -> (Vec<String>, String, Response) {
    let response = client::request(embly.at("shows"), request);
    assert_eq!(response.status, 200, "{}", response.text());
    let text = response.text();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let lines = head.split("\r\n").map(str::to_owned).collect();
    (lines, body.to_owned(), response)
}

#[test]
fn a_function_sees_http_1_1_without_what_is_for_the_next_hop() {
    let embly = shows();
    let (mut lines, body, response) = seen(
        &embly,
        "GET /a%20b?c=d HTTP/1.1\r\nHost: example.org\r\nX-One: 1\r\nX-Two: a\r\nX-Two: b\r\n\
         Connection: close, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
         Proxy-Authorization: x\r\nProxy-Connection: x\r\nUpgrade: websocket\r\nTrailer: x\r\n\
         Embly-Route: forged\r\nembly-client: forged\r\nX-Request-Id: forged\r\n\
         Expect: 100-continue\r\n\r\n",
    );
    let id = response.header("x-request-id").unwrap();
    assert_eq!(id.len(), 36, "{id} is a UUID");
    assert_eq!(lines.remove(0), "GET /a%20b?c=d HTTP/1.1");
    lines.sort();
    let id = format!("x-request-id: {id}");
    let expected = [
        "embly-client: 127.0.0.1",
        "embly-scheme: http",
        "host: example.org",
        "x-one: 1",
        &id,
        "x-two: a",
        "x-two: b",
    ];
    assert_eq!(lines, expected);
    assert_eq!(body, "");
}

#[test]
fn the_id_of_a_request_is_new_each_time_and_stands_in_its_events() {
    let embly = shows();
    let id = |response: Response| response.header("x-request-id").unwrap().to_owned();
    let first = id(get(embly.at("shows"), "/"));
    let second = id(get(embly.at("shows"), "/"));
    assert_ne!(first, second);
    for kind in ["invocation_started", "invocation_ended", "access"] {
        embly.event(kind, |event| event["request_id"] == first.as_str());
    }
}

#[test]
fn a_body_of_known_length_keeps_its_length() {
    let embly = shows();
    let (lines, body, _) = seen(
        &embly,
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nContent-Length: 5\r\n\r\nhello",
    );
    assert!(lines.contains(&"content-length: 5".to_owned()), "{lines:?}");
    assert_eq!(body, "hello");
    let (lines, body, _) = seen(
        &embly,
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(lines.contains(&"content-length: 0".to_owned()), "{lines:?}");
    assert_eq!(body, "");
}

#[test]
fn any_other_body_comes_in_chunks_with_its_trailers() {
    let project = Project::new()
        .guest("shows")
        .guest("trailers")
        .http("shows")
        .http("trailers");
    let embly = Embly::run(&project);
    let request = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                   Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n\
                   5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n";
    let (lines, body, _) = seen(&embly, request);
    assert!(
        lines.contains(&"transfer-encoding: chunked".to_owned()),
        "{lines:?}"
    );
    assert!(
        !lines.iter().any(|line| line.starts_with("content-length")),
        "{lines:?}"
    );
    assert!(body.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{body:?}");
    let response = client::request(embly.at("trailers"), request);
    assert_eq!(response.text(), "hello world x-sum=42");
}

#[test]
fn http_1_0_is_1_1_to_the_function_and_ends_with_the_connection() {
    let embly = shows();
    let mut connection = Connection::new(embly.at("shows"));
    connection.send("GET /old HTTP/1.0\r\n\r\n");
    let (bytes, in_order) = connection.rest();
    let response = client::parse(&bytes);
    assert!(in_order && response.complete);
    assert!(
        response.text().starts_with("GET /old HTTP/1.1\r\n"),
        "{}",
        response.text()
    );
    assert_eq!(response.header("transfer-encoding"), None);
}

#[test]
fn expect_100_continue_is_answered_before_the_body_is_sent() {
    let embly = Embly::run(&Project::new().guest("measures").http("measures"));
    let mut connection = Connection::new(embly.at("measures"));
    connection
        .send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(connection.head().status, 100);
    connection.send("hello");
    assert_eq!(connection.response().text(), "5");
}

#[test]
fn requests_that_could_be_smuggled_are_refused() {
    let embly = shows();
    for headers in [
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: +3\r\n",
        "transfer-encoding: gzip, chunked, identity\r\n",
        "x-bad : 1\r\n",
        "x\x00y: 1\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nhost: x\r\n{headers}\r\nabc");
        let response = client::request(embly.at("shows"), request);
        assert_eq!(response.status, 400, "{headers:?}");
    }
    // A length beside chunks is dropped: what counts are the chunks.
    let (lines, _, _) = seen(
        &embly,
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 30\r\n\
         transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    assert!(
        !lines.iter().any(|line| line.starts_with("content-length")),
        "{lines:?}"
    );
}

#[test]
fn a_request_is_for_exactly_one_host() {
    let embly = shows();
    let ask = |line: &str, hosts: &str| {
        let head = format!("{line}\r\n{hosts}connection: close\r\n\r\n");
        client::request(embly.at("shows"), head)
    };
    assert_eq!(ask("GET / HTTP/1.1", "").status, 400);
    assert_eq!(ask("GET / HTTP/1.1", "host: a\r\nhost: b\r\n").status, 400);
    assert_eq!(ask("GET / HTTP/1.0", "").status, 200);
    // A target with a host counts more than the header.
    let text = ask("GET http://user@one:81/p?q HTTP/1.1", "host: two\r\n").text();
    assert!(
        text.starts_with("GET /p?q HTTP/1.1\r\nhost: one:81\r\n"),
        "{text}"
    );
    assert!(!text.contains("two"), "{text}");
    let text = ask("OPTIONS * HTTP/1.1", "host: one\r\n").text();
    assert!(
        text.starts_with("OPTIONS * HTTP/1.1\r\nhost: one\r\n"),
        "{text}"
    );
}

#[test]
fn a_tunnel_is_not_offered() {
    let embly = shows();
    let head = "CONNECT one:80 HTTP/1.1\r\nhost: one:80\r\n\r\n";
    assert_eq!(client::request(embly.at("shows"), head).status, 501);
    let access = embly.event("access", |_| true);
    assert_eq!(
        (&access["status"], &access["reason"]),
        (&501.into(), &serde_json::Value::Null)
    );
}

#[test]
fn a_head_over_the_limit_request_head_answers_431() {
    let project = Project::new()
        .guest_with("shows", "    limits: {request_head: 2KiB}")
        .http("shows");
    let embly = Embly::run(&project);
    let ask = |length: usize| {
        let filler = "x".repeat(length);
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx: {filler}\r\n\r\n");
        client::request(embly.at("shows"), head)
    };
    assert_eq!(ask(1500).status, 200);
    let response = ask(2500);
    assert_eq!((response.status, response.reason()), (431, "too_large"));
    // One that is not even read to its end.
    assert_eq!(ask(20_000).status, 431);
}

#[test]
fn a_body_over_the_limit_request_body_answers_413() {
    let project = Project::new()
        .guest_with("measures", "    limits: {request_body: 1KiB}")
        .http("measures");
    let embly = Embly::run(&project);
    let at = embly.at("measures");
    assert_eq!(post(at, "/", &[0; 1024]).text(), "1024");
    let response = post(at, "/", &[0; 1025]);
    assert_eq!((response.status, response.reason()), (413, "too_large"));
    let chunks = "400\r\n".to_owned() + &"x".repeat(0x400) + "\r\n";
    let chunked = |chunks: &str| {
        let head =
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        client::request(at, format!("{head}{chunks}0\r\n\r\n"))
    };
    assert_eq!(chunked(&chunks).text(), "1024");
    let response = chunked(&(chunks + "1\r\nx\r\n"));
    assert_eq!((response.status, response.reason()), (413, "too_large"));
    let ended = embly.event("invocation_ended", |event| event["reason"] == "too_large");
    assert_eq!(ended["function"], "measures");
}

#[test]
fn a_broken_upload_never_looks_complete_to_the_function() {
    let project = Project::new()
        .guest("measures")
        .guest("shows")
        .http("measures")
        .http("shows");
    let embly = Embly::run(&project);
    for framing in [
        "content-length: 10\r\n\r\nabc",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        for function in ["measures", "shows"] {
            let mut connection = Connection::new(embly.at(function));
            connection.send(format!("POST / HTTP/1.1\r\nhost: x\r\n{framing}"));
            embly.event("invocation_started", |event| event["function"] == function);
            connection.stream.shutdown(Shutdown::Write).unwrap();
            let (bytes, _) = connection.rest();
            assert_eq!(bytes, b"", "nobody is answered: {framing:?}");
        }
    }
    for n in 0..4 {
        let ended = embly.nth_event("invocation_ended", n, |_| true);
        assert_eq!(ended["reason"], "client_gone");
    }
}

#[test]
fn a_client_that_resets_while_it_waits_ends_the_invocation() {
    let embly = Embly::run(&Project::unparked().guest("script").http("script"));
    for steps in ["sleep 60000", "spin"] {
        let stream = connect(embly.at("script"));
        std::io::Write::write_all(&mut &stream, script(steps).as_bytes()).unwrap();
        eventually("it runs", || wrappers(&embly).len() == 1);
        reset(stream);
        eventually("its process is gone", || wrappers(&embly).is_empty());
    }
    for n in 0..2 {
        let ended = embly.nth_event("invocation_ended", n, |_| true);
        assert_eq!(ended["reason"], "client_gone");
        let access = embly.nth_event("access", n, |_| true);
        assert_eq!(
            (&access["status"], &access["reason"]),
            (&499.into(), &"client_gone".into())
        );
    }
}

#[test]
fn a_client_that_leaves_while_it_is_answered_ends_the_invocation() {
    let embly = Embly::run(&Project::unparked().guest("mirrors").http("mirrors"));
    for in_order in [true, false] {
        let mut connection = Connection::new(embly.at("mirrors"));
        connection.send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(connection.head().status, 200);
        if in_order {
            drop(connection);
        } else {
            reset(connection.stream);
        }
        eventually("its process is gone", || wrappers(&embly).is_empty());
    }
    for n in 0..2 {
        let ended = embly.nth_event("invocation_ended", n, |_| true);
        assert_eq!(ended["reason"], "client_gone");
    }
}

#[test]
fn a_client_that_half_closes_after_its_request_is_answered() {
    let embly = shows();
    let stream = connect(embly.at("shows"));
    std::io::Write::write_all(&mut &stream, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let response = read_response(stream);
    assert_eq!((response.status, response.complete), (200, true));
    assert_eq!(embly.ending("shows")["reason"], "ok");
}

#[test]
fn a_response_to_an_unread_upload_reaches_the_client() {
    let project = Project::new()
        .guest_with("hello", "    limits: {request_body: none}")
        .http("hello");
    let embly = Embly::run(&project);
    for framing in [
        "content-length: 50000000\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n2faf080\r\n",
    ] {
        let mut stream = connect(embly.at("hello"));
        let mut bytes = format!("POST / HTTP/1.1\r\nhost: x\r\n{framing}").into_bytes();
        bytes.resize(20_000_000, b'x');
        // The server may close when it has answered.
        let _ = std::io::Write::write_all(&mut stream, &bytes);
        let response = read_response(stream);
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    }
    for n in 0..2 {
        let ended = embly.nth_event("invocation_ended", n, |_| true);
        assert_eq!(ended["reason"], "ok");
        assert!(ended["bytes_in"].as_u64().unwrap() < 1_000_000, "{ended}");
    }
}
