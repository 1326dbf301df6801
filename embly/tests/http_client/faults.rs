//! Servers that speak no HTTP, or only half of it; functions that end in the middle.

use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use std::thread;

use super::servers::{Plain, Site, Speaks, answer, head};
use super::support::client::{connect, reset};
use super::support::{Embly, eventually};
use super::{Ask, assert_fails, get, project};

#[test]
fn what_is_not_an_http_answer_is_an_error() {
    for bytes in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbroken header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n12345",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ] {
        let server = Plain::answering(bytes);
        let embly = Embly::run(&project(&format!("\"{}\"", server.url("/")), ""));
        let (kind, text) = Ask::new(&embly, "GET", &server.url("/")).fails();
        assert_eq!(
            kind,
            "Protocol",
            "{text} for {:?}",
            String::from_utf8_lossy(bytes)
        );
        assert!(text.contains(&server.at.to_string()), "{text}");
    }
}

#[test]
fn a_response_that_breaks_off_never_looks_whole() {
    for bytes in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n12345",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\nx\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345xx0\r\n\r\n",
    ] {
        let server = Plain::answering(bytes);
        let embly = Embly::run(&project(&format!("\"{}\"", server.url("/")), ""));
        let response = get(&embly, &server.url("/"));
        assert_eq!(response.status, 200, "{bytes:?} {}", response.text());
        assert!(!response.complete, "{bytes:?}");
        embly.event("log", |event| {
            event["line"].as_str().unwrap().contains("Some(Protocol)")
        });
        let call = embly.ending("embly/http");
        assert_eq!(
            (&call["reason"], &call["code"]),
            (&"exit".into(), &9.into()),
            "{call}"
        );
    }
    // Whoever says no length ends with the connection; a reset is no end.
    let resets = Plain::new(|mut stream, _| {
        if head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n12345").unwrap();
            thread::sleep(std::time::Duration::from_millis(100));
            reset(stream);
        }
    });
    let embly = Embly::run(&project(&format!("\"{}\"", resets.url("/")), ""));
    assert!(!get(&embly, &resets.url("/")).complete);
    let closes = Plain::answering("HTTP/1.0 200 OK\r\n\r\n12345");
    let embly = Embly::run(&project(&format!("\"{}\"", closes.url("/")), ""));
    let response = get(&embly, &closes.url("/"));
    assert_eq!(
        (response.text().as_str(), response.complete),
        ("12345", true)
    );
    assert_eq!(response.header("x-version"), Some("HTTP/1.0"));
}

#[test]
fn more_than_was_promised_is_not_part_of_the_response() {
    let server = Plain::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n12345HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwrong",
    );
    let embly = Embly::run(&project(&format!("\"{}\"", server.url("/")), ""));
    for _ in 0..3 {
        let response = get(&embly, &server.url("/"));
        assert_eq!(
            (response.text().as_str(), response.complete),
            ("12345", true)
        );
    }
    // A connection on which somebody speaks unasked is never used again.
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[test]
fn both_a_length_and_chunks_are_no_way_to_smuggle_a_second_response() {
    let server = Plain::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    );
    let embly = Embly::run(&project(&format!("\"{}\"", server.url("/")), ""));
    let response = get(&embly, &server.url("/"));
    // RFC 9112, section 6.3: chunks count. Refusing it is as good.
    assert!(
        response.status == 599 || response.text() == "abc",
        "{} {}",
        response.status,
        response.text()
    );
}

#[test]
fn a_function_that_ends_in_the_middle_closes_its_connection() {
    for (speaks, version) in [(Speaks::One, "1"), (Speaks::Two, "2")] {
        let site = Site::new(speaks, |request| async move {
            if request.uri().path() == "/never" {
                std::future::pending::<()>().await;
            }
            answer(200, vec![7; 1 << 20])
        });
        let embly = Embly::run(&project(&format!("\"{}\"", site.url("/")), ""));
        // It answers without reading.
        let ignored = Ask::new(&embly, "GET", &site.url("/")).header("x-ignore", "yes");
        assert_eq!(
            ignored.header("x-version", version).send().text(),
            "ignored"
        );
        let mut client = connect(embly.at("asks"));
        let url = site.url("/never");
        write!(
            client,
            "POST / HTTP/1.1\r\nhost: test\r\nx-url: {url}\r\nx-version: {version}\r\ncontent-length: 0\r\n\r\n"
        )
        .unwrap();
        eventually("a request", || site.seen.requests() == 2);
        reset(client);
        embly.nth_event("invocation_ended", 0, |event| {
            event["function"] == "asks" && event["reason"] != "ok"
        });
        if speaks == Speaks::One {
            eventually("no connection", || site.seen.open() == 0);
        }
        // Whatever is left, it serves.
        let whole = Ask::new(&embly, "GET", &site.url("/"))
            .header("x-version", version)
            .send();
        assert_eq!((whole.body.len(), whole.complete), (1 << 20, true));
    }
}

#[test]
fn nothing_is_left_when_the_master_stops() {
    let site = Site::new(Speaks::One, |_| async { answer(200, "ok") });
    let mut embly = Embly::run(&project(&format!("\"{}\"", site.url("/")), ""));
    assert_eq!(get(&embly, &site.url("/")).text(), "ok");
    embly.stops_with_nothing_left();
    eventually("no connection", || site.seen.open() == 0);
}

#[test]
fn a_server_that_reads_and_closes_is_an_error_and_no_second_request_without_need() {
    let server = Plain::new(|mut stream, _| {
        let _ = head(&mut stream);
    });
    let embly = Embly::run(&project(&format!("\"{}\"", server.url("/")), ""));
    assert_fails(
        Ask::new(&embly, "GET", &server.url("/")),
        "Protocol",
        "closed the connection",
    );
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let resets = Plain::new(|stream, _| {
        let mut peek = [0; 1];
        let _ = stream.peek(&mut peek);
        reset(stream);
    });
    let embly = Embly::run(&project(&format!("\"{}\"", resets.url("/")), ""));
    assert_fails(
        Ask::new(&embly, "GET", &resets.url("/")),
        "Protocol",
        "closed the connection",
    );
}

#[test]
fn others_are_served_while_a_server_floods_or_stands_still() {
    let floods = Plain::new(|mut stream, _| {
        if head(&mut stream).is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[7; 64 * 1024]).is_ok() {}
        }
    });
    let site = Site::new(Speaks::One, |_| async { answer(200, "ok") });
    let allow = format!("\"{}\", \"{}\"", floods.url("/"), site.url("/"));
    let embly = Embly::run(&project(&allow, "response_body: none"));
    let url = floods.url("/");
    let mut clients: Vec<_> = (0..4)
        .map(|_| {
            let mut client = connect(embly.at("asks"));
            write!(
                client,
                "POST / HTTP/1.1\r\nhost: test\r\nx-url: {url}\r\ncontent-length: 0\r\n\r\n"
            )
            .unwrap();
            client
        })
        .collect();
    // Two are read as fast as they can be, two not at all.
    for client in clients.split_off(2) {
        let mut client = client;
        thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            while client.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
        });
    }
    let mut slowest = std::time::Duration::ZERO;
    for _ in 0..50 {
        let began = std::time::Instant::now();
        assert_eq!(get(&embly, &site.url("/")).text(), "ok");
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < std::time::Duration::from_secs(5), "{slowest:?}");
}
